"""Masks in every form that people store them in lie on the right pixels, and wrong files are told by name."""

import itk
import nibabel
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.data import MetaTensor

from monai_agglo.cine.masks import labelled_channels, pack_masks, read_cine_masks, unpack_masks
from monai_agglo.data import LoadCineMasksd
from monai_agglo.prediction.mask_store import MaskStore

H, W, T = 20, 30, 4
# First axis down the rows, along world -y; second along the row, along -x.
ROWS_FIRST = np.array([[0, -0.5, 0, 0], [-0.5, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
COLUMNS_FIRST = np.diag([-0.5, -0.5, 1, 1])


def truth(height=H, width=W, structures=12):
    """Structure s is the block of rows 2.., columns s.., in frame s % T only."""
    masks = np.zeros((structures, height, width, T), np.uint8)
    for s in range(structures):
        masks[s, 2:5, s : s + 2, s % T] = 1
    return masks


def label_map(masks):
    labels = np.zeros(masks.shape[1:], np.uint8)
    for s, mask in enumerate(masks):
        labels[mask == 1] = s + 1
    return labels


def save(path, array, affine=None):
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


class TestPacking:
    def test_bits_by_hand(self):
        masks = np.zeros((16, 1, 3), np.uint8)
        masks[0, 0, 0] = masks[15, 0, 0] = masks[4, 0, 1] = 1
        masks[7, 0, 2] = 255
        packed = pack_masks(masks)
        assert packed.dtype == np.uint16 and packed.tolist() == [[32769, 16, 0]]

    @given(
        arrays(
            np.uint8, st.tuples(st.integers(1, 16), st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 1)
        )
    )
    @settings(max_examples=40, deadline=None)
    def test_round_trip(self, masks):
        np.testing.assert_array_equal(unpack_masks(pack_masks(masks), len(masks)), masks)


class TestRead:
    @pytest.mark.parametrize("shape", [(H, W), (W, H), (H, H)])
    @pytest.mark.parametrize("affine", [ROWS_FIRST, None])
    @pytest.mark.parametrize("checked", [True, False])
    def test_channels(self, tmp_path, shape, affine, checked):
        masks = truth(*shape)
        path = save(tmp_path / "m.nii.gz", masks.transpose(1, 2, 3, 0), affine)
        read = read_cine_masks(path, (*shape, T) if checked else None)
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, masks)

    @pytest.mark.parametrize("shape", [(H, W), (H, H)])
    @pytest.mark.parametrize("checked", [True, False])
    @pytest.mark.parametrize("kind", ["nii.gz", "nii", "nrrd", "mha"])
    def test_label_map_as_itk_writes_it(self, tmp_path, shape, checked, kind):
        masks = truth(*shape)
        image = itk.image_from_array(label_map(masks).transpose(2, 0, 1).copy())
        itk.imwrite(image, str(tmp_path / f"m.{kind}"), compression=True)
        np.testing.assert_array_equal(read_cine_masks(tmp_path / f"m.{kind}", (*shape, T) if checked else None), masks)

    @pytest.mark.parametrize(("shape", "affine"), [((H, W), None), ((H, W), np.eye(4)), ((H, H), ROWS_FIRST)])
    def test_label_map_rows_first(self, tmp_path, shape, affine):
        masks = truth(*shape)
        path = save(tmp_path / "m.nii", label_map(masks), affine)
        np.testing.assert_array_equal(read_cine_masks(path, (*shape, T)), masks)

    @pytest.mark.parametrize("shape", [(H, W), (H, H)])
    def test_channels_as_itk_writes_them(self, tmp_path, shape):
        masks = truth(*shape)
        image = itk.image_from_array(masks.transpose(3, 1, 2, 0).copy(), is_vector=True)
        itk.imwrite(image, str(tmp_path / "m.nrrd"))
        np.testing.assert_array_equal(read_cine_masks(tmp_path / "m.nrrd", (*shape, T)), masks)

    def test_what_predict_writes_is_read_back(self, tmp_path):
        masks = truth()
        with MaskStore((H, W), 12) as store:
            for t in range(T):
                store.append(masks[..., t])
            store.write_nifti(tmp_path / "m.nii.gz", ROWS_FIRST)
        np.testing.assert_array_equal(read_cine_masks(tmp_path / "m.nii.gz", (H, W, T)), masks)

    def test_one_still(self, tmp_path):
        masks = truth()
        path = save(tmp_path / "m.nii", label_map(masks)[..., 2], ROWS_FIRST)
        np.testing.assert_array_equal(read_cine_masks(path, (H, W, 1))[..., 0], masks[..., 2])

    def test_auxiliary_structures(self, tmp_path):
        masks = truth(structures=18)
        path = save(tmp_path / "m.nii", label_map(masks), ROWS_FIRST)
        np.testing.assert_array_equal(read_cine_masks(path, structures=18), masks)
        np.testing.assert_array_equal(read_cine_masks(path), masks[:12])
        path = save(tmp_path / "m.nii.gz", masks.transpose(1, 2, 3, 0), ROWS_FIRST)
        np.testing.assert_array_equal(read_cine_masks(path), masks[:12])

    def test_float_labels(self, tmp_path):
        path = save(tmp_path / "m.nii", label_map(truth()).astype(np.float32) + 0.01, ROWS_FIRST)
        np.testing.assert_array_equal(read_cine_masks(path), truth())


class TestRefusals:
    @pytest.mark.parametrize(
        ("array", "words"),
        [
            (
                np.zeros((H, W, T + 1), np.uint8),
                "masks of 20 x 30 pixels and 5 frames do not belong to a cine of 20 x 30",
            ),
            (np.zeros((H, W - 1, T, 12), np.uint8), "20 x 29 pixels and 4 frames do not belong"),
            (np.zeros((H, W, T, 5), np.uint8), "5 mask channels, but 12 structures are requested"),
            (np.zeros((H, W, T, 1, 12), np.uint8), "need the axes rows, columns, frames"),
            (np.full((H, W, T), 19, np.uint8), "label value 19 is not a structure id \\(1..18\\)"),
            (np.full((H, W, T), -1, np.int16), "label value -1 is not a structure id"),
            (np.full((H, W, T), np.nan, np.float32), "label value nan is not a structure id"),
            (np.zeros((H, W, T), [("R", "u1"), ("G", "u1"), ("B", "u1")]), "one number per pixel"),
        ],
    )
    def test_one_sentence_with_the_file(self, tmp_path, array, words):
        path = save(tmp_path / "wrong.nii.gz", array, ROWS_FIRST)
        with pytest.raises(ValueError, match=f"^{path}: .*{words}") as caught:
            read_cine_masks(path, (H, W, T))
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("kind", ["nii", "nii.gz", "nrrd"])
    @pytest.mark.parametrize("harm", ["truncated", "text", "empty", "absent"])
    def test_damaged_files(self, tmp_path, kind, harm):
        path = tmp_path / f"wrong.{kind}"
        noise = np.random.default_rng(0).integers(0, 12, (T, 200, 300)).astype(np.uint8)
        itk.imwrite(itk.image_from_array(noise), str(path))
        if harm == "truncated":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        elif harm == "absent":
            path.unlink()
        else:
            path.write_bytes(b"no masks" if harm == "text" else b"")
        with pytest.raises(ValueError, match=r"wrong\.") as caught:
            read_cine_masks(path)
        assert "\n" not in str(caught.value)

    def test_other_types(self, tmp_path):
        with pytest.raises(ValueError, match=r"m.jpg: masks must be NIfTI"):
            read_cine_masks(tmp_path / "m.jpg")


class TestLoad:
    @pytest.fixture
    def case(self, tmp_path):
        path = save(tmp_path / "m.nii.gz", truth().transpose(1, 2, 3, 0), ROWS_FIRST)
        return {"image": MetaTensor(torch.zeros(1, H, W, T), affine=torch.from_numpy(ROWS_FIRST)), "label": str(path)}

    def test_geometry_is_the_images(self, case):
        label = LoadCineMasksd()(case)["label"]
        np.testing.assert_array_equal(label.affine, ROWS_FIRST)
        label.affine[0, 0] = 9
        assert case["image"].affine[0, 0] == 0 and isinstance(case["label"], str)
        np.testing.assert_array_equal(label.as_tensor(), truth())

    def test_unlabelled_is_not_absent(self, case):
        label = LoadCineMasksd()({**case, "labelled_structures": ["bolus", "c1"], "labelled_frames": [2, 3]})["label"]
        known = (label.as_tensor() != 255).numpy()
        assert known.any(axis=(1, 2)).tolist() == known.all(axis=(1, 2)).tolist()
        assert np.argwhere(known[:, 0, 0]).tolist() == [[2, 2], [2, 3], [11, 2], [11, 3]]
        np.testing.assert_array_equal(label.as_tensor().numpy()[known], truth()[known])

    def test_auxiliary_names_are_known_beyond_the_targets(self):
        assert not labelled_channels({"labelled_structures": ["hyoid"]}, 12, 2).any()
        assert labelled_channels({"labelled_structures": ["hyoid"]}, 18, 2)[12].all()
        assert labelled_channels({"labelled_structures": None, "labelled_frames": None}, 12, 2).all()

    @pytest.mark.parametrize(
        ("extra", "words"),
        [
            ({"labelled_structures": ["tongue"]}, "unknown structure 'tongue'; known: epiglottis, mandible"),
            ({"labelled_frames": [0, 4]}, r"labelled_frames contains frame 4, but the cine has frames 0\.\.3"),
            ({"labelled_frames": [-1]}, "labelled_frames contains frame -1"),
        ],
    )
    def test_wrong_partial_labels(self, case, extra, words):
        with pytest.raises(ValueError, match=rf"^{case['label']}: {words}"):
            LoadCineMasksd()({**case, **extra})

    def test_missing_masks(self, case):
        with pytest.raises(ValueError, match="has no 'label'"):
            LoadCineMasksd()({"image": case["image"]})
        assert "label" not in LoadCineMasksd(allow_missing_keys=True)({"image": case["image"]})


class TestDrawnFrames:
    def test_frames_without_a_drawing_are_unlabelled(self, tmp_path):
        masks = np.zeros((4, 5, 3, 12), np.uint8)
        masks[1, 2, 0, 3] = masks[2, 2, 2, 11] = 1
        nibabel.save(nibabel.Nifti1Image(masks, np.eye(4)), tmp_path / "m.nii.gz")
        case = {"image": MetaTensor(torch.zeros(1, 4, 5, 3)), "label": str(tmp_path / "m.nii.gz")}
        label = LoadCineMasksd(drawn_frames=True)(case)["label"]
        assert (label[..., 1] == 255).all() and (label[..., [0, 2]] <= 1).all() and label[3, 1, 2, 0] == 1
        label = LoadCineMasksd(drawn_frames=True)({**case, "labelled_structures": ["bolus"]})["label"]
        assert (label[:11] == 255).all() and (label[11, ..., [0, 2]] <= 1).all()
        assert (LoadCineMasksd()(case)["label"] <= 1).all()

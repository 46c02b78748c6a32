"""Masks kept packed: nothing is lost, memory stays small, and other programs read the file."""

import tracemalloc

import nibabel as nib
import numpy as np
import pytest

from monai_agglo.prediction import mask_store
from monai_agglo.prediction.mask_store import MaskStore

AFFINE = np.array([[0, -0.4, 0, 10], [-0.3, 0, 0, 20], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def filled(masks):
    """A store with masks (H, W, T, S)."""
    store = MaskStore(masks.shape[:2], masks.shape[3])
    for t in range(masks.shape[2]):
        store.append(masks[:, :, t].transpose(2, 0, 1))
    return store


@pytest.mark.parametrize("shape", [(1, 1, 1, 12), (3, 5, 2, 12), (31, 17, 9, 18)])
def test_round_trip_in_rows_columns_frames_structures(tmp_path, shape):
    masks = np.random.default_rng(0).random(shape) > 0.5
    masks[..., 1] = False
    with filled(masks) as store:
        assert len(store) == shape[2]
        np.testing.assert_array_equal(store.areas, masks.sum(axis=(0, 1)))
        for t in range(shape[2]):
            np.testing.assert_array_equal(store.frame(t), masks[:, :, t].transpose(2, 0, 1))
        store.write_nifti(tmp_path / "m.nii.gz", AFFINE, "twelve")
    image = nib.load(tmp_path / "m.nii.gz")
    assert image.get_data_dtype() == np.uint8 and image.shape == shape
    np.testing.assert_array_equal(np.asarray(image.dataobj), masks)
    np.testing.assert_allclose(image.affine, AFFINE, atol=1e-6)
    np.testing.assert_allclose(image.header.get_zooms(), [0.3, 0.4, 1, 1], atol=1e-6)
    assert bytes(image.header["descrip"]).startswith(b"twelve")
    assert [p.name for p in tmp_path.iterdir()] == ["m.nii.gz"]


def test_other_programs_read_the_file(tmp_path):
    sitk = pytest.importorskip("SimpleITK", reason="the test extra is not installed")
    masks = np.random.default_rng(1).random((20, 12, 5, 12)) > 0.7
    filled(masks).write_nifti(tmp_path / "m.nii.gz", np.diag([0.5, 0.25, 1, 1]))
    image = sitk.ReadImage(str(tmp_path / "m.nii.gz"))
    assert image.GetSize() == (20, 12, 5, 12)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, masks)


def test_same_masks_same_bytes(tmp_path):
    masks = np.random.default_rng(2).random((9, 8, 3, 12)) > 0.5
    for name in ("a.nii.gz", "b.nii.gz"):
        filled(masks).write_nifti(tmp_path / name, AFFINE)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_memory_stays_flat(tmp_path):
    frame = np.zeros((12, 256, 256), bool)
    frame[:, 60:200, 40:180] = True
    tracemalloc.start()
    with MaskStore((256, 256), 12) as store:
        for _ in range(60):
            store.append(frame)
        store.write_nifti(tmp_path / "m.nii.gz", np.eye(4))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 * frame.size / 8  # the masks themselves are 47 MB


def test_noise_moves_to_disk(monkeypatch):
    monkeypatch.setattr(mask_store, "MEMORY", 1000)
    masks = np.random.default_rng(3).random((64, 64, 4, 12)) > 0.5
    with filled(masks) as store:
        assert store._file._rolled
        np.testing.assert_array_equal(store.frame(2), masks[:, :, 2].transpose(2, 0, 1))


def test_wrong_shapes_are_refused(tmp_path):
    store = MaskStore((8, 8), 12)
    with pytest.raises(ValueError, match=r"\(12, 8, 9\)"):
        store.append(np.zeros((12, 8, 9)))
    with pytest.raises(ValueError, match="do not fit"):
        store.write_nifti(tmp_path / "m.nii.gz", np.eye(4))
    assert not list(tmp_path.iterdir())

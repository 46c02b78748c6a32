"""Edited masks: channels, label maps with hidden overlaps, DICOM segmentations, invalid files."""

import nibabel as nib
import numpy as np
import pytest
from app_samples import write_cine

from monai_agglo.dicom.seg_writer import write_seg
from monai_agglo.reporting.edited_masks import read_edited_masks, unflatten
from monai_agglo.swallow import NAMES, TARGET_NAMES, flatten

SHAPE = (20, 24, 3)


@pytest.fixture()
def masks():
    """Overlapping masks of the twelve structures."""
    rng = np.random.default_rng(0)
    found = {}
    for name in TARGET_NAMES:
        mask = np.zeros(SHAPE, bool)
        row, column = rng.integers(0, 12, 2)
        mask[row : row + 8, column : column + 9] = True
        found[name] = mask
    return found


def labels_of(masks):
    return flatten(np.stack(list(masks.values())))


def save(path, array):
    nib.save(nib.Nifti1Image(array.astype(np.uint8), np.diag([-1.0, -1, 1, 1])[[1, 0, 2, 3]]), path)
    return path


def test_unedited_label_map_gives_the_former_masks(masks):
    again = unflatten(labels_of(masks), masks)
    assert list(again) == list(TARGET_NAMES)
    for name, mask in masks.items():
        np.testing.assert_array_equal(again[name], mask, name)


def test_edited_label_map_keeps_hidden_overlaps(masks):
    labels = labels_of(masks)
    labels[labels == 12] = 0  # the bolus is erased
    labels[0, 0] = 13  # a hyoid is added
    again = unflatten(labels, masks)
    assert not again["bolus"].any() and again["hyoid"].sum() == SHAPE[2]
    hidden = masks["trachea"] & ~masks["bolus"]
    np.testing.assert_array_equal(again["trachea"] & ~masks["bolus"] & (labels != 13), hidden & (labels != 13))


def test_label_map_and_channels(tmp_path, masks):
    found, note = read_edited_masks(save(tmp_path / "map.nii.gz", labels_of(masks)), SHAPE, masks)
    assert "one structure per pixel" in note
    np.testing.assert_array_equal(found["pharynx"], masks["pharynx"])
    stack = np.stack(list(masks.values()), axis=-1)
    found, note = read_edited_masks(save(tmp_path / "channels.nii.gz", stack), SHAPE, {})
    assert note == "" and list(found) == list(TARGET_NAMES)
    np.testing.assert_array_equal(found["bolus"], masks["bolus"])
    eighteen = np.concatenate([stack, stack[..., :6]], axis=-1)
    found, _ = read_edited_masks(save(tmp_path / "all.nii.gz", eighteen), SHAPE, {})
    assert list(found) == list(NAMES)


@pytest.mark.parametrize("wrong", [(20, 24, 4), (21, 24, 3)])
def test_masks_of_another_cine_are_refused(tmp_path, masks, wrong):
    path = save(tmp_path / "other.nii.gz", np.zeros((*wrong, 12)))
    with pytest.raises(ValueError, match=r"other\.nii\.gz.*do not belong"):
        read_edited_masks(path, SHAPE, masks)


def test_invalid_files_are_refused(tmp_path, masks):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "broken.nii.gz").write_bytes(b"\x1f\x8b broken")
    for name in ("notes.txt", "broken.nii.gz", "absent.nii.gz"):
        with pytest.raises(ValueError, match=name.replace(".", r"\.")):
            read_edited_masks(tmp_path / name, SHAPE, masks)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_dicom_segmentation(tmp_path, masks, kind):
    cine = write_cine(tmp_path / "cine.dcm", frames=SHAPE[2], rows=SHAPE[0], columns=SHAPE[1])
    stack = np.stack(list(masks.values()))
    path = write_seg(tmp_path / "seg.dcm", cine, np.moveaxis(stack, -1, 0), kind=kind)
    found, note = read_edited_masks(path, SHAPE, masks, [cine])
    assert bool(note) == (kind == "LABELMAP") and list(found) == list(TARGET_NAMES)
    for name, mask in masks.items():
        np.testing.assert_array_equal(found[name], mask, name)
    other = write_cine(tmp_path / "other.dcm", frames=SHAPE[2], rows=SHAPE[0], columns=SHAPE[1])
    with pytest.raises(ValueError, match=r"seg\.dcm"):
        read_edited_masks(path, SHAPE, masks, [other])

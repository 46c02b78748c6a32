"""Read manually edited masks: NIfTI, NRRD or DICOM SEG."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from monai_agglo.cine.header import is_dicom
from monai_agglo.cine.masks import read_cine_masks
from monai_agglo.swallow import NAMES, STRUCTURES, TARGET_NAMES, TARGETS, flatten

__all__ = ["read_edited_masks", "unflatten"]

PRIORITY = np.array([0, *(s.priority for s in STRUCTURES)])
"""Priority by label value; background first."""
NOTE = "The edited label map contains one structure per pixel: hidden overlaps are taken from the network."
LABELMAP = "1.2.840.10008.5.1.4.1.1.66.7"


def read_edited_masks(
    path: str | os.PathLike,
    shape: tuple[int, int, int],
    predicted: Mapping[str, np.ndarray],
    source: Sequence[Path] = (),
) -> tuple[dict[str, np.ndarray], str]:
    """Read edited masks of a cine.

    Args:
        path: channels (rows, columns, frames, structures) in NIfTI, a label map in NIfTI or NRRD, or a DICOM
            Segmentation.
        shape: (H, W, T) of the cine.
        predicted: masks before editing, by name; they provide the overlaps hidden in a label map.
        source: DICOM files of the cine that a Segmentation must refer to; empty to skip the check.

    Returns:
        Masks by name, (H, W, T) bool each, and a remark for the reader (may be empty).

    Raises:
        ValueError: the file cannot be read or does not match the cine.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file of masks")
    if is_dicom(path):
        from monai_agglo.dicom.seg_reader import read_seg

        array = read_seg(path, list(source) or None, STRUCTURES, frames=shape[2])
        if array.shape[:3] != tuple(shape):
            raise ValueError(f"{path}: masks of {array.shape[:3]} pixels and frames do not belong to a cine of {shape}")
        if _is_label_map(path):
            return unflatten(flatten(array, STRUCTURES, axis=-1), predicted), NOTE
        masks = {name: array[..., k].astype(bool) for k, name in enumerate(NAMES)}
        return {name: mask for name, mask in masks.items() if name in TARGET_NAMES or mask.any()}, ""
    channels = _channel_count(path)
    if channels is None:
        stacked = read_cine_masks(path, shape, len(STRUCTURES))
        labels = (stacked * np.arange(1, len(STRUCTURES) + 1, dtype=np.uint8)[:, None, None, None]).max(axis=0)
        return unflatten(labels, predicted), NOTE
    count = len(STRUCTURES) if channels >= len(STRUCTURES) else len(TARGETS)
    stacked = read_cine_masks(path, shape, count)
    return {NAMES[k]: stacked[k].astype(bool) for k in range(count)}, ""


def _is_label_map(path: Path) -> bool:
    """Whether a DICOM Segmentation is a label map."""
    from pydicom import dcmread

    return str(dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"]).SOPClassUID) == LABELMAP


def _channel_count(path: Path) -> int | None:
    """Number of channels of a mask file; None for a label map."""
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return None
    import nibabel

    try:
        shape = nibabel.load(path).shape  # type: ignore[attr-defined]
    except Exception as error:
        raise ValueError(f"{path}: cannot be read as masks ({type(error).__name__})") from None
    return int(shape[3]) if len(shape) == 4 else None


def unflatten(labels: np.ndarray, former: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Convert an edited label map to masks.

    The mask of a structure consists of its labels, and of its former mask under labels of higher priority. An unedited
    label map gives the former masks.

    Args:
        labels: (H, W, T) label values, :attr:`~monai_agglo.swallow.Structure.id`.
        former: masks before editing, by name, bool.

    Returns:
        Masks by name, bool; auxiliary structures only if labelled.
    """
    on_top = PRIORITY[labels]
    masks = {}
    for structure in STRUCTURES:
        mask = labels == structure.id
        before = former.get(structure.name)
        if before is not None:
            mask |= before & (on_top > structure.priority)
        if before is not None or not structure.auxiliary or mask.any():
            masks[structure.name] = mask
    return masks

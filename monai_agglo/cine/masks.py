"""Masks of a cine: reading (NIfTI, NRRD, PNG), packing to one bit per structure, and partial labels."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from monai_agglo.swallow import STRUCTURES, TARGETS, index_of

from .png_masks import PNG_SUFFIX, read_png_masks

__all__ = ["UNLABELLED", "labelled_channels", "pack_masks", "read_cine_masks", "unpack_masks"]

logger = logging.getLogger(__name__)

NIFTI = (".nii", ".nii.gz")
ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
ROWS_DOWN = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]])
"""Index-to-world matrix of an array whose first axis is the row."""
UNLABELLED = 255
"""Value of an unlabelled mask channel: the structure is unknown, not absent."""


def pack_masks(masks: np.ndarray) -> np.ndarray:
    """Pack binary channels into the bits of one integer per pixel.

    Args:
        masks: (S, ...) of 0 and 1, S at most 16; channel s becomes bit s. :data:`UNLABELLED` counts as 0.

    Returns:
        uint16 array (...).

    Raises:
        ValueError: more than 16 channels.
    """
    if len(masks) > 16:
        raise ValueError(f"{len(masks)} structures do not fit into the 16 bits of a packed mask")
    packed = np.zeros(masks.shape[1:], np.uint16)
    for bit, mask in enumerate(masks):
        packed |= (np.asarray(mask) == 1).astype(np.uint16) << np.uint16(bit)
    return packed


def unpack_masks(packed: np.ndarray, structures: int) -> np.ndarray:
    """Inverse of :func:`pack_masks`.

    Args:
        packed: uint16 array (...).
        structures: number of channels S.

    Returns:
        uint8 array (S, ...) of 0 and 1.
    """
    masks = np.empty((structures, *packed.shape), np.uint8)
    for bit in range(structures):
        np.not_equal(packed & np.uint16(1 << bit), 0, out=masks[bit].view(bool))
    return masks


def _read_array(path: Path, only: str | None) -> tuple[np.ndarray, np.ndarray | None]:
    """The stored array, and its index-to-world matrix (3 x 3) if the file contains one."""
    name = path.name.lower()
    if name.endswith(PNG_SUFFIX):
        return read_png_masks(path, only), ROWS_DOWN
    if name.endswith(NIFTI):
        import nibabel

        image = nibabel.load(path)
        array = np.asanyarray(image.dataobj)
        stated = int(image.header["sform_code"]) > 0 or int(image.header["qform_code"]) > 0
        return array, np.asarray(image.affine)[:3, :3] if stated else None
    if name.endswith(ITK):
        import itk

        header = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
        if header is None:
            raise ValueError("the file is missing or its type does not match its name")
        header.SetFileName(str(path))
        header.ReadImageInformation()
        if header.GetNumberOfComponents() > 1:  # imread supports only a few vector lengths
            reader = itk.ImageFileReader[itk.VectorImage[itk.UC, 3]].New(FileName=str(path))
            reader.Update()
            image = reader.GetOutput()
            array = np.moveaxis(itk.array_from_image(image), -1, 0).T
        else:
            image = itk.imread(str(path))
            array = itk.array_from_image(image).T
        direction = itk.array_from_matrix(image.GetDirection())
        matrix = direction[:3, :3] if direction.shape[0] >= 3 else None
        if array.ndim == 4:  # ITK's axis order unless the matrix states rows first
            return (array if _rows_first(matrix) else array.swapaxes(0, 1)), None
        return array, matrix
    raise ValueError(
        f"{path}: masks must be NIfTI (.nii, .nii.gz), NRRD or MetaImage (.nrrd, .mha), or PNG for a still"
    )


def _rows_first(matrix: np.ndarray | None) -> bool:
    """Whether the first axis of the array is the row (along world y)."""
    return matrix is not None and bool(abs(matrix[1, 0]) > abs(matrix[0, 0]))


def _columns_first(matrix: np.ndarray | None, array: np.ndarray) -> bool:
    """Whether the first axis of the array is the column (ITK's order) instead of the row (ours)."""
    # NIfTI with four axes (rows, columns, frames, structures) is written by this package only, rows first.
    return array.ndim != 4 and not _rows_first(matrix)


def read_cine_masks(
    path: str | Path,
    shape: Sequence[int] | None = None,
    structures: int = len(TARGETS),
    only: str | None = None,
) -> np.ndarray:
    """Read the masks of a cine.

    Two layouts are supported: binary channels (H, W, T, S) in the order of the structure table, as written by this
    package, and a label map of structure ids, (H, W, T) or (W, H, T) as written by ITK, 3D Slicer and MONAI Label.
    Rows and columns are distinguished by the affine, and by ``shape`` where the affine does not decide.

    Args:
        path: NIfTI or NRRD file; for a still also PNG, see :func:`~.png_masks.read_png_masks`.
        shape: expected (H, W, T), the shape of the cine.
        structures: number of leading structures of the table to return.
        only: structure shown by a black and white PNG.

    Returns:
        uint8 array (structures, H, W, T) of 0 and 1.

    Raises:
        ValueError: the file cannot be read, differs in shape from the cine, or contains unknown values.
    """
    path = Path(path)
    try:
        array, matrix = _read_array(path, only)
    except ModuleNotFoundError:  # itk: the command line names its extra
        raise
    except Exception as error:  # each library has its own kinds
        text = " ".join(str(error).split())
        raise ValueError(text if str(path) in text else f"{path}: cannot be read as masks: {text}") from error
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim not in (3, 4):
        raise ValueError(f"{path}: masks need the axes rows, columns, frames (and structures), not {array.shape}")
    swap = _columns_first(matrix, array)
    if shape is not None:
        fits = [
            tuple(array.shape[:3]) == tuple(shape),
            (array.shape[1], array.shape[0], array.shape[2]) == tuple(shape),
        ]
        if not any(fits):
            raise ValueError(
                f"{path}: masks of {array.shape[0]} x {array.shape[1]} pixels and {array.shape[2]} frames do not "
                f"belong to a cine of {shape[0]} x {shape[1]} pixels and {shape[2]} frames"
            )
        if fits[0] != fits[1]:
            swap = fits[1]
    if swap:
        array = array.swapaxes(0, 1)
    if array.ndim == 4:
        count = array.shape[3]
        if count < structures:
            raise ValueError(f"{path}: {count} mask channels, but {structures} structures are requested")
        masks = np.empty((structures, *array.shape[:3]), np.uint8)
        for s in range(structures):
            np.greater(array[..., s], 0.5, out=masks[s].view(bool))
        return masks
    if array.dtype.kind not in "buif":
        raise ValueError(f"{path}: a label map has one number per pixel, not {array.dtype}")
    lowest, highest = array.min(initial=0), array.max(initial=0)
    if not (lowest > -0.5 and highest < len(STRUCTURES) + 0.5):  # also True for NaN
        wrong = highest if lowest > -0.5 else lowest
        raise ValueError(f"{path}: label value {wrong:g} is not a structure id (1..{len(STRUCTURES)})")
    labels = np.rint(array) if array.dtype.kind == "f" else array
    return np.stack([labels == STRUCTURES[s].id for s in range(structures)]).astype(np.uint8)


def labelled_channels(case: dict, structures: int, frames: int) -> np.ndarray:
    """Which structures are labelled in which frames of a case.

    Args:
        case: datalist item; partial labels are declared by ``labelled_structures`` and ``labelled_frames``.
        structures: number of structures.
        frames: number of frames.

    Returns:
        bool array (structures, frames).

    Raises:
        ValueError: a structure is unknown or a frame does not exist.
    """
    labelled = np.ones((structures, frames), bool)
    names = case.get("labelled_structures")
    if names is not None:
        known = {index_of(name) for name in names}
        labelled[[s for s in range(structures) if s not in known]] = False
    listed = case.get("labelled_frames")
    if listed is not None:
        beyond = [int(t) for t in listed if not 0 <= int(t) < frames]
        if beyond:
            raise ValueError(f"labelled_frames contains frame {beyond[0]}, but the cine has frames 0..{frames - 1}")
        unseen = np.ones(frames, bool)
        unseen[[int(t) for t in listed]] = False
        labelled[:, unseen] = False
    return labelled

"""Cines in NIfTI or NRRD: (columns, rows, frames) as written by ITK and MONAI Label, or (rows, columns, frames).

The affine distinguishes the axes: the column axis runs along x. Frames are read by offset; a compressed file is
inflated as a stream.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .bounded_file import InflatingFile
from .errors import INFLATION_FREE_BYTES, MAX_INFLATION, check_size, fail
from .frames import FrameSource
from .grey import rgb_to_grey
from .identity import file_pseudonym
from .spacing import PixelSize
from .timing import NO_TIMING, Timing, constant_times

FRAME_TIME_MS = (8.0, 1000.0)
"""Range in which the spacing of the frame axis is read as a frame time: 125 to 1 frames per second. Without a time,
writers store 1."""
_NRRD_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    "float": "f4",
    "double": "f8",
}


@dataclass
class _Volume:
    """Layout of an image file; the first axis varies fastest."""

    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int
    packed: bool
    start: int
    affine: np.ndarray
    slope: float = 1.0
    intercept: float = 0.0
    colours: int = 1
    step_ms: float | None = None


def volume_format(head: bytes, path: str | os.PathLike) -> str | None:
    """``"nifti"`` or ``"nrrd"`` by the first bytes of a file; None for other files."""
    if head[:2] == b"\x1f\x8b":
        try:
            with InflatingFile(path, wbits=31) as stream:
                head = stream.read(540)
        except zlib.error:
            return None
    if head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0"):
        return "nifti"
    return "nrrd" if head[:4] == b"NRRD" else None


def open_volume(path: str | os.PathLike, kind: str, shown: object) -> tuple[FrameSource, dict[str, Any]]:
    """Open a NIfTI or NRRD file as a cine.

    Args:
        path: the file.
        kind: ``"nifti"`` or ``"nrrd"``.
        shown: path shown in error messages.

    Returns:
        The frame source and the metadata of a cine.

    Raises:
        CineReadError: damaged, truncated, or not an image of two axes and frames.
    """
    try:
        volume = (_nifti if kind == "nifti" else _nrrd)(path, shown)
    except (OSError, zlib.error) as error:
        raise fail(shown, f"the file is damaged ({type(error).__name__})") from None
    source = VolumeFrames(path, volume, shown)
    spacing = source.spacing
    return source, {
        "source_format": kind,
        "timing": source.timing,
        "spacing": spacing,
        "affine": source.affine,
        "frame_step": source.frame_step,
        "pixel_aspect": 1.0,
        "modality": None,
        "photometric": "RGB" if volume.colours > 1 else "MONOCHROME2",
        "bits_stored": 8 * source.dtype.itemsize,
        "lossy": False,
        "mask_subtraction": False,
        "view": None,
        "pseudonym": file_pseudonym(path),
        "patient_pseudonym": None,
    }


class VolumeFrames(FrameSource):
    """Frames of a NIfTI or NRRD file.

    Args:
        path: the file.
        volume: its layout.
        shown: path shown in error messages.
    """

    def __init__(self, path: str | os.PathLike, volume: _Volume, shown: object) -> None:
        shape = list(volume.shape)
        self.timing: Timing = NO_TIMING
        if len(shape) == 4 and shape[2] == 1:  # time on the fourth axis, as in functional MRI
            shape = [shape[0], shape[1], shape[3]]
            times = constant_times(volume.step_ms, shape[2])
            self.timing = NO_TIMING if times is None else Timing(times, "pixdim")
        while len(shape) > 3 and shape[-1] == 1:
            shape.pop()
        if len(shape) not in (2, 3):
            raise fail(shown, f"an image of {len(shape)} axes is not a cine (columns, rows, frames)")
        count = shape[2] if len(shape) == 3 else 1
        first, second = abs(volume.affine[0, 0]), abs(volume.affine[1, 0])
        self._rows_first = bool(second > first)  # the first axis runs along y
        rows, cols = (shape[0], shape[1]) if self._rows_first else (shape[1], shape[0])
        check_size(shown, rows, cols, count)
        self._path, self._volume = path, volume
        self._frame_bytes = rows * cols * volume.colours * volume.dtype.itemsize
        self._check_length(count, shown)
        scaled = (volume.slope, volume.intercept) != (1.0, 0.0)
        super().__init__(shown, (rows, cols, count), np.dtype("f4") if scaled else volume.dtype.newbyteorder("="))
        self._scaled = scaled
        self.frame_step = float(np.linalg.norm(volume.affine[:3, 2])) or 1.0
        if self.timing is NO_TIMING and FRAME_TIME_MS[0] <= self.frame_step <= FRAME_TIME_MS[1]:
            times = constant_times(self.frame_step, count)
            self.timing = Timing(times, "spacing of the frame axis (ITK puts the frame time in ms there)", assumed=True)
        self.affine = self._frame_affine()
        self.spacing = self._spacing()

    def frames(self, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        rows, cols, count = self.shape
        volume, size = self._volume, self._frame_bytes
        file: Any = InflatingFile(self._path, volume.start, 31) if volume.packed else open(self._path, "rb")  # noqa: SIM115
        with file:
            for index in wanted:
                try:
                    file.seek(volume.offset + index * size)
                    data = file.read(size)
                except (OSError, zlib.error):
                    raise fail(self.shown, f"frame {index + 1} of {count} is damaged") from None
                if len(data) < size:
                    raise fail(self.shown, f"the file is cut off in frame {index + 1} of {count}")
                values = np.frombuffer(data, volume.dtype).astype(volume.dtype.newbyteorder("="), copy=False)
                colours = (volume.colours,) if volume.colours > 1 else ()
                frame = values.reshape((rows, cols, *colours) if not self._rows_first else (cols, rows, *colours))
                if colours:
                    frame = rgb_to_grey(frame[..., :3])
                if self._rows_first:
                    frame = frame.T
                if self._scaled:
                    frame = frame * np.float32(volume.slope) + np.float32(volume.intercept)
                yield np.ascontiguousarray(frame, self.dtype)

    def _check_length(self, count: int, shown: object) -> None:
        volume = self._volume
        expected = self._frame_bytes * count
        left = os.path.getsize(self._path) - (volume.start if volume.packed else volume.offset)
        if volume.packed:
            if expected > INFLATION_FREE_BYTES and expected > 4 * MAX_INFLATION * left:
                raise fail(shown, f"{left} bytes cannot hold the {expected} that the header states")
        elif left < expected:
            frame = max(0, left) // self._frame_bytes + 1
            raise fail(shown, f"the file is cut off in frame {frame} of {count}")

    def _frame_affine(self) -> np.ndarray:
        """Affine of (rows, columns, frames) with a frame step of 1."""
        affine = self._volume.affine.astype(np.float64).copy()
        if not self._rows_first:
            affine[:, [0, 1]] = affine[:, [1, 0]]
        length = np.linalg.norm(affine[:3, 2])
        affine[:3, 2] = affine[:3, 2] / length if length > 0 else (0.0, 0.0, 1.0)
        return affine

    def _spacing(self) -> PixelSize:
        row, col = (float(np.linalg.norm(self.affine[:3, axis])) for axis in (0, 1))
        if not (1e-4 <= row <= 1e4 and 1e-4 <= col <= 1e4):
            raise fail(self.shown, "its affine has no usable pixel spacing")
        if np.allclose((row, col), 1.0):  # the default of all writers
            return PixelSize(None, "none", (row, col))
        # ITK and this package store the spacing at the detector here: it may differ from that in the patient.
        return PixelSize(None, "affine (at the detector or in the patient, the file does not say)", (row, col))


def _nifti(path: str | os.PathLike, shown: object) -> _Volume:
    import nibabel

    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    stream: Any = InflatingFile(path, wbits=31) if packed else open(path, "rb")  # noqa: SIM115
    with stream:
        head = stream.read(540)
    if head[344:348] == b"ni1\0" or head[4:8] == b"ni2\0":
        raise fail(shown, "its pixels are in a separate file (.img): save it as a single .nii")
    kind = nibabel.Nifti1Header if head[344:348] == b"n+1\0" else nibabel.Nifti2Header
    try:
        header = kind(head[: kind.sizeof_hdr], check=False)
        shape = tuple(int(size) for size in header.get_data_shape())
        dtype = header.get_data_dtype()
        affine = header.get_best_affine()
        slope, intercept = header.get_slope_inter()
        offset = int(header["vox_offset"])
        step, unit = float(header["pixdim"][4]), header.get_xyzt_units()[1]
    except Exception as error:  # a damaged header may raise any type
        raise fail(shown, f"the NIfTI header is damaged ({type(error).__name__})") from None
    colours = 1
    if dtype.names:
        colours, dtype = len(dtype.names), np.dtype("u1")
    if dtype.kind not in "iuf" or colours not in (1, 3, 4) or not np.isfinite(affine).all() or offset < 0:
        raise fail(shown, "the NIfTI header is damaged or its data type is not supported")
    unit_ms = {"sec": 1000.0, "msec": 1.0, "usec": 0.001}.get(unit)
    return _Volume(
        shape, dtype, offset, packed, 0, affine, float(slope or 1.0), float(intercept or 0.0), colours,
        step * unit_ms if unit_ms else None,
    )  # fmt: skip


def _nrrd(path: str | os.PathLike, shown: object) -> _Volume:
    with open(path, "rb") as file:
        head = file.read(1 << 16)
    end = re.search(rb"\r?\n\r?\n", head)
    if end is None:
        raise fail(shown, "its pixels are in a separate file, or the NRRD header is damaged")
    fields = {}
    for line in head[: end.start()].decode("latin-1").splitlines()[1:]:
        name, separator, content = line.partition(":")
        if separator and not line.startswith("#") and not content.startswith("="):
            fields[name.strip().lower()] = content.strip()
    if "data file" in fields or "datafile" in fields:
        raise fail(shown, "its pixels are in a separate file: save it with attached data")
    try:
        shape = [int(size) for size in fields["sizes"].split()]
        dtype = np.dtype(_NRRD_TYPES[fields["type"].lower()])
        encoding = fields.get("encoding", "raw").lower()
    except (KeyError, ValueError):
        raise fail(shown, "the NRRD header is damaged") from None
    if encoding not in ("raw", "gzip", "gz"):
        raise fail(shown, "its encoding is neither raw nor gzip")
    if fields.get("endian", "little") == "big":
        dtype = dtype.newbyteorder(">")
    kinds = fields.get("kinds", "").lower().split()
    directions = re.findall(r"none|\([^)]*\)", fields.get("space directions", ""))
    colours = 1
    if kinds and len(kinds) == len(shape) and kinds[0] in ("vector", "rgb-color", "rgba-color", "3-color", "list"):
        colours, shape, directions = shape[0], shape[1:], directions[1:]
        if colours not in (1, 3, 4):
            raise fail(shown, f"an image with {colours} values per pixel is not a cine")
    packed = encoding != "raw"
    start = end.end()
    affine = _nrrd_affine(fields, directions, len(shape))
    if not np.isfinite(affine).all():
        raise fail(shown, "the NRRD header is damaged")
    return _Volume(tuple(shape), dtype, 0 if packed else start, packed, start if packed else 0, affine, colours=colours)


def _nrrd_affine(fields: dict[str, str], directions: list[str], axes: int) -> np.ndarray:
    """RAS affine of the first three axes; 1 mm along the LPS axes by default."""
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    signs = np.array([-1.0, -1.0, 1.0])  # from LPS, as written by ITK and Slicer
    if fields.get("space", "").lower() in ("right-anterior-superior", "ras"):
        signs = np.ones(3)
    try:
        vectors = [[float(part) for part in item.strip("()").split(",")] for item in directions if item != "none"]
        for axis, vector in enumerate(vectors[: min(3, axes)]):
            if len(vector) == 3:
                affine[:3, axis] = np.array(vector) * signs
        if not vectors and fields.get("spacings"):
            for axis, size in enumerate(fields["spacings"].split()[:2]):
                affine[axis, axis] = -float(size)
        origin = [float(part) for part in fields.get("space origin", "").strip("()").split(",") if part]
        if len(origin) == 3:
            affine[:3, 3] = np.array(origin) * signs
    except ValueError:
        return np.full((4, 4), np.nan)
    return affine

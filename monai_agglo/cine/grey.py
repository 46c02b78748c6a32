"""Conversion of stored samples to greyscale.

Order: extract the stored bits (overlays may use the unused ones); greyscale images: modality and VOI transforms if
requested, then inversion of MONOCHROME1; colour images: luminance. Overlay planes, shutters and mask subtraction are
display instructions and are not applied.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .decode import PixelFormat
from .header import DicomHeader, FunctionalGroups, items, number, numbers, text, value
from .palette import BLUE, GREEN, RED, palette_to_grey

MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_RCT", "YBR_ICT")


def rgb_to_grey(rgb: np.ndarray) -> np.ndarray:
    """Luminance of RGB samples.

    Args:
        rgb: (..., 3) unsigned integers.

    Returns:
        (...) in the same dtype, rounded.
    """
    if rgb.dtype in (np.uint8, np.uint16) and rgb.ndim == 3:
        import cv2

        return cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)
    grey = rgb[..., 0] * RED + rgb[..., 1] * GREEN + rgb[..., 2] * BLUE
    return np.rint(grey).astype(rgb.dtype)


_ranges: dict[int, np.ndarray] = {}


def full_range(bits: int) -> np.ndarray:
    """Lookup table from broadcast luminance (16 to 235 of 8 bits) to the full range.

    Args:
        bits: bits per sample, 8 to 16.

    Returns:
        (2**bits,) uint8, or uint16 for more than 8 bits.
    """
    if bits not in _ranges:
        top, scale = (1 << bits) - 1, 1 << (bits - 8)
        values = (np.arange(top + 1) - 16 * scale) * (top / (219 * scale))
        _ranges[bits] = np.rint(np.clip(values, 0, top)).astype(np.uint8 if bits <= 8 else np.uint16)
    return _ranges[bits]


def stored_bits(samples: np.ndarray, form: PixelFormat) -> np.ndarray:
    """Extract the stored bits and restore the sign; in place for samples of the storage word's size.

    Args:
        samples: decoded samples of the storage word's size or narrower; may be modified.
        form: the pixel format.

    Returns:
        Samples of the storage word's size, signed for a signed format.
    """
    if samples.dtype != form.word:
        kind = samples.dtype.newbyteorder("=")
        samples = samples.astype(kind, copy=False).view(f"u{kind.itemsize}").astype(form.word)
    spare = form.high_bit + 1 - form.stored
    if spare > 0:
        samples >>= spare
    unused = form.allocated - form.stored
    if not form.signed:
        if unused:
            samples &= form.word.type((1 << form.stored) - 1)
        return samples
    signed = samples.view(f"i{form.word.itemsize}")
    if unused:
        signed <<= unused
        signed >>= unused
    return signed


class GreyMap:
    """Converts decoded samples of a DICOM file to greyscale frames.

    Args:
        header: header of the file.
        form: its pixel format.
        rescale: apply the modality LUT or the rescale slope and intercept; output float32.
        voi: then apply the VOI LUT or window; output float32 in [0, 2**stored - 1].
        shown: path shown in error messages.

    Raises:
        CineReadError: the colour palette is missing or damaged.
    """

    def __init__(self, header: DicomHeader, form: PixelFormat, rescale: bool, voi: bool, shown: object) -> None:
        self.form = form
        self.palette: np.ndarray | None = None
        self.palette_first = 0
        if form.photometric == "PALETTE COLOR":
            self.palette_first, self.palette = palette_to_grey(header.dataset, shown)
        self.inverted = form.photometric == "MONOCHROME1"
        self.float = (rescale or voi) and form.photometric in MONOCHROME
        self._options = (rescale, voi)
        self._dataset = header.dataset
        self._groups = FunctionalGroups(header.dataset) if self.float else None
        self._tables: dict[Any, Any] = {}

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the greyscale frames."""
        if self.float:
            return np.dtype(np.float32)
        if self.palette is not None:
            return self.palette.dtype
        return np.dtype(f"{'i' if self.form.signed else 'u'}{self.form.word.itemsize}")

    @property
    def in_place(self) -> bool:
        """Whether samples of the storage word's size are converted in place."""
        return self.form.photometric in MONOCHROME and not self.float

    def __call__(self, samples: np.ndarray, frame: int) -> np.ndarray:
        """Convert one frame.

        Args:
            samples: decoded samples, (H, W) or (H, W, 3).
            frame: frame number, selects the per-frame transforms of an Enhanced object.

        Returns:
            (H, W) of :attr:`dtype`; shares the memory of ``samples`` if :attr:`in_place`.
        """
        form = self.form
        if form.photometric not in MONOCHROME and self.palette is None:
            samples = stored_bits(samples, form)
            if form.photometric.startswith("YBR_PARTIAL") and samples.ndim == 2 and form.stored >= 8:
                return full_range(form.stored)[samples]
            return rgb_to_grey(samples) if samples.ndim == 3 else np.ascontiguousarray(samples)
        grey = stored_bits(samples, form)
        if self.palette is not None:
            index = np.clip(grey.astype(np.int64) - self.palette_first, 0, len(self.palette) - 1)
            return self.palette[index]
        if self.float:
            return self._transform(grey, frame)
        return self._invert(grey) if self.inverted else grey

    def _invert(self, grey: np.ndarray) -> np.ndarray:
        # max + min - v within n stored bits is a bitwise not, for unsigned and two's complement values.
        if self.form.signed:
            return np.invert(grey, out=grey)
        grey ^= self.form.word.type((1 << self.form.stored) - 1)
        return grey

    def _transform(self, grey: np.ndarray, frame: int) -> np.ndarray:
        rescale, voi = self._options
        modality = self._modality(frame) if rescale or voi else None
        low, high = (
            (-(1 << self.form.stored - 1), (1 << self.form.stored - 1) - 1)
            if self.form.signed
            else (0, (1 << self.form.stored) - 1)
        )
        ends = np.array([low, high])
        out = _apply(grey, modality)
        limits = np.sort(_apply(ends, modality))
        if isinstance(modality, tuple) and modality[0] == "lut":
            limits = np.array([modality[2].min(), modality[2].max()], np.float32)
        if voi:
            top = float((1 << self.form.stored) - 1)
            out = self._window(out, frame, limits, top)
            limits = np.array([0.0, top])
        if self.inverted:
            out = np.float32(limits[0] + limits[1]) - out
        return out.astype(np.float32, copy=False)

    def _modality(self, frame: int) -> Any:
        group = self._groups.get(frame, "PixelValueTransformationSequence") if self._groups else None
        for holder in filter(None, (group, self._dataset)):
            for item in items(holder, "ModalityLUTSequence")[:1]:
                table = self._lut(item)
                if table is not None:
                    return table
            slope, intercept = number(holder, "RescaleSlope"), number(holder, "RescaleIntercept")
            if slope is not None and intercept is not None and slope != 0:
                return ("line", slope, intercept)
        return None

    def _window(self, values: np.ndarray, frame: int, limits: np.ndarray, top: float) -> np.ndarray:
        group = self._groups.get(frame, "FrameVOILUTSequence") if self._groups else None
        for holder in filter(None, (group, self._dataset)):
            for item in items(holder, "VOILUTSequence")[:1]:
                table = self._lut(item)
                if table is not None:
                    mapped = _apply(values, table)
                    return mapped * np.float32(top / max(1.0, float(table[3])))
            centre, width = numbers(holder, "WindowCenter")[:1], numbers(holder, "WindowWidth")[:1]
            if centre and width and width[0] >= 1:
                return _windowed(values, centre[0], width[0], text(holder, "VOILUTFunction"), top)
        span = max(1e-6, float(limits[1] - limits[0]))  # no VOI in the file: full range
        return (values - np.float32(limits[0])) * np.float32(top / span)

    def _lut(self, item: Any) -> Any:
        key = id(item)
        if key not in self._tables:
            self._tables[key] = _read_lut(item, self.form.signed)
        return self._tables[key]


def _apply(values: np.ndarray, transform: Any) -> np.ndarray:
    if transform is None:
        return values.astype(np.float32)
    if transform[0] == "line":
        return values.astype(np.float32) * np.float32(transform[1]) + np.float32(transform[2])
    _, first, table, _ = transform
    index = np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)
    return table[index]


def _windowed(values: np.ndarray, centre: float, width: float, function: str, top: float) -> np.ndarray:
    """Window functions of DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    values = values.astype(np.float32)
    if function == "SIGMOID":
        return np.float32(top) / (1 + np.exp(np.clip(-4 * (values - centre) / width, -80, 80)))
    if function == "LINEAR_EXACT" or width <= 1:
        scaled = (values - centre) / width + 0.5
    else:
        scaled = (values - (centre - 0.5)) / (width - 1) + 0.5
    return np.clip(scaled, 0, 1).astype(np.float32) * np.float32(top)


def _read_lut(item: Any, signed: bool) -> Any:
    """Modality or VOI lookup table: ("lut", first mapped value, table, largest possible entry); None if invalid."""
    descriptor = numbers(item, "LUTDescriptor")
    data = value(item, "LUTData")
    if len(descriptor) != 3 or data is None:
        return None
    count, first, bits = int(descriptor[0]) & 0xFFFF or 65536, int(descriptor[1]), int(descriptor[2])
    if signed and first > 32767:
        first -= 65536
    if not 1 <= bits <= 16:
        return None
    if isinstance(data, bytes):
        wide = len(data) >= 2 * count
        table = np.frombuffer(data, "<u2" if wide else "u1")
    else:
        table = np.atleast_1d(np.asarray(data, dtype=np.int64)) & 0xFFFF
    return ("lut", first, table[:count].astype(np.float32), float((1 << bits) - 1)) if len(table) >= count else None

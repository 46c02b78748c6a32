"""Frame sources: greyscale frames of a file, one at a time."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .decode import SYNTAXES, DamagedFrameError, PixelFormat, arrange_native, decode_native
from .errors import INFLATION_FREE_BYTES, MAX_INFLATION, check_size, fail
from .fragments import group_frames, read_spans
from .grey import COLOUR, MONOCHROME, GreyMap
from .header import DicomHeader, number, text, value


class FrameSource:
    """Greyscale frames of one file.

    Args:
        shown: path shown in error messages.
        shape: (rows, columns, frames).
        dtype: of the frames.
    """

    def __init__(self, shown: object, shape: tuple[int, int, int], dtype: np.dtype) -> None:
        self.shown = shown
        self.shape = shape
        self.dtype = np.dtype(dtype)

    def frames(self, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        """Decode frames, one at a time.

        Args:
            wanted: ascending frame numbers.

        Yields:
            (H, W) of :attr:`dtype`; frames do not share memory.

        Raises:
            CineReadError: a frame is damaged or missing.
        """
        raise NotImplementedError

    def fill(self, wanted: Sequence[int], stack: np.ndarray) -> None:
        """Decode frames into an array.

        Args:
            wanted: ascending frame numbers.
            stack: (len(wanted), H, W) of :attr:`dtype`, C order; overwritten.

        Raises:
            CineReadError: a frame is damaged or missing.
        """
        for position, frame in enumerate(self.frames(wanted)):
            stack[position] = frame


def pixel_format(header: DicomHeader, shown: object) -> tuple[PixelFormat, int]:
    """Read and validate the pixel format and the number of frames.

    Args:
        header: the file's header.
        shown: path shown in error messages.

    Returns:
        The format and NumberOfFrames (default 1).

    Raises:
        CineReadError: a value is missing, inconsistent, or out of range.
    """
    dataset = header.dataset

    def integer(keyword: str, default: int | None = None) -> int:
        found = number(dataset, keyword)
        if found is None and default is not None and value(dataset, keyword) is None and keyword not in dataset:
            return default
        if found is None or found != int(found):
            raise fail(shown, f"{keyword} is missing or not an integer")
        return int(found)

    rows, cols = integer("Rows"), integer("Columns")
    frames = integer("NumberOfFrames", 1) if text(dataset, "NumberOfFrames") or _unreadable(dataset) else 1
    check_size(shown, rows, cols, frames)
    samples = integer("SamplesPerPixel", 1)
    allocated = integer("BitsAllocated")
    stored = integer("BitsStored", allocated)
    high = integer("HighBit", stored - 1)
    photometric = text(dataset, "PhotometricInterpretation").upper()
    if not photometric:
        photometric = "MONOCHROME2" if samples == 1 else "RGB"
    if photometric not in (*MONOCHROME, *COLOUR, "PALETTE COLOR"):
        raise fail(shown, "its PhotometricInterpretation is not supported")
    if samples != (3 if photometric in COLOUR else 1):
        raise fail(shown, f"SamplesPerPixel {samples} does not match {photometric}")
    native = header.syntax in SYNTAXES and SYNTAXES[header.syntax].kind == "native"
    if allocated not in (8, 16, 32) and not (allocated == 1 and samples == 1 and native and not header.big_endian):
        raise fail(shown, f"BitsAllocated {allocated} is not supported (8, 16 and 32 are)")
    if not 1 <= stored <= allocated or not stored - 1 <= high < allocated:
        raise fail(shown, f"BitsStored {stored} and HighBit {high} do not match BitsAllocated {allocated}")
    signed = integer("PixelRepresentation", 0) == 1 and photometric in MONOCHROME
    planar = integer("PlanarConfiguration", 0) == 1
    whole = rows * cols * 3 * frames * allocated // 8
    if native and photometric.endswith("_422") and header.length in (whole, whole + 1):
        photometric = photometric.removesuffix("_422")  # decompressed to full chrominance resolution
    return PixelFormat(rows, cols, samples, allocated, stored, high, signed, planar, photometric), frames


def _unreadable(dataset: Any) -> bool:
    """Whether NumberOfFrames is present with a non-numeric value."""
    return "NumberOfFrames" in dataset and bool(getattr(dataset.get_item("NumberOfFrames"), "value", None))


class NativeFrames(FrameSource):
    """Uncompressed frames, read by offset; a deflated file is inflated as a stream.

    Args:
        header: header of the file.
        form: its pixel format.
        count: number of frames.
        grey: greyscale conversion.
        shown: path shown in error messages.
    """

    def __init__(self, header: DicomHeader, form: PixelFormat, count: int, grey: GreyMap, shown: object) -> None:
        super().__init__(shown, (form.rows, form.cols, count), grey.dtype)
        self._header, self._form, self._grey = header, form, grey
        self._check(count)

    def _check(self, count: int) -> None:
        header, form, size = self._header, self._form, self._form.frame_bytes
        if header.length is None:
            raise fail(self.shown, "the pixel data are encapsulated but the transfer syntax is uncompressed")
        declared, expected = header.length, size * count
        if form.allocated == 1:  # single-bit frames are not padded to a byte
            expected = -(-form.rows * form.cols * count // 8)
        if header.deflated:
            packed = header.file_size - header.stream_start
            if expected > INFLATION_FREE_BYTES and expected > MAX_INFLATION * packed:
                raise fail(self.shown, f"{packed} bytes inflate to {expected} (deflate bomb?)")
            held = declared
        else:
            held = min(declared, header.file_size - header.offset)
            if held < expected and held < declared:
                raise fail(self.shown, f"the file is cut off in frame {held // size + 1} of {count}")
        if held < expected:
            reason = f"NumberOfFrames is {count} but the pixel data hold {held // size}"
            if count == 1 or (held // size == count - 1 and held % size):
                reason = f"the pixel data have {held} bytes where {expected} are expected"
            raise fail(self.shown, reason)
        if declared >= expected + size:
            raise fail(self.shown, f"NumberOfFrames is {count} but the pixel data hold {declared // size}")

    def frames(self, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        form = self._form
        with self._header.open() as file:
            for index in wanted:
                if form.allocated == 1:
                    yield self._grey(self._bits(file, index), index)
                    continue
                data = np.empty(form.frame_bytes, np.uint8)
                self._read(file, index, data)
                yield self._grey(arrange_native(data, form), index)

    def fill(self, wanted: Sequence[int], stack: np.ndarray) -> None:
        if not self._grey.in_place or self._form.allocated == 1:
            super().fill(wanted, stack)
            return
        with self._header.open() as file:  # read into the array, without an intermediate buffer
            for index, frame in zip(wanted, stack):
                self._read(file, index, frame.reshape(-1).view(np.uint8))
                self._grey(frame.view(self._form.word), index)

    def _bits(self, file: Any, index: int) -> np.ndarray:
        """One single-bit frame (least significant bit first) as bytes."""
        form = self._form
        pixels = form.rows * form.cols
        first, lead = divmod(index * pixels, 8)
        data = bytearray(-(-(lead + pixels) // 8))
        try:
            file.seek(self._header.offset + first)
            count = file.readinto(data)
        except (OSError, zlib.error):
            count = 0
        if count < len(data):
            raise fail(self.shown, f"the file is cut off in frame {index + 1} of {self.shape[2]}")
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        return bits[lead : lead + pixels].reshape(form.rows, form.cols)

    def _read(self, file: Any, index: int, data: np.ndarray) -> None:
        """Read the bytes of one frame into ``data``, in native byte order."""
        form, header = self._form, self._header
        size = form.frame_bytes
        start, stop = header.offset + index * size, header.offset + (index + 1) * size
        try:
            if header.big_endian and form.allocated == 8 and header.vr == "OW":  # bytes swapped within 16-bit words
                lead = (start - header.offset) & 1
                file.seek(start - lead)
                words = file.read(stop - start + lead + ((stop - header.offset) & 1))
                words = np.frombuffer(words + b"\0" * (len(words) & 1), "u2").byteswap().view(np.uint8)[lead:]
                count = min(size, len(words))
                data[:count] = words[:count]
            else:
                file.seek(start)
                count = file.readinto(data)
        except (OSError, zlib.error):
            raise fail(self.shown, f"frame {index + 1} of {self.shape[2]} is damaged") from None
        if count < size:
            raise fail(self.shown, f"the file is cut off in frame {index + 1} of {self.shape[2]}")
        if form.allocated > 8 and header.big_endian != (sys.byteorder == "big"):
            data.view(form.word).byteswap(inplace=True)


class EncapsulatedFrames(FrameSource):
    """Compressed frames, one codestream each.

    Args:
        header: header of the file.
        form: its pixel format.
        count: number of frames.
        grey: greyscale conversion.
        shown: path shown in error messages.
    """

    def __init__(self, header: DicomHeader, form: PixelFormat, count: int, grey: GreyMap, shown: object) -> None:
        super().__init__(shown, (form.rows, form.cols, count), grey.dtype)
        self._header, self._form, self._grey = header, form, grey
        self._spans = group_frames(header, count, shown)
        if SYNTAXES[header.syntax].decode is decode_native:
            held = sum(length for spans in self._spans for _, length in spans) // form.frame_bytes
            if held != count:
                raise fail(shown, f"NumberOfFrames is {count} but the pixel data hold {held}")

    def frames(self, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        form, syntax = self._form, SYNTAXES[self._header.syntax]
        decode = syntax.decode
        assert decode is not None
        with open(self._header.path, "rb") as file:
            for index in wanted:
                data = read_spans(file, self._spans[index])
                try:
                    samples = decode(data, form)
                    if samples.shape[:2] != (form.rows, form.cols) or samples.dtype.kind not in "ui":
                        raise DamagedFrameError(f"it decodes to {samples.shape[:2]} pixels")
                    if samples.ndim == 3 and samples.shape[2] != form.samples:
                        raise DamagedFrameError(f"it decodes to {samples.shape[2]} samples per pixel")
                except DamagedFrameError as error:
                    raise fail(self.shown, f"frame {index + 1} of {self.shape[2]} is damaged: {error}") from None
                except (Exception, MemoryError) as error:  # each codec raises its own types
                    kind = type(error).__name__
                    raise fail(
                        self.shown, f"frame {index + 1} of {self.shape[2]} is damaged ({syntax.name}, {kind})"
                    ) from None
                yield self._grey(samples, index)

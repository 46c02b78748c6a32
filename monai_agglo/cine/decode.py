"""Frame decoders, one per transfer syntax.

imagecodecs (BSD-3) decodes the JPEG family, JPEG-LS, JPEG 2000, HTJ2K and RLE: the fastest of the measured codecs, and
stable on damaged frames. GDCM is not used because some damaged frames make it abort the interpreter.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PixelFormat:
    """Storage of the samples of a frame.

    Args:
        rows: image height in pixels.
        cols: image width in pixels.
        samples: samples per pixel, 1 or 3.
        allocated: bits of the storage word: 8, 16 or 32; 1 for eight pixels per byte.
        stored: bits used by the sample.
        high_bit: position of the sample's highest bit.
        signed: two's complement samples.
        planar: native colour samples are stored plane by plane.
        photometric: PhotometricInterpretation.
    """

    rows: int
    cols: int
    samples: int
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    planar: bool
    photometric: str

    @property
    def word(self) -> np.dtype:
        """Unsigned storage word in native byte order; a byte for single bits."""
        return np.dtype(f"u{max(1, self.allocated // 8)}")

    @property
    def subsampled(self) -> bool:
        """Native YBR 4:2:2: two pixels share their chrominance, so that a pixel takes two samples."""
        return self.samples == 3 and self.photometric.endswith("_422")

    @property
    def frame_bytes(self) -> int:
        """Size of a native frame in bytes, rounded up for single bits."""
        pixels = self.rows * self.cols
        if self.allocated == 1:
            return -(-pixels // 8)
        return pixels * (2 if self.subsampled else self.samples) * self.allocated // 8


class DamagedFrameError(ValueError):
    """A codestream that cannot be decoded to the frame that the header describes."""


Decoder = Callable[[bytes, PixelFormat], np.ndarray]


def decode_native(data: bytes, form: PixelFormat) -> np.ndarray:
    """Arrange little endian samples.

    Args:
        data: one frame.
        form: its pixel format.

    Returns:
        (rows, cols), or (rows, cols, 3) for RGB; of YBR only the luminance, (rows, cols).
    """
    if len(data) < form.frame_bytes:
        raise DamagedFrameError(f"{len(data)} bytes where a frame takes {form.frame_bytes}")
    samples = np.frombuffer(bytearray(data[: form.frame_bytes]), form.word.newbyteorder("<"))
    return arrange_native(samples.astype(form.word, copy=False), form)


def arrange_native(samples: np.ndarray, form: PixelFormat) -> np.ndarray:
    """Reshape the samples of a frame.

    Args:
        samples: all samples of a frame in file order and native byte order.
        form: its pixel format.

    Returns:
        (rows, cols), or (rows, cols, 3) for RGB; of YBR only the luminance, (rows, cols).
    """
    samples = samples.view(form.word)
    if form.subsampled:
        return samples.reshape(-1, 4)[:, :2].reshape(form.rows, form.cols)
    if form.samples == 1:
        return samples.reshape(form.rows, form.cols)
    if form.planar:
        return _luminance(samples.reshape(3, form.rows, form.cols).transpose(1, 2, 0), form)
    return _luminance(samples.reshape(form.rows, form.cols, 3), form)


def decode_rle(data: bytes, form: PixelFormat) -> np.ndarray:
    """RLE: PackBits-compressed byte planes, most significant byte first."""
    import imagecodecs

    if len(data) < 64 or struct.unpack("<L", data[:4])[0] != form.samples * form.allocated // 8:
        raise DamagedFrameError("the number of RLE segments does not match the image")
    size = form.rows * form.cols * form.samples * form.word.itemsize
    try:
        decoded = imagecodecs.dicomrle_decode(data, form.word.newbyteorder("<"), out=bytearray(size))
    except imagecodecs.DicomrleError:
        decoded = _padded_rle(data, form)
    if len(decoded) != size:
        raise DamagedFrameError(f"{len(decoded)} bytes decoded where a frame takes {size}")
    samples = np.frombuffer(decoded, form.word.newbyteorder("<")).astype(form.word, copy=False)
    planes = samples.reshape(form.samples, form.rows, form.cols)
    return planes[0] if form.samples == 1 else _luminance(planes.transpose(1, 2, 0), form)


def _padded_rle(data: bytes, form: PixelFormat) -> bytes:
    """RLE segments padded by more than one byte, which decode to slightly more than a plane."""
    import imagecodecs

    count, *offsets = struct.unpack("<16L", data[:64])
    ends = [*offsets[1:count], len(data)]
    size, width = form.rows * form.cols, form.word.itemsize
    planes = np.empty((form.samples, size, width), np.uint8)
    for number, (start, end) in enumerate(zip(offsets, ends)):
        segment = data[start:end]
        slack = (len(segment) - len(segment.rstrip(b"\0"))) // 2 + 1
        plane = imagecodecs.packbits_decode(segment, out=bytearray(size + slack))
        if len(plane) < size:
            raise DamagedFrameError(f"{len(plane)} bytes decoded where a plane takes {size}")
        planes[number // width, :, width - 1 - number % width] = np.frombuffer(plane, np.uint8)[:size]
    return planes.tobytes()


def decode_jpeg(data: bytes, form: PixelFormat) -> np.ndarray:
    """JPEG baseline, extended (8 and 12 bits) and lossless; of YBR only the luminance is returned."""
    import imagecodecs

    frame = jpeg_frame(data)
    _same_size(frame.rows, frame.cols, form)
    if b"\xff\xd9" not in data.rstrip(b"\0")[-64:]:  # libjpeg would fill the rest of the frame with grey
        raise DamagedFrameError("the JPEG codestream has no end marker")
    if form.samples == 1 or frame.components == 1:
        return imagecodecs.jpeg8_decode(data)
    # JFIF implies YBR regardless of the header; an Adobe marker states the colour space.
    luminance = frame.adobe == 1 or (frame.adobe is None and (frame.jfif or form.photometric.startswith("YBR")))
    space = "YCBCR" if luminance else "RGB"
    if frame.lossless:  # decode without conversion: the first component of YBR is the luminance
        decoded = imagecodecs.jpeg8_decode(data, colorspace="RGB", outcolorspace="RGB")
        return _luminance(decoded, form)
    return imagecodecs.jpeg8_decode(data, colorspace=space, outcolorspace="GRAYSCALE" if luminance else "RGB")


def decode_jpegls(data: bytes, form: PixelFormat) -> np.ndarray:
    """JPEG-LS, lossless and near-lossless."""
    import imagecodecs

    frame = jpeg_frame(data)
    _same_size(frame.rows, frame.cols, form)
    if b"\xff\xd9" not in data[-64:]:
        data += b"\xff\xd9"  # CharLS searches about 15 s for a missing end marker
    return _luminance(imagecodecs.jpegls_decode(data), form)


def decode_jpeg2000(data: bytes, form: PixelFormat) -> np.ndarray:
    """JPEG 2000 and HTJ2K by OpenJPEG.

    OpenJPH takes half the time for HTJ2K, but in imagecodecs returns noise for a truncated codestream.
    """
    import imagecodecs

    _same_size(*jpeg2000_size(data), form)
    return _luminance(imagecodecs.jpeg2k_decode(data), form)


@dataclass(frozen=True)
class Syntax:
    """A supported transfer syntax.

    Args:
        name: name in error messages.
        kind: ``"native"``, ``"frames"`` (one codestream per frame) or ``"video"`` (one stream for all frames).
        decode: decoder of one frame; None for video, which PyAV decodes as a stream.
        lossy: the coding is always lossy.
        container: PyAV formats of a video stream, most likely first.
    """

    name: str
    kind: str
    decode: Decoder | None = None
    lossy: bool = False
    container: tuple[str, ...] = ()


_H264 = Syntax("MPEG-4 AVC/H.264", "video", lossy=True, container=("h264", "mpegts", "mp4"))
_MPEG2 = Syntax("MPEG-2", "video", lossy=True, container=("mpegvideo", "mpegts", "mpeg"))
_HEVC = Syntax("HEVC/H.265", "video", lossy=True, container=("hevc", "mpegts", "mp4"))
_BASE = "1.2.840.10008.1.2"

SYNTAXES: dict[str, Syntax] = {
    _BASE: Syntax("implicit little endian", "native", decode_native),
    f"{_BASE}.1": Syntax("explicit little endian", "native", decode_native),
    f"{_BASE}.1.99": Syntax("deflated explicit little endian", "native", decode_native),
    f"{_BASE}.2": Syntax("explicit big endian", "native", decode_native),
    f"{_BASE}.1.98": Syntax("encapsulated uncompressed", "frames", decode_native),
    f"{_BASE}.5": Syntax("RLE lossless", "frames", decode_rle),
    f"{_BASE}.4.50": Syntax("JPEG baseline", "frames", decode_jpeg, lossy=True),
    f"{_BASE}.4.51": Syntax("JPEG extended", "frames", decode_jpeg, lossy=True),
    f"{_BASE}.4.57": Syntax("JPEG lossless", "frames", decode_jpeg),
    f"{_BASE}.4.70": Syntax("JPEG lossless SV1", "frames", decode_jpeg),
    f"{_BASE}.4.80": Syntax("JPEG-LS lossless", "frames", decode_jpegls),
    f"{_BASE}.4.81": Syntax("JPEG-LS near-lossless", "frames", decode_jpegls, lossy=True),
    f"{_BASE}.4.90": Syntax("JPEG 2000 lossless", "frames", decode_jpeg2000),
    f"{_BASE}.4.91": Syntax("JPEG 2000", "frames", decode_jpeg2000),
    f"{_BASE}.4.201": Syntax("HTJ2K lossless", "frames", decode_jpeg2000),
    f"{_BASE}.4.202": Syntax("HTJ2K lossless RPCL", "frames", decode_jpeg2000),
    f"{_BASE}.4.203": Syntax("HTJ2K", "frames", decode_jpeg2000),
}
for _number in ("100", "100.1", "101", "101.1"):
    SYNTAXES[f"{_BASE}.4.{_number}"] = _MPEG2
for _number in ("102", "103", "104", "105", "106"):
    SYNTAXES[f"{_BASE}.4.{_number}"] = SYNTAXES[f"{_BASE}.4.{_number}.1"] = _H264
for _number in ("107", "108"):
    SYNTAXES[f"{_BASE}.4.{_number}"] = _HEVC


@dataclass(frozen=True)
class JpegFrame:
    """Frame header of a JPEG or JPEG-LS codestream."""

    rows: int
    cols: int
    components: int
    lossless: bool
    adobe: int | None
    jfif: bool


def jpeg_frame(data: bytes) -> JpegFrame:
    """Read the frame header of a JPEG codestream without decoding.

    Args:
        data: the codestream.

    Returns:
        Size, components, colour transform of the Adobe marker (None without one), and whether a JFIF marker is present.

    Raises:
        DamagedFrameError: no frame header.
    """
    position, adobe, jfif = 2, None, False
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            break
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        length = struct.unpack(">H", data[position + 2 : position + 4])[0]
        body = data[position + 4 : position + 2 + length]
        if marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12:
            adobe = body[11]
        jfif = jfif or (marker == 0xE0 and body[:4] == b"JFIF")
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            if len(body) < 6:
                break
            rows, cols, components = struct.unpack(">HHB", body[1:6])
            return JpegFrame(rows, cols, components, marker in (0xC3, 0xC7, 0xCB, 0xCF), adobe, jfif)
        position += 2 + max(2, length)
    raise DamagedFrameError("the JPEG codestream has no frame header")


def jpeg2000_size(data: bytes) -> tuple[int, int]:
    """Rows and columns of a JPEG 2000 codestream, bare or in a JP2 box.

    Raises:
        DamagedFrameError: no image header.
    """
    start = 0 if data[:4] == b"\xff\x4f\xff\x51" else data[:4096].find(b"\xff\x4f\xff\x51")
    if start < 0 or len(data) < start + 24:
        raise DamagedFrameError("the JPEG 2000 codestream has no image header")
    cols, rows, left, top = struct.unpack(">4L", data[start + 8 : start + 24])
    return rows - top, cols - left


def _same_size(rows: int, cols: int, form: PixelFormat) -> None:
    if (rows, cols) != (form.rows, form.cols):
        raise DamagedFrameError(f"the codestream has {rows} x {cols} pixels, the header {form.rows} x {form.cols}")


def _luminance(decoded: np.ndarray, form: PixelFormat) -> np.ndarray:
    """Luminance of untransformed YBR components; the decoder returns YBR_RCT and YBR_ICT as RGB."""
    raw = form.photometric.startswith(("YBR_FULL", "YBR_PARTIAL"))
    return decoded[..., 0] if decoded.ndim == 3 and raw else decoded

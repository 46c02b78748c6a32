"""Write DICOM cines of every kind, for tests: any class, any transfer syntax, any lie in the header."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, generate_uid

BASE = "1.2.840.10008.1.2"
SYNTAX = {
    "implicit": BASE,
    "explicit": f"{BASE}.1",
    "deflated": f"{BASE}.1.99",
    "big": f"{BASE}.2",
    "encapsulated": f"{BASE}.1.98",
    "rle": f"{BASE}.5",
    "jpeg": f"{BASE}.4.50",
    "jpeg12": f"{BASE}.4.51",
    "lossless": f"{BASE}.4.57",
    "sv1": f"{BASE}.4.70",
    "jpegls": f"{BASE}.4.80",
    "jpegls_near": f"{BASE}.4.81",
    "j2k": f"{BASE}.4.90",
    "j2k_lossy": f"{BASE}.4.91",
    "htj2k": f"{BASE}.4.201",
    "htj2k_rpcl": f"{BASE}.4.202",
    "htj2k_lossy": f"{BASE}.4.203",
    "mpeg2": f"{BASE}.4.100",
    "h264": f"{BASE}.4.102",
    "hevc": f"{BASE}.4.107",
}
EXACT = ("implicit", "explicit", "deflated", "big", "encapsulated", "rle", "lossless", "sv1", "jpegls", "j2k", "htj2k")
_CLASS = "1.2.840.10008.5.1.4.1.1."
SOP = {
    "XRF": (f"{_CLASS}12.2", "RF"),
    "XA": (f"{_CLASS}12.1", "XA"),
    "EnhancedXA": (f"{_CLASS}12.1.1", "XA"),
    "EnhancedXRF": (f"{_CLASS}12.2.1", "RF"),
    "SC": (f"{_CLASS}7", "OT"),
    "MFSC8": (f"{_CLASS}7.2", "OT"),
    "MFSC16": (f"{_CLASS}7.3", "OT"),
    "MFSCRGB": (f"{_CLASS}7.4", "OT"),
    "US": (f"{_CLASS}3.1", "US"),
    "DX": (f"{_CLASS}1.1", "DX"),
    "CR": (f"{_CLASS}1", "CR"),
    "Video": (f"{_CLASS}77.1.4.1", "XC"),
    "CT": (f"{_CLASS}2", "CT"),
    "NM": (f"{_CLASS}20", "NM"),
}


def moving_disc(frames: int = 6, rows: int = 48, cols: int = 64, bits: int = 8, seed: int = 0) -> np.ndarray:
    """Noise and a dark disc that moves: (frames, rows, cols), uint8 up to 8 bits and uint16 above."""
    generator = np.random.default_rng(seed)
    top = (1 << bits) - 1
    y, x = np.mgrid[:rows, :cols]
    cine = generator.normal(0.6 * top, 0.03 * top, (frames, rows, cols))
    for t in range(frames):
        cine[t][(y - rows / 2) ** 2 + (x - cols * (t + 1) / (frames + 1)) ** 2 < (rows / 6) ** 2] *= 0.4
    return np.clip(np.rint(cine), 0, top).astype(np.uint8 if bits <= 8 else np.uint16)


def write_cine(
    path: str | Path,
    frames: np.ndarray,
    syntax: str = "explicit",
    kind: str = "XRF",
    bits: int | None = None,
    photometric: str | None = None,
    tags: dict[str, Any] | None = None,
    fragments: int = 1,
    offsets: bool = True,
    planar: bool = False,
    pixel_data: bytes | None = None,
    coded: Sequence[bytes] | None = None,
) -> Path:
    """Write a DICOM cine.

    Args:
        path: the file to write.
        frames: (T, H, W) or (T, H, W, 3) of uint8, int16, uint16 or uint32.
        syntax: a key of :data:`SYNTAX`, or a transfer syntax UID (then ``pixel_data`` is needed).
        kind: a key of :data:`SOP`.
        bits: BitsStored, the dtype's by default.
        photometric: PhotometricInterpretation.
        tags: keywords to set after all others; None removes one.
        fragments: pieces that each codestream is cut into.
        offsets: write a basic offset table.
        planar: store colour plane by plane.
        pixel_data: the value of PixelData, to lie about it.
        coded: the codestreams, to choose another coding than the default.

    Returns:
        The path.
    """
    frames = np.asarray(frames)
    dataset = _header(frames, kind, bits, photometric, planar)
    uid = SYNTAX.get(syntax, syntax)
    dataset.file_meta.TransferSyntaxUID = uid
    native = syntax in ("implicit", "explicit", "deflated", "big")
    if pixel_data is None:
        if native:
            pixel_data = _native(frames, planar, ">" if syntax == "big" else "<")
        else:
            if coded is None:
                coded = (
                    [encode_video(frames, syntax)] if syntax in _VIDEO else [encode(f, syntax, dataset) for f in frames]
                )
            pixel_data = encapsulate(list(coded), fragments_per_frame=fragments, has_bot=offsets)
    dataset.PixelData = pixel_data
    dataset["PixelData"].VR = "OW" if frames.dtype.itemsize > 1 or syntax == "implicit" else "OB"
    if not native:
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    for keyword, value in (tags or {}).items():
        if value is None:
            if keyword in dataset:
                del dataset[keyword]
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                setattr(dataset, keyword, value)
    return save(dataset, path, uid)


def save(dataset: FileDataset, path: str | Path, uid: str) -> Path:
    """Save under pydicom 2.4 and 3 alike."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", SOP["XRF"][0])
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "1.2.3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if int(pydicom.__version__.split(".")[0]) >= 3:
            dataset.set_original_encoding(uid == BASE, uid != SYNTAX["big"])
            dataset.save_as(path, enforce_file_format=True)
        else:
            dataset.is_little_endian = uid != SYNTAX["big"]
            dataset.is_implicit_VR = uid == BASE
            known = not uid.startswith(f"{BASE}.4.2") or UID(uid).is_transfer_syntax
            if not known:  # pydicom 2 does not know HTJ2K: a UID of the same length takes its place
                dataset.file_meta.TransferSyntaxUID = SYNTAX["mpeg2"]
            dataset.save_as(path, write_like_original=False)
            if not known:
                path.write_bytes(path.read_bytes().replace(SYNTAX["mpeg2"].encode(), uid.encode(), 1))
    return path


def write_enhanced(
    path: str | Path, frames: np.ndarray, stamps: Sequence[str], kind: str = "EnhancedXRF", **options: Any
) -> Path:
    """An Enhanced XA or XRF file: per-frame times and calibrated spacing in functional groups."""
    groups = []
    for number, stamp in enumerate(stamps):
        content = Dataset()
        content.FrameReferenceDateTime = stamp
        content.FrameAcquisitionNumber = number + 1
        item = Dataset()
        item.FrameContentSequence = Items([content])
        groups.append(item)
    calibration = Dataset()
    calibration.ObjectPixelSpacingInCenterOfBeam = [0.25, 0.2]
    shared = Dataset()
    shared.ProjectionPixelCalibrationSequence = Items([calibration])
    tags = {
        "PerFrameFunctionalGroupsSequence": Items(groups),
        "SharedFunctionalGroupsSequence": Items([shared]),
        "FrameTime": None,
        "FrameIncrementPointer": None,
        **options.pop("tags", {}),
    }
    return write_cine(path, frames, kind=kind, tags=tags, **options)


def write_series(folder: str | Path, frames: np.ndarray, kind: str = "SC", shuffle: int = 3, **options: Any) -> Path:
    """A folder of single-frame instances, named in another order than they were taken in."""
    folder = Path(folder)
    series, study = generate_uid(), generate_uid()
    order = np.random.default_rng(shuffle).permutation(len(frames))
    for name, number in enumerate(order):
        tags = {
            "SeriesInstanceUID": series,
            "StudyInstanceUID": study,
            "InstanceNumber": int(number) + 1,
            "NumberOfFrames": None,
            "FrameTime": None,
            "FrameIncrementPointer": None,
            **options.get("tags", {}),
        }
        rest = {key: value for key, value in options.items() if key not in ("tags", "each")}
        tags.update(options["each"](int(number)) if "each" in options else {})
        write_cine(folder / f"im{name:04d}", frames[number : number + 1], kind=kind, tags=tags, **rest)
    return folder


def encode(frame: np.ndarray, syntax: str, dataset: Dataset) -> bytes:
    """One frame's codestream."""
    import imagecodecs

    stored = dataset.BitsStored
    unsigned = frame.view(f"u{frame.dtype.itemsize}") if frame.dtype.kind == "i" else frame
    if syntax == "encapsulated":
        return np.ascontiguousarray(frame).tobytes()
    if syntax == "rle":
        return encode_rle(frame)
    if syntax == "jpeg":
        ybr = dataset.PhotometricInterpretation.startswith("YBR")
        if frame.ndim == 3:
            return imagecodecs.jpeg8_encode(frame, level=95, colorspace="RGB", outcolorspace="YCBCR" if ybr else "RGB")
        return imagecodecs.jpeg8_encode(frame, level=95)
    if syntax == "jpeg12":
        return imagecodecs.jpeg8_encode(frame, level=95, bitspersample=12)
    if syntax == "lossless":
        return imagecodecs.jpeg8_encode(unsigned, lossless=True, predictor=4, bitspersample=max(stored, 8))
    if syntax == "sv1":
        return imagecodecs.jpeg8_encode(unsigned, lossless=True, predictor=1, bitspersample=max(stored, 8))
    if syntax == "jpegls":
        return imagecodecs.jpegls_encode(unsigned)
    if syntax == "jpegls_near":
        return imagecodecs.jpegls_encode(unsigned, level=2)
    if syntax == "j2k":
        return imagecodecs.jpeg2k_encode(frame, level=0, reversible=True, codecformat="J2K", bitspersample=stored)
    if syntax == "j2k_lossy":
        return imagecodecs.jpeg2k_encode(frame, level=45, codecformat="J2K", bitspersample=stored)
    if syntax in ("htj2k", "htj2k_rpcl"):
        return imagecodecs.htj2k_encode(frame, reversible=True)
    if syntax == "htj2k_lossy":
        return imagecodecs.htj2k_encode(frame, level=0.002)
    raise KeyError(syntax)


def encode_rle(frame: np.ndarray) -> bytes:
    """DICOM RLE: one PackBits segment per byte of each sample, most significant first."""
    import imagecodecs

    samples = frame[..., None] if frame.ndim == 2 else frame
    segments = []
    for channel in range(samples.shape[2]):
        plane = np.ascontiguousarray(samples[..., channel])
        planes = plane.astype(plane.dtype.newbyteorder(">")).view("u1").reshape(*plane.shape, -1)
        for byte in range(planes.shape[-1]):
            rows = (imagecodecs.packbits_encode(np.ascontiguousarray(row).tobytes()) for row in planes[..., byte])
            segment = b"".join(rows)
            segments.append(segment + b"\0" * (len(segment) % 2))
    offsets = np.concatenate([[64], 64 + np.cumsum([len(segment) for segment in segments])])[: len(segments)]
    header = struct.pack("<16L", len(segments), *offsets.tolist(), *[0] * (15 - len(segments)))
    return header + b"".join(segments)


_VIDEO = {
    "mpeg2": ("mpeg2video", "mpeg2video", {}),
    "h264": ("libx264", "h264", {"crf": "12", "preset": "ultrafast"}),
    "hevc": ("libx265", "hevc", {"crf": "12", "preset": "ultrafast", "x265-params": "log-level=none"}),
}


def encode_video(frames: np.ndarray, syntax: str, container: str | None = None, fps: int = 30) -> bytes:
    """A video stream, elementary by default."""
    codec, raw, options = _VIDEO[syntax]
    buffer = io.BytesIO()
    write_video(buffer, frames, container or raw, codec, fps, options)
    return buffer.getvalue()


def write_video(
    target: Any, frames: np.ndarray, container: str, codec: str, fps: int = 30, options: dict | None = None,
    pix_fmt: str = "yuv420p", times: Sequence[int] | None = None,
) -> None:  # fmt: skip
    """Write (T, H, W) uint8 frames as a video; ``times`` are presentation times in milliseconds."""
    from fractions import Fraction

    import av

    with av.open(target, "w", format=container) as output:
        stream = output.add_stream(codec, rate=fps, options=options or {})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        if codec in ("mpeg2video", "mpeg4", "mjpeg", "wmv2"):
            stream.bit_rate = 20_000_000
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, grey in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.repeat(grey[..., None], 3, axis=2), format="rgb24")
            frame.pts = number if times is None else times[number]
            frame.time_base = Fraction(1, fps) if times is None else Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def _header(frames: np.ndarray, kind: str, bits: int | None, photometric: str | None, planar: bool) -> FileDataset:
    dataset = FileDataset("", {}, file_meta=FileMetaDataset(), preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.Modality = SOP[kind]
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.StudyInstanceUID = (generate_uid() for _ in range(3))
    dataset.PatientID, dataset.PatientName = "PID-1", "Zaphodson^Trillian"
    dataset.Rows, dataset.Columns = frames.shape[1:3]
    dataset.NumberOfFrames = frames.shape[0]
    dataset.SamplesPerPixel = 3 if frames.ndim == 4 else 1
    dataset.PhotometricInterpretation = photometric or ("RGB" if frames.ndim == 4 else "MONOCHROME2")
    if frames.ndim == 4:
        dataset.PlanarConfiguration = int(planar)
    dataset.BitsAllocated = 8 * frames.dtype.itemsize
    dataset.BitsStored = bits or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(frames.dtype.kind == "i")
    dataset.FrameIncrementPointer = 0x00181063
    dataset.FrameTime = "33.333"
    return dataset


def _native(frames: np.ndarray, planar: bool, order: str) -> bytes:
    if planar:
        frames = frames.transpose(0, 3, 1, 2)
    data = np.ascontiguousarray(frames).astype(frames.dtype.newbyteorder(order)).tobytes()
    return data + b"\0" * (len(data) % 2)

"""Benchmark cines: frames of a synthetic study, as arrays and as DICOM files of every transfer syntax."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from monai_agglo.files import atomic_path

__all__ = ["BITS", "JPEG", "SEED", "SYNTAXES", "encode_frames", "phantom_frames", "write_dicom"]

SEED = 20_260
"""Seed of the synthetic patient; not among the training seeds."""
BITS = 8
"""Stored bits; 8, since baseline JPEG and video hold no more."""
_BASE = "1.2.840.10008.1.2"
JPEG = "JPEG baseline"


def _jpeg(frame: np.ndarray, **options: Any) -> bytes:
    import imagecodecs

    return imagecodecs.jpeg8_encode(frame, **options)


def _jpegls(frame: np.ndarray) -> bytes:
    import imagecodecs

    return imagecodecs.jpegls_encode(frame)


def _jpeg2k(frame: np.ndarray) -> bytes:
    import imagecodecs

    return imagecodecs.jpeg2k_encode(frame, level=0, reversible=True, codecformat="J2K", bitspersample=BITS)


def _htj2k(frame: np.ndarray) -> bytes:
    import imagecodecs

    return imagecodecs.htj2k_encode(frame, reversible=True)


def _rle(frame: np.ndarray) -> bytes:
    from rle.utils import encode_pixel_data

    layout = {"rows": frame.shape[0], "columns": frame.shape[1], "samples_per_pixel": 1, "bits_allocated": 8}
    return encode_pixel_data(frame.tobytes(), byteorder="<", **layout)


Encoder = Callable[[np.ndarray], bytes]
SYNTAXES: dict[str, tuple[str, Encoder | None]] = {
    JPEG: (f"{_BASE}.4.50", lambda frame: _jpeg(frame, level=90)),
    "JPEG lossless": (f"{_BASE}.4.70", lambda frame: _jpeg(frame, lossless=True, predictor=1, bitspersample=BITS)),
    "JPEG-LS": (f"{_BASE}.4.80", _jpegls),
    "JPEG 2000": (f"{_BASE}.4.90", _jpeg2k),
    "HTJ2K": (f"{_BASE}.4.201", _htj2k),
    "RLE": (f"{_BASE}.5", _rle),
    "uncompressed": (f"{_BASE}.1", None),
    "H.264": (f"{_BASE}.4.102", None),
}
"""By name: the UID, and what encodes a frame (a video is encoded as a whole)."""


def phantom_frames(work: Path, count: int, size: int, seed: int = SEED) -> tuple[np.ndarray, np.ndarray]:
    """Frames and ground-truth masks of a synthetic swallow, generated once.

    Args:
        work: folder of the files.
        count: number of frames, spread over the swallow.
        size: rows and columns.
        seed: seed of the patient.

    Returns:
        (count, size, size) uint8 and (count, 12, size, size) bool.
    """
    from monai_agglo.phantom import PhantomSpec, PhantomStudy
    from monai_agglo.swallow import NAMES, TARGET_NAMES

    path = work / f"phantom_{seed}_{size}_{count}.npz"
    if not path.exists():
        study = PhantomStudy(PhantomSpec.sample(seed, rows=size, cols=size))
        wanted = [NAMES.index(name) for name in TARGET_NAMES]
        pulses = np.linspace(0, study.n_frames // study.repeat - 1, count).round().astype(int)
        made = [study.frame(int(pulse) * study.repeat) for pulse in pulses]
        top = (1 << study.spec.bits_stored) - 1
        frames = np.stack([(frame.astype(np.float32) * (255 / top)).round().astype(np.uint8) for frame, _ in made])
        if study.spec.photometric == "MONOCHROME1":  # dark barium, as from a reader
            frames = 255 - frames
        masks = np.stack([masks[wanted] for _, masks in made])
        with atomic_path(path) as partial, open(partial, "wb") as stream:
            np.savez_compressed(stream, frames=frames, masks=np.packbits(masks, axis=-1))
    with np.load(path) as content:
        masks = np.unpackbits(content["masks"], axis=-1, count=size).astype(bool)
        return content["frames"], masks


def encode_frames(frames: np.ndarray, syntax: str) -> list[bytes]:
    """Encode frames one by one.

    Args:
        frames: (T, H, W) uint8.
        syntax: of :data:`SYNTAXES`, not of a video.

    Returns:
        A codestream per frame.
    """
    encode = SYNTAXES[syntax][1]
    return [frame.tobytes() if encode is None else encode(np.ascontiguousarray(frame)) for frame in frames]


def write_dicom(path: Path, frames: np.ndarray, syntax: str, count: int | None = None, seed: int = SEED) -> Path:
    """Write a fluoroscopy cine; an existing file is kept.

    Args:
        path: the file.
        frames: (T, H, W) uint8.
        syntax: of :data:`SYNTAXES`.
        count: frames in the file: ``frames`` repeated forwards and backwards; each once if None.
        seed: of the patient named in the header.

    Returns:
        The path.
    """
    if path.exists():
        return path
    import pydicom
    from pydicom.encaps import encapsulate

    from monai_agglo.phantom import PhantomSpec
    from monai_agglo.phantom.xrf_header import xrf_header

    count = count or len(frames)
    there_and_back = [*range(len(frames)), *range(len(frames) - 2, 0, -1)] or [0]
    order = [there_and_back[number % len(there_and_back)] for number in range(count)]
    spec = PhantomSpec.sample(seed, rows=frames.shape[1], cols=frames.shape[2])
    header = xrf_header(spec, np.arange(count) * (1000 / 30), version="bench", frames=order)
    header.PhotometricInterpretation = "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit = BITS, BITS, BITS - 1
    for keyword in ("WindowCenter", "WindowWidth", "PixelIntensityRelationship"):
        if keyword in header:
            del header[keyword]
    if syntax == "H.264":
        data: list[bytes] = [_video(frames[order])]
    else:
        coded = encode_frames(frames, syntax)
        data = [coded[index] for index in order]
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = SYNTAXES[syntax][0]
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    dataset = pydicom.dataset.FileDataset(str(path), header, file_meta=meta, preamble=b"\0" * 128)
    dataset.PixelData = b"".join(data) if syntax == "uncompressed" else encapsulate(data)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = syntax != "uncompressed"
    if syntax in (JPEG, "H.264"):
        dataset.LossyImageCompression = "01"
        dataset.LossyImageCompressionRatio = round(frames[0].nbytes * count / len(dataset.PixelData), 2)
        dataset.LossyImageCompressionMethod = "ISO_10918_1" if syntax == JPEG else "ISO_14496_10"
    with atomic_path(path) as partial:
        if int(pydicom.__version__.split(".")[0]) >= 3:
            dataset.save_as(partial, implicit_vr=False, little_endian=True, enforce_file_format=True)
        else:
            dataset.is_little_endian, dataset.is_implicit_VR = True, False
            dataset.save_as(partial, write_like_original=False)
    return path


def _video(frames: np.ndarray, fps: int = 30) -> bytes:
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="h264") as output:
        stream = output.add_stream("libx264", rate=fps, options={"crf": "18", "preset": "veryfast"})
        stream.height, stream.width = frames.shape[1:]
        stream.pix_fmt = "yuv420p"
        for number, grey in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(grey), format="gray")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            output.mux(stream.encode(frame.reformat(format="yuv420p")))
        output.mux(stream.encode(None))
    return buffer.getvalue()

"""A cine: lazily decoded frames of a file, with their metadata."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .dicom import CineOptions, open_dicom, open_series
from .errors import MAX_FRAMES, MAX_READ_BYTES, CineReadError, fail
from .frames import FrameSource
from .header import is_dicom
from .still import open_still, still_format
from .timing import RepeatFinder, effective_fps
from .video import open_video, video_format
from .volume import open_volume, volume_format

logger = logging.getLogger(__name__)

Frames = slice | Sequence[int] | None


class Cine:
    """A sequence of greyscale frames, decoded on demand.

    Args:
        source: frame source.
        facts: metadata from one of the ``open_*`` functions.
        as_float: convert frames to float32.

    Attributes:
        shape: (rows, columns, frames).
        dtype: of the frames.
        meta: affine, frame times, spacing and provenance, without identifying values. ``repeated_frames`` and
            ``effective_fps`` are computed from the pixels by :meth:`read` and :meth:`scan`.
    """

    def __init__(self, source: FrameSource, facts: dict[str, Any], as_float: bool = False) -> None:
        self._source = source
        self._timing = facts["timing"]
        self.shape = source.shape
        self.dtype = np.dtype(np.float32) if as_float else source.dtype
        self.meta = _meta(source, facts)

    def __len__(self) -> int:
        return self.shape[2]

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.frames()

    def frames(self, frames: Frames = None) -> Iterator[np.ndarray]:
        """Decode frames one at a time, in constant memory.

        Args:
            frames: a slice, ascending frame numbers, or None for all.

        Yields:
            (rows, columns) of :attr:`dtype`.

        Raises:
            CineReadError: a frame is damaged or missing.
        """
        decoded = self._source.frames(self._wanted(frames))
        return decoded if self.dtype == self._source.dtype else (frame.astype(self.dtype) for frame in decoded)

    def read(self, frames: Frames = None) -> np.ndarray:
        """Decode frames into one array and detect repeated frames.

        Args:
            frames: a slice, ascending frame numbers, or None for all.

        Returns:
            (rows, columns, frames) of :attr:`dtype`.

        Raises:
            CineReadError: a frame is damaged or missing, or the array exceeds the size limit.
        """
        wanted = self._wanted(frames)
        rows, cols, _ = self.shape
        size = rows * cols * len(wanted) * self.dtype.itemsize
        if size > MAX_READ_BYTES:
            raise fail(
                self._source.shown, f"{len(wanted)} frames take {size >> 30} GB: read fewer with frames=slice(...)"
            )
        try:
            stack = np.empty((len(wanted), rows, cols), self.dtype)
        except MemoryError:
            raise fail(self._source.shown, f"out of memory: {len(wanted)} frames take {size >> 20} MB") from None
        self._source.fill(wanted, stack)
        finder = RepeatFinder(bool(self.meta["lossy"]))
        for frame in stack:
            finder.add(frame)
        self._note_repeats(finder, wanted)
        # A view: each frame stays contiguous in memory.
        return stack.transpose(1, 2, 0)

    def scan(self, watch: Callable[[np.ndarray], object] | None = None) -> dict[str, Any]:
        """Detect repeated frames without keeping the pixels.

        Args:
            watch: called with each frame, (rows, columns), for progress or statistics.

        Returns:
            :attr:`meta` with ``repeated_frames`` and ``effective_fps``.
        """
        finder = RepeatFinder(bool(self.meta["lossy"]))
        for frame in self.frames():
            finder.add(frame)
            if watch is not None:
                watch(frame)
        self._note_repeats(finder, range(len(self)))
        return self.meta

    def meta_of(self, frames: Frames = None) -> dict[str, Any]:
        """Metadata of a subset of the frames.

        Args:
            frames: a slice, ascending frame numbers, or None for all.

        Returns:
            A copy of :attr:`meta` with the frame times of the subset.
        """
        wanted = self._wanted(frames)
        meta = dict(self.meta)
        meta["spatial_shape"] = np.array([*self.shape[:2], len(wanted)])
        times = self.meta["frame_times_ms"]
        meta["frame_times_ms"] = None if times is None else [times[index] for index in wanted]
        return meta

    def _wanted(self, frames: Frames) -> range | list[int]:
        count = self.shape[2]
        if frames is None:
            return range(count)
        if isinstance(frames, slice):
            wanted: range | list[int] = range(count)[frames]
        else:
            wanted = [int(index) for index in frames]
        if not len(wanted):
            raise fail(self._source.shown, f"the selection contains none of its {count} frames")
        if any(b <= a for a, b in itertools.pairwise(wanted)):
            raise fail(self._source.shown, "frame numbers must be in ascending order")
        if wanted[0] < 0 or wanted[-1] >= count:
            raise fail(self._source.shown, f"frames {wanted[0]} to {wanted[-1]} are out of range 0 to {count - 1}")
        return wanted

    def _note_repeats(self, finder: RepeatFinder, wanted: Sequence[int]) -> None:
        repeated = finder.result()
        times = self._timing.times_ms
        self.meta["repeated_frames"] = repeated
        self.meta["effective_fps"] = effective_fps(None if times is None else [times[i] for i in wanted], repeated)


def open_cine(path: str | os.PathLike | Sequence[str | os.PathLike], **options: Any) -> Cine:
    """Open a file or folder as a cine. The format is detected from the content, not from the name.

    Args:
        path: a DICOM file; a folder (or list) of single-frame DICOM instances; AVI, MP4, MOV, MKV or WMV; NIfTI or
            NRRD; a PNG, JPEG, BMP or TIFF still.
        options: see :class:`~monai_agglo.cine.dicom.CineOptions`.

    Returns:
        The cine; no frame is decoded yet.

    Raises:
        CineReadError: the input cannot be read as a cine.
    """
    try:
        chosen = CineOptions(**options)
    except TypeError:
        known = ", ".join(CineOptions.__dataclass_fields__)
        raise TypeError(f"open_cine takes the options {known}, not {', '.join(sorted(options))}") from None
    shown = path
    try:
        source, facts = _open(path, chosen, shown)
    except OSError as error:
        raise fail(shown, f"it cannot be read ({type(error).__name__})") from None
    if facts["mask_subtraction"]:
        logger.warning("Cine %s requests mask subtraction, which is not applied.", facts["pseudonym"])
    if chosen.itk_frame_step:
        facts["affine"][:3, 2] *= facts.get("frame_step", 1.0)
    return Cine(source, facts, as_float=chosen.rescale or chosen.voi)


def _open(path: Any, options: CineOptions, shown: object) -> tuple[FrameSource, dict]:
    if isinstance(path, (list, tuple)):
        if not path:
            raise fail("(no path)", "no file is given")
        if len(path) > 1:
            return open_series([_existing(item, shown) for item in path], options, shown)
        path = path[0]
    file = _existing(path, shown)
    return open_series(_files(file, shown), options, shown) if file.is_dir() else _open_file(file, options, shown)


def _files(folder: Path, shown: object) -> list[Path]:
    """Files of a folder, or of its subfolders where it contains no DICOM file (as on an exported disc)."""
    files = sorted(item for item in folder.iterdir() if item.is_file())
    if not any(is_dicom(item) and item.name.upper() != "DICOMDIR" for item in files):
        files = sorted(item for item in itertools.islice(folder.rglob("*"), 4 * MAX_FRAMES) if item.is_file())
    return files


def _open_file(file: Path, options: CineOptions, shown: object) -> tuple[FrameSource, dict]:
    """Open a file by the format of its first bytes."""
    if is_dicom(file):
        return open_dicom(file, options, shown)
    with file.open("rb") as stream:
        head = stream.read(1024)
    if container := video_format(head):
        return open_video(file, container, shown)
    if kind := volume_format(head, file):
        return open_volume(file, kind, shown)
    if kind := still_format(head):
        return open_still(file, kind, shown)
    if head[:4] == b"PK\x03\x04":
        raise fail(shown, "this is a zip archive; unpack it and name the file or folder inside")
    raise fail(shown, "this is not a DICOM file, video, NIfTI, NRRD, PNG or JPEG")


def _existing(path: str | os.PathLike, shown: object) -> Path:
    file = Path(path).expanduser()
    try:
        if not file.exists():
            raise fail(shown, "there is no such file or folder")
        if not (file.is_file() or file.is_dir()):
            raise fail(shown, "this is neither a file nor a folder")
        if file.is_file() and file.stat().st_size == 0:
            raise fail(shown, "the file is empty")
    except (OSError, ValueError) as error:
        if isinstance(error, CineReadError):
            raise
        raise fail(shown, f"the path cannot be opened ({type(error).__name__})") from None
    return file


def _meta(source: FrameSource, facts: dict[str, Any]) -> dict[str, Any]:
    timing, spacing, affine = facts["timing"], facts["spacing"], facts["affine"]
    named = ("timing", "spacing", "affine", "frame_step")
    return {
        "affine": affine.copy(),
        "original_affine": affine.copy(),
        "spatial_shape": np.array(source.shape),
        "original_channel_dim": "no_channel",
        "space": "RAS",
        "frame_times_ms": timing.times_ms,
        "time_source": timing.source,
        "time_assumed": timing.assumed,
        "nominal_fps": effective_fps(timing.times_ms, []),
        "effective_fps": None,
        "repeated_frames": [],
        "spacing_mm": spacing.mm,
        "spacing_known": spacing.known,
        "spacing_source": spacing.source,
        **{key: item for key, item in facts.items() if key not in named},
    }

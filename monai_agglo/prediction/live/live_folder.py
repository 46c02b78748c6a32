"""Frames that arrive as files in a folder: PNG and the like, or single-frame DICOM instances."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from monai_agglo.cine.dicom import CineOptions, open_dicom
from monai_agglo.cine.errors import CineReadError
from monai_agglo.cine.header import number, read_header, text
from monai_agglo.cine.identity import pseudonym
from monai_agglo.cine.still import open_still, still_format
from monai_agglo.cine.timing import Timing, ascending, dicom_timing, instance_time

from .frame_source import Arrival, Ending, StreamError

__all__ = ["END_MARK", "LiveFolder"]

END_MARK = "END"
"""A file of this name in the folder says that no more frames will come."""
POLL_S = 0.02
PARTIAL = (".part", ".tmp", ".partial", ".crdownload", ".filepart")
STILLS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


class LiveFolder:
    """Frames of a folder. See :class:`~.frame_source.LiveSource` for the attributes.

    A file is taken when it is whole: it can be decoded, and has not changed since the last look. Files are taken in
    the order of their InstanceNumber, or of the numbers in their names; one that is not whole yet holds up those after
    it (DICOM instances, whose names tell nothing: those that came with it or later), and one that comes after a later
    one was taken is left out.

    Args:
        folder: where the files arrive.
        options: how DICOM is read.
        stall_s: silence after which the stream counts as stalled, seconds.
        first_s: the same before the first file.
    """

    def __init__(self, folder: Path, options: CineOptions, stall_s: float, first_s: float) -> None:
        self.kind, self.shown = "folder", str(folder)
        self.ending: Ending | None = None
        self.damaged = self.left_out = 0
        self.silence_s: float | None = None
        self._folder, self._options = folder, options
        self._stall_s, self._first_s = stall_s, first_s
        self._stop = threading.Event()
        self._done: set[str] = set()
        # of each file that is not taken yet: its size and time, when it came, and in which look it was there first
        self._changes: dict[str, tuple[tuple[int, int], float | None, int]] = {}
        self._looks = 0
        self._last_key: tuple = ()
        self._facts: dict[str, Any] | None = None
        self._header: Any = None
        self._series = ""
        self._stamps: list[float | None] = []
        self._shape: tuple[int, ...] = ()

    def close(self) -> None:
        self._stop.set()

    def arrivals(self) -> Iterator[Arrival]:
        last, ended = time.monotonic(), False
        while not self._stop.is_set():
            begun, ended_before = time.monotonic(), ended
            settled, ended = self._look()
            problem, taken = "", False
            try:
                for key, path in sorted((self._key(path), path) for path in settled):
                    came = self._changes[path.name][1]
                    frame = self._take(path, key)
                    self._done.add(path.name)
                    del self._changes[path.name]
                    taken = True
                    if frame is not None:
                        yield Arrival(frame, came)
            except (CineReadError, OSError) as error:
                problem = " ".join(str(error).split())  # half-written, or no picture at all: time will tell
            now = time.monotonic()
            last = max([now if taken else last, *(change or 0 for _, change, _ in self._changes.values())])
            if ended and ended_before and not self._changes:  # a listing may miss what came just before the mark
                self.ending = Ending(f"the file {END_MARK} ended it", whole=True)
                return
            patience = self._stall_s if self._stamps else self._first_s
            if now - last > patience:
                self.ending = self._stalled(patience, problem)
                return
            if not taken:
                self._stop.wait(max(POLL_S, 4 * (now - begun)))
        self.ending = Ending("it was stopped", whole=False)

    def _stalled(self, patience: float, problem: str) -> Ending:
        after = f"the stream stalled after frame {len(self._stamps)}"
        if problem:
            return Ending(f"{after}: the next file did not become whole within {patience:g} s", False, problem)
        hint = f"a file named {END_MARK} in the folder ends it at once"
        return Ending(f"{after}: nothing came for {patience:g} s", False, hint)

    def _look(self) -> tuple[list[Path], bool]:
        """Files unchanged since the last look that need not wait for one that changed; whether the end is marked."""
        first, now = self._looks == 0, time.monotonic()
        self._looks += 1
        ended = False
        settled: list[Path] = []
        changing: list[tuple[tuple, int]] = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                name = entry.name
                ended |= name == END_MARK
                if name in self._done or not _may_be_a_frame(name):
                    continue
                try:
                    if not entry.is_file():
                        continue
                    info = os.stat(entry.path)
                except OSError:  # renamed meanwhile
                    continue
                state = (info.st_size, info.st_mtime_ns)
                known = self._changes.get(name)
                if known is None or known[0] != state:
                    seen = self._looks if known is None else known[2]
                    self._changes[name] = (state, None if first else now, seen)
                    changing.append((_natural(name), seen))
                else:
                    settled.append(Path(entry.path))
        for name in self._changes.keys() - {path.name for path in settled}:
            if not (self._folder / name).exists():
                del self._changes[name]
        if changing:
            next_name, next_seen = (min(part) for part in zip(*changing))
            settled = [
                path
                for path in settled
                if (_natural(path.name) < next_name if _is_still(path.name) else self._seen(path) < next_seen)
            ]
        return settled, ended

    def _seen(self, path: Path) -> int:
        """In which look a file was there first."""
        return self._changes[path.name][2]

    def _key(self, path: Path) -> tuple:
        """Where a file stands in the order."""
        with path.open("rb") as file:
            if still_format(file.read(16)):
                return _natural(path.name)
        header = read_header(path, pixels=False)
        if "Rows" not in header.dataset:  # cut off within the header: its InstanceNumber may be still to come
            raise CineReadError(f"{path}: it is cut off within its header, or no image")
        place = number(header.dataset, "InstanceNumber")
        return _natural(path.name) if place is None else ((0, place),)

    def _take(self, path: Path, key: tuple) -> np.ndarray | None:
        """The frame of a file; None when it is left out."""
        with path.open("rb") as file:
            kind = still_format(file.read(16))
        header = None
        if kind:
            source, facts = open_still(path, kind, path)
        else:
            header = read_header(path)
            source, facts = open_dicom(path, self._options, path)
            series = text(header.dataset, "SeriesInstanceUID")
            if source.shape[2] != 1:
                raise StreamError(
                    f"{path}: it holds {source.shape[2]} frames; a folder that is followed takes single frames: "
                    "use predict without --follow, or serve"
                )
            if self._stamps and series != self._series:
                self.left_out += 1
                return None
            self._series = series
        (frame,) = source.frames([0])
        if self._last_key and key <= self._last_key:
            self.left_out += 1
            return None
        if self._facts is None:
            self._facts, self._header, self._shape = facts, header, frame.shape
        elif frame.shape != self._shape:
            raise StreamError(f"{path}: frame {len(self._stamps) + 1} has another size than the first")
        self._last_key = key
        self._stamps.append(None if header is None else instance_time(header.dataset))
        return frame

    def facts(self, count: int) -> dict[str, Any]:
        assert self._facts is not None
        facts, stamps = dict(self._facts), self._stamps[:count]
        if self._header is not None:
            facts["timing"] = dicom_timing(self._header.dataset, count)
            facts["pseudonym"] = pseudonym(self._series) if self._series else facts["pseudonym"]
        else:
            facts["pseudonym"] = None
        if len(stamps) > 1 and None not in stamps:
            times = ascending([stamp - stamps[0] for stamp in stamps])  # type: ignore[operator]
            facts["timing"] = facts["timing"] if times is None else Timing(times, "AcquisitionTime")
        return facts


def _may_be_a_frame(name: str) -> bool:
    low, suffix = name.lower(), os.path.splitext(name)[1].lower()
    if name == END_MARK or name.startswith(".") or low.endswith(PARTIAL):
        return False
    return _is_still(name) or suffix in (".dcm", ".ima", "") or suffix[1:].isdigit()


def _is_still(name: str) -> bool:
    return name.lower().endswith(STILLS)


def _natural(name: str) -> tuple:
    """A key that counts: frame_9 before frame_10."""
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in re.findall(r"\d+|\D+", name))

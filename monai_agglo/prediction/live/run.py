"""Segment a cine during acquisition: masks of each frame as it arrives, and a result folder at the end."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from monai_agglo.cine.dicom import CineOptions
from monai_agglo.cine.errors import MAX_FRAMES
from monai_agglo.files import write_json
from monai_agglo.outputs import check_output, result_folder
from monai_agglo.prediction.options import PredictOptions
from monai_agglo.prediction.segmenter import SegmentedFrame

from .frame_source import Arrival, Ending, LiveSource, Reader, StreamError
from .limits import LiveLimits, check_limits
from .live_folder import LiveFolder
from .live_network import LiveNetwork
from .live_video import open_live_video
from .results import write_results
from .session import OnFrame, Session

__all__ = ["FollowReport", "follow"]


@dataclass(frozen=True)
class FollowReport:
    """Result for a stream.

    Args:
        output: the folder of the results.
        record: the content of its ``predict.json``.
        problem: why the stream is not complete, in one sentence; empty when it is.
    """

    output: Path
    record: dict[str, Any] = field(repr=False)
    problem: str = ""

    @property
    def exit_code(self) -> int:
        """0 when the stream is complete, 1 when it broke off or lost frames."""
        return int(bool(self.problem))

    def __str__(self) -> str:
        latency, count = self.record["live"]["latency_ms"], self.record["frames"]["count"]
        text = f"{count} frame{'s' * (count != 1)}"
        if latency["measured_frames"]:
            text += f", latency median {latency['median']} ms, p95 {latency['p95']} ms, worst {latency['worst']} ms"
        kept = f"\n  incomplete: {self.problem}; the whole frames before are kept" if self.problem else ""
        return f"{self.output}: {text}{kept}"


def follow(
    source: str | os.PathLike,
    output: str | os.PathLike,
    bundle: str | os.PathLike | None = None,
    *,
    limits: Sequence[float] | None = None,
    frames: int | None = None,
    stall_s: float = 10.0,
    first_s: float | None = None,
    progress: bool = False,
    on_frame: OnFrame | None = None,
    **options: Any,
) -> FollowReport:
    """Segment frames as they arrive, until the stream ends, stalls, or Ctrl-C.

    ``output`` then holds what ``predict`` writes for a file; the record has the part ``live`` in
    addition: how the stream ended, whether it is complete, the limits, and the latency of every frame. Nothing appears
    there before. Memory does not grow with the frames, but for some hundred bytes of record each; the frames lie in a
    temporary file beside the output until the pictures are made.

    Args:
        source: a file that is being written (AVI, MKV, MPEG); a named pipe, or ``-`` for standard input; a folder that
            receives frames (PNG and the like, or single-frame DICOM); ``/dev/video0``, or ``v4l2:``, ``dshow:``,
            ``avfoundation:`` and a device's name.
        output: folder for the results; made when missing.
        bundle: bundle folder or name; ``vfss_seg`` when None.
        limits: intensities that become 0 and 1; estimated from the first frames when None, see :class:`.LiveLimits`.
        frames: end after so many.
        stall_s: silence after which the stream counts as stalled, seconds.
        first_s: the same before the first frame; a minute, or ``stall_s`` when that is longer, when None.
        progress: show frames, rate and latency while it runs.
        on_frame: called with each segmented frame and its latency in milliseconds (None for frames that lay there
            before the start), as soon as its masks are there.
        options: fields of :class:`~monai_agglo.prediction.options.PredictOptions`, none of those for DICOM results.

    Returns:
        What was done; see its ``exit_code``.

    Raises:
        StreamError: when the stream gives no whole frame, or cannot be followed.
        ValueError: when an argument, the output folder or the bundle cannot be used.
        FileNotFoundError: when there is no such bundle.
    """
    chosen = PredictOptions(bundle, **options)
    if chosen.dicom:
        raise ValueError("a stream gives no DICOM results: convert the masks afterwards")
    for value, name in ((stall_s, "stall"), (frames, "frames")):
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"{name} must be a number above 0, not {value}")
    if limits is not None:
        check_limits(limits)
    target = check_output(output, chosen.overwrite)
    segmenter = chosen.segmenter(partial(print, file=sys.stderr, flush=True) if progress else None)
    live = _open(source, CineOptions(any_modality=chosen.any_modality), stall_s, first_s or max(60.0, stall_s))
    known = {"fps": chosen.fps, "spacing_mm": chosen.pair_mm}
    with result_folder(target) as work:
        session = Session(segmenter, LiveLimits(segmenter, limits), work, on_frame)
        with closing(session):
            network = LiveNetwork(segmenter, session.limits)
            ending = _run(live, network, session, min(frames or MAX_FRAMES, MAX_FRAMES), frames is not None, progress)
            if not len(session):
                reason = ending.reason + (f" ({ending.detail})" if ending.detail else "")
                raise StreamError(f"{source}: no whole frame came; {reason}")
            record = _finish(live, network, session, ending, known, work)
            write_json(work / "predict.json", record)
    problem = record["live"]["problem"] or ""
    return FollowReport(target, record, f"{problem} ({ending.detail})" if problem and ending.detail else problem)


def _open(source: str | os.PathLike, options: CineOptions, stall_s: float, first_s: float) -> LiveSource:
    if Path(source).expanduser().is_dir():
        return LiveFolder(Path(source).expanduser(), options, stall_s, first_s)
    found = open_live_video(os.fspath(source), stall_s, first_s)
    if found is None:
        raise StreamError(f"{source}: this is no file, folder, pipe or video device")
    return found


def _run(live: LiveSource, network: LiveNetwork, session: Session, most: int, wanted: bool, progress: bool) -> Ending:
    """Segment until the stream ends; returns the reason of the end."""
    from tqdm import tqdm

    waiting: list[float | None] = []  # moments of frames that wait for later ones
    reader = Reader(live)
    pace = 0.2 if sys.stderr.isatty() else 10.0
    bar = tqdm(desc="following", unit="frame", disable=not progress, mininterval=pace)

    def done(item: SegmentedFrame) -> None:
        session.take(item, waiting.pop(0))
        bar.update()
        bar.set_postfix_str(str(session.latencies), refresh=False)

    def add(arrival: Arrival) -> None:
        if not count:
            session.begin(arrival.frame, bool(live.facts(1)["lossy"]))
        waiting.append(arrival.came)
        for item in network.add(arrival.frame):
            done(item)

    ending, count = None, 0
    with closing(reader), closing(bar), _ctrl_c(reader):
        try:
            for arrival in reader:
                add(arrival)
                count += 1
                if count == most:
                    reason = f"the {most} frames asked for have come" if wanted else f"a cine ends at {most} frames"
                    ending = Ending(reason, whole=wanted)
                    break
            if reader.interrupted:  # a device has no other end; everything else would have gone on
                ending = Ending(f"it was stopped after frame {count}", whole=live.kind == "device")
        except StreamError as error:
            if not count:
                raise
            ending = Ending(f"the stream cannot be followed after frame {count}", False, str(error))
        for item in network.flush():
            done(item)
        bar.refresh()
    return ending or live.ending or Ending("the stream ended", whole=True)


@contextmanager
def _ctrl_c(reader: Reader) -> Iterator[None]:
    """The first Ctrl-C ends the stream after the current frame, the second one aborts."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        if reader.interrupted:
            raise KeyboardInterrupt
        reader.interrupted = True

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _finish(
    live: LiveSource,
    network: LiveNetwork,
    session: Session,
    ending: Ending,
    known: dict[str, Any],
    work: Path,
) -> dict[str, Any]:
    """Write masks and pictures; returns the record."""
    facts = live.facts(len(session))
    facts["pseudonym"] = facts["pseudonym"] or session.pseudonym()
    lost = [f"{live.damaged} damaged frames were left out"] if live.damaged and ending.whole else []
    lost += [f"{live.left_out} files came too late or belong to another series"] if live.left_out else []
    problem = "; ".join([*([] if ending.whole else [ending.reason]), *lost])
    about = {
        "kind": live.kind,
        "complete": not problem,
        "ended": ending.reason,
        "problem": problem or None,
        "damaged_frames": live.damaged,
        "left_out_files": live.left_out,
        "limits": session.limits.record(),
        "lookahead_frames": network.lookahead,
        "memory": network.memory,
        "latency_ms": {**session.latencies.summary(), "per_frame": session.latencies.per_frame()},
    }
    return write_results(session, facts, about, known, work)

"""Suite: DICOM file to results, split by stage."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from .context import Context
from .files import JPEG, SYNTAXES, phantom_frames, write_dicom
from .interleave import Candidate, Row, measure_interleaved
from .our_runtimes import SETTINGS, MemoryCine, open_segmenter
from .worker import Case

__all__ = ["STAGES", "WHAT", "end_to_end", "make_masks", "make_stages"]

WHAT = (
    "'Masks' is from the DICOM file to bit-packed masks in memory: open, decode, resize, network, threshold, "
    "clean, pack, overlapped as predict does it, on two threads. 'Network' is the same from frames in memory, "
    "without file and packing, in the same turns. Stages: decode, masks, predict, predict and SEG do more and "
    "more, so that each difference is the price of a stage; report is the price of measures and page where the "
    "masks are there."
)
STAGES = ("decode", "masks", "predict", "predict and SEG", "report")
"""Reading alone; masks in memory; ``predict`` (NIfTI, overlay video, contact sheet, record); with a DICOM SEG too; the
measures and the page of ``report`` from masks that are there."""


def end_to_end(context: Context) -> dict[str, Any]:
    """Measure.

    Args:
        context: how.

    Returns:
        ``settings``: masks from a JPEG file by runtime and precision, beside the network alone; ``syntaxes``: masks in
        the fastest setting by transfer syntax; ``stages`` in that setting.
    """
    size, count = context.pick((512, 96), (64, 6))
    frames, _ = phantom_frames(context.work, min(count, 32), size)
    paths = {}
    for syntax in context.pick(tuple(SYNTAXES), (JPEG, "RLE")):
        name = syntax.replace(" ", "_").lower()
        paths[syntax] = str(write_dicom(context.work / f"masks_{name}_{size}_{count}.dcm", frames, syntax, count))
    small = size if size < 512 else None
    threads = context.pick(2, 1)
    make = f"{__name__}:{make_masks.__name__}"
    common = {"frames": count, "network_size": small, "threads": threads}
    candidates = [
        Candidate(f"{runtime} {precision}", make,
                  {**common, "runtime": runtime, "precision": precision, "paths": {JPEG: paths[JPEG]}, "network": True},
                  threads, context.pick(5, 2))
        for runtime, precision in context.pick(SETTINGS, SETTINGS[:1])
    ]  # fmt: skip
    rows = [_row(row) for row in measure_interleaved(candidates, context.share(0.4), context.log)]
    best = fastest(rows)
    result: dict[str, Any] = {"what": WHAT, "size": size, "frames": count, "threads": threads, "settings": rows}
    if best is None:
        return result | {"syntaxes": [], "stages": []}
    runtime, _, precision = best.partition(" ")
    options = {**common, "runtime": runtime, "precision": precision, "paths": paths, "network": False}
    measured = measure_interleaved(
        [Candidate(best, make, options, threads, context.pick(4, 2))], context.share(0.35), context.log
    )
    result["syntaxes"] = [{"setting": best, "syntax": row.case} | row.summary() for row in measured]
    options = {"path": paths[JPEG], **common, "runtime": runtime, "precision": precision}
    stages = Candidate(best, f"{__name__}:{make_stages.__name__}", options, threads, context.pick(4, 1))
    measured = measure_interleaved([stages], context.left, context.log)
    result["stages"] = [{"setting": best, "stage": row.case} | row.summary() for row in measured]
    return result


def fastest(rows: list[dict[str, Any]], precision: str = "fp32") -> str | None:
    """Runtime and precision of the highest throughput to masks, for one precision."""
    found = [row for row in rows if row["case"] == JPEG and "per_s" in row and row["setting"].endswith(precision)]
    return max(found, key=lambda row: row["per_s"])["setting"] if found else None


def _row(row: Row) -> dict[str, Any]:
    return {"setting": row.candidate, "case": row.case} | row.summary()


def make_masks(
    runtime: str, precision: str, paths: dict[str, str], frames: int, network_size: int | None, threads: int,
    network: bool,
) -> dict[str, Case]:  # fmt: skip
    """From DICOM files to packed masks.

    Args:
        runtime: as in ``predict``.
        precision: as in ``predict``.
        paths: files by name.
        frames: number of frames in each.
        network_size: longer side of the network input; the bundle's own if None.
        threads: number of CPU threads.
        network: add a case ``network``: frames of the first file in memory, without packing.

    Returns:
        A case per file.
    """
    import torch

    from monai_agglo.cine.cine import open_cine
    from monai_agglo.prediction.mask_store import MaskStore

    torch.set_num_threads(threads)
    segmenter = open_segmenter(runtime, precision, network_size)

    def masks(path: str) -> None:
        cine = open_cine(path)
        limits = segmenter.intensity_range(cine)
        with MaskStore(cine.shape[:2], len(segmenter.structures)) as store:
            for item in segmenter.run(cine, limits):
                store.append(item.masks)

    cases = {name: Case(partial(masks, path), frames, threads) for name, path in paths.items()}
    if network:
        cine: Any = MemoryCine(open_cine(next(iter(paths.values()))).read().transpose(2, 0, 1))
        limits = segmenter.intensity_range(cine)
        cases["network"] = Case(lambda: [None for _ in segmenter.run(cine, limits)] and None, frames, threads)
    return cases


def make_stages(
    path: str, runtime: str, precision: str, frames: int, network_size: int | None, threads: int
) -> dict[str, Case]:
    """Cumulative stages, see :data:`STAGES`.

    Args:
        path: the DICOM file.
        runtime: as in ``predict``.
        precision: as in ``predict``.
        frames: number of frames in the file.
        network_size: longer side of the network input; the bundle's own if None.
        threads: number of CPU threads.

    Returns:
        A case per stage.
    """
    from monai_agglo.cine.cine import open_cine
    from monai_agglo.prediction.run import predict
    from monai_agglo.reporting import report

    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    common = {"device": "cpu", "size": network_size}
    chosen = {**common, "runtime": runtime, "precision": precision}
    masks = make_masks(runtime, precision, {"masks": path}, frames, network_size, threads, False)["masks"]

    def write(**options: Any) -> Callable[[], None]:
        return lambda: (predict(path, folder / "predicted", **chosen, **options), None)[1]

    def page() -> None:
        report(path, folder / "reported", **common)  # the first run segments, later ones reuse its masks

    calls = {
        "decode": lambda: [None for _ in open_cine(path).frames()] and None,
        "masks": masks.call,
        "predict": write(),
        "predict and SEG": write(dicom_seg=True),
        "report": page,
    }
    cases = {stage: Case(calls[stage], frames, threads) for stage in STAGES}
    cases[STAGES[-1]].close = lambda: shutil.rmtree(folder, ignore_errors=True)
    return cases

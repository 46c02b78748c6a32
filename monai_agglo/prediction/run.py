"""Segment cines: masks, a record, an overlay video and a contact sheet for each."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from monai_agglo.cine.cine import Cine, open_cine
from monai_agglo.cine.exposed_field import blank_outside, find_field
from monai_agglo.cine.identity import pseudonym
from monai_agglo.cine.search import Case, find_cases
from monai_agglo.cine.timing import RepeatFinder, effective_fps
from monai_agglo.files import write_json
from monai_agglo.locate import find_bundle
from monai_agglo.outputs import SUMMARY, check_output, result_folder
from monai_agglo.pictures.contact_sheet import pick_frames, write_contact_sheet
from monai_agglo.pictures.overlay import OverlayVideo

from .mask_store import MaskStore
from .options import PredictOptions
from .record import cine_lines, cine_record, cine_warnings, known_facts
from .segmenter import Segmenter
from .view_check import FrameView, ViewCheck

__all__ = [
    "CaseResult",
    "PredictJob",
    "PredictReport",
    "contact_sheet",
    "failure_sentence",
    "predict",
    "segment_case",
    "write_summary",
]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CaseResult:
    """Result for one cine.

    Args:
        shown: the file as the user knows it.
        folder: where its results lie; None when it failed.
        error: why it failed, in one sentence; empty when it did not.
        record: the content of its ``predict.json``.
    """

    shown: str
    folder: Path | None
    error: str = ""
    record: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class PredictReport:
    """Results for all cines.

    Args:
        output: the folder of the results.
        cases: one result per cine.
    """

    output: Path
    cases: list[CaseResult]

    @property
    def exit_code(self) -> int:
        """0 when all cines were segmented, 1 when some failed."""
        return int(any(case.error for case in self.cases))

    def __str__(self) -> str:
        done = sum(not case.error for case in self.cases)
        text = f"{done} of {len(self.cases)} segmented; see {self.output}" if len(self.cases) > 1 else str(self.output)
        return text + "".join(f"\n  failed: {case.error}" for case in self.cases if case.error)


@dataclass
class PredictJob:
    """Settings shared by all cines of a run.

    Args:
        options: how to segment and what to write.
        progress: show a bar per cine, and what takes long.
    """

    options: PredictOptions
    progress: bool = False
    segmenter: Segmenter | None = None
    check: ViewCheck | None = None

    def ready(self) -> tuple[Segmenter, ViewCheck | None]:
        """The segmenter and the bundle's view check, loaded once."""
        if self.segmenter is None:
            self.segmenter = self.options.segmenter(
                partial(print, file=sys.stderr, flush=True) if self.progress else None
            )
            self.check = ViewCheck.load(self.segmenter.folder)
        return self.segmenter, self.check


def predict(
    source: str | os.PathLike,
    output: str | os.PathLike,
    bundle: str | os.PathLike | None = None,
    *,
    progress: bool = False,
    **options: Any,
) -> PredictReport:
    """Segment a cine, or every cine in a folder.

    For one cine ``output`` holds ``masks.nii.gz`` (rows, columns, frames, 12 structures in table order, uint8, in the
    geometry of the source), ``predict.json`` (the record: structures, frame times, areas, view, model), ``overlay.mp4``
    and ``contact_sheet.png``. For several, each has a sub-folder named by its pseudonym, beside ``summary.json`` and
    ``index.html``; a cine that cannot be read is reported and the others go on. Older results are replaced when the new
    ones are whole.

    Args:
        source: a DICOM file, AVI, MP4, NIfTI, NRRD, PNG or JPEG; a folder of single-frame DICOM instances; or a folder
            with any number of these.
        output: folder for the results; made when missing.
        bundle: bundle folder or name; ``vfss_seg`` when None.
        progress: show a progress bar, and print a line per cine of a folder.
        options: fields of :class:`~.options.PredictOptions`.

    Returns:
        What was done.

    Raises:
        ImportError: when the runtime that was asked for is not installed.
        CineReadError: when the only cine cannot be read.
        ValueError: when an argument, the output folder or the bundle cannot be used.
        FileNotFoundError: when there is no such bundle.
    """
    job = PredictJob(PredictOptions(bundle, **options), progress)
    overwrite = job.options.overwrite
    target = check_output(output, overwrite)
    cases = find_cases(source, target)
    find_bundle(bundle or "vfss_seg")
    if len(cases) == 1:
        record = segment_case(cases[0], lambda _: target, job, "segmenting")
        return PredictReport(target, [CaseResult(cases[0].shown, target, record=record)])
    return _segment_all(cases, target, job, overwrite)


def _segment_all(cases: list[Case], target: Path, job: PredictJob, overwrite: bool) -> PredictReport:
    """Segment several cines; a failure does not stop the others."""
    used: set[str] = set()
    results = []

    def folder_of(cine: Cine) -> Path:
        own = cine.meta["pseudonym"]
        copies = (f"{own}-{n}" for n in range(2, len(cases) + 2))  # of one instance, or files that share a UID
        name = next(name for name in (own, *copies) if name not in used)
        used.add(name)
        return check_output(target / name, overwrite)

    job.ready()  # a bundle that cannot be used is no fault of the cines
    for number, case in enumerate(cases, 1):
        done: list[Path] = []

        def place(cine: Cine, done: list[Path] = done) -> Path:
            done.append(folder_of(cine))
            return done[0]

        try:
            record = segment_case(case, place, job, f"{number}/{len(cases)}")
            result = CaseResult(case.shown, done[0], record=record)
        except Exception as error:
            logger.debug("case %d failed", number, exc_info=True)
            result = CaseResult(case.shown, None, failure_sentence(error, case))
        results.append(result)
        if job.progress:
            where = result.error if result.error else f"{result.shown} -> {result.folder and result.folder.name}"
            print(f"{number}/{len(cases)} {'FAILED' if result.error else 'ok'} {where}", flush=True)
    write_summary(target, results, cases)
    return PredictReport(target, results)


def write_summary(target: Path, results: Sequence[CaseResult], cases: Sequence[Case], **facts: Any) -> None:
    """Write ``summary.json`` and ``index.html`` of a folder of results.

    Args:
        target: the folder.
        results: result for each cine.
        cases: the cines, in the same order.
        facts: further entries of the summary.
    """
    summary = [
        {"pseudonym": result.record["source"]["pseudonym"], "folder": result.folder.name, "error": None}
        if result.folder
        # Neither the file's name nor its place may enter a file: a pseudonym stands for it.
        else {"pseudonym": pseudonym(result.shown, "path"), "folder": None, "error": _nameless(result, case)}
        for case, result in zip(cases, results)
    ]
    target.mkdir(parents=True, exist_ok=True)
    write_json(target / SUMMARY, {"kind": "monai_agglo.predict_batch", **facts, "cases": summary})
    from monai_agglo.reporting.index_page import write_index

    write_index(target)


def failure_sentence(error: Exception, case: Case) -> str:
    """Reason of a failure, in one line that names the file once.

    Args:
        error: what was raised.
        case: the cine.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    known = isinstance(error, (ValueError, OSError))
    text = text if known else f"unexpected {type(error).__name__}: {text}"
    return text if str(case.paths[0]) in text else f"{case.shown}: {text}"


def _nameless(result: CaseResult, case: Case) -> str:
    """The reason without paths."""
    text = result.error
    for name in (case.shown, *map(str, case.paths), *(path.name for path in case.paths)):
        text = text.replace(name, "")
    return text.lstrip(": ") or "failed"


def segment_case(case: Case, place: Callable[[Cine], Path], job: PredictJob, label: str) -> dict[str, Any]:
    """Segment one cine.

    Args:
        case: the cine.
        place: names the folder of its results, checked; called when the cine could be opened.
        job: what is the same for all.
        label: of the progress bar.

    Returns:
        Its record.

    Raises:
        CineReadError: when it cannot be read.
    """
    from tqdm import tqdm

    started = time.monotonic()
    source = case.paths[0] if len(case.paths) == 1 else list(case.paths)
    options = job.options
    cine = open_cine(source, any_modality=options.any_modality)
    reference = None
    if options.dicom:
        from .dicom_results import DicomResults  # highdicom and more, for those who ask for it

        dicom = DicomResults(options.dicom_seg, options.dicom_overlay, options.keep_identity)
        reference = dicom.reference(case.paths, cine.shape[2])
    segmenter, check = job.ready()
    target = place(cine)
    limits = segmenter.intensity_range(cine)
    window = limits if limits[1] > limits[0] else None
    rows, columns, total = cine.shape
    meta = known_facts(cine, options.fps, options.pair_mm)
    times = meta["frame_times_ms"]
    views: list[FrameView] = []
    finder = RepeatFinder(bool(meta.get("lossy")))
    title = f"case {meta['pseudonym']}"
    field = find_field(cine)  # what is written outside it may name the patient, and stays out of the pictures
    with result_folder(target) as work, MaskStore((rows, columns), len(segmenter.structures), work) as store:
        video = OverlayVideo(
            work / "overlay.mp4", segmenter.structures, times_ms=times, total=total, window=window, title=title
        )
        bar = tqdm(total=total, desc=label, unit="frame", disable=None if job.progress else True, delay=2)
        with closing(video), closing(bar):
            for item in segmenter.run(cine, limits):
                finder.add(item.frame)
                store.append(item.masks)
                note = ""
                if check is not None:
                    views.append(check.frame(item.probabilities))
                    note = "" if views[-1].lateral else f"not a lateral VFSS view? {views[-1].reason}"
                if options.overlay:
                    video.add(next(blank_outside([item.frame], field)), item.masks, note)
                bar.update()
        repeated = finder.result()
        meta.update(repeated_frames=repeated, effective_fps=effective_fps(times, repeated))
        record = cine_record(meta, cine.shape, store.areas, segmenter, check, views)
        record["warnings"] = cine_warnings(record, check) + [case.note] * bool(case.note)
        contact_sheet(work / "contact_sheet.png", cine, field, store, record, views, window, title)
        store.write_nifti(work / "masks.nii.gz", meta["affine"], "monai-agglo masks: rows, columns, frames, structures")
        if reference is not None:
            record["dicom"] = dicom.write(work, reference, cine, field, store, segmenter, window, times)
        record["seconds"] = round(time.monotonic() - started, 2)
        write_json(work / "predict.json", record)
    return record


def contact_sheet(
    path: Path,
    cine: Cine,
    field: np.ndarray | None,
    store: MaskStore,
    record: dict[str, Any],
    views: list[FrameView],
    window: tuple[float, float] | None,
    title: str,
) -> None:
    """Write the contact sheet of a cine: twelve frames with their masks, what was read, and the warnings.

    Args:
        path: the PNG file.
        cine: the cine, of which the frames are decoded again.
        field: its exposed field, from :func:`~monai_agglo.cine.exposed_field.find_field`.
        store: its masks.
        record: its record.
        views: the view check's verdicts; empty without one.
        window: grey levels shown as black and white.
        title: heading.
    """
    areas = store.areas
    names = [item["name"] for item in record["structures"]]
    picked = pick_frames(len(store), 12, areas[:, names.index("bolus")])
    times = record["frames"]["frame_times_ms"]
    write_contact_sheet(
        path,
        blank_outside(cine.frames(picked), field),
        (store.frame(i) for i in picked),
        None if times is None else [times[i] for i in picked],
        picked,
        total=len(store),
        present=[name for name, found in zip(names, areas.any(axis=0)) if found],
        window=window,
        title=title,
        lines=cine_lines(record),
        warnings=record["warnings"],
        notes=[f"not lateral? {views[i].reason}" if views and not views[i].lateral else "" for i in picked],
    )

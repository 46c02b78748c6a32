"""Report of a cine, or of all cines in a folder: segment, measure, write page and tables."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from monai_agglo.cine.cine import Cine, open_cine
from monai_agglo.cine.search import Case, find_cases
from monai_agglo.files import atomic_path, sha256, write_json
from monai_agglo.outputs import check_output
from monai_agglo.prediction.options import PredictOptions
from monai_agglo.prediction.run import predict
from monai_agglo.swallow import CineMeasures

from .case_measures import MaskedCine, load_masks, measure_masks
from .content import measures_content, page_content
from .corrections import Corrections, check_order, read_corrections
from .edited_masks import read_edited_masks
from .index_page import MEASURES, PAGE, write_index
from .page import render_page
from .pictures import encode_frames
from .reuse import fits
from .tables import write_tables
from .verdict import verdict_of

__all__ = ["ReportCase", "ReportRun", "report"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReportCase:
    """Result for one cine.

    Args:
        shown: the file as given by the user.
        page: the report page; None on failure.
        line: summary, or reason of the failure, in one sentence.
        content: content of ``measurements.json``.
    """

    shown: str
    page: Path | None
    line: str
    content: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class ReportRun:
    """Results for all cines.

    Args:
        output: the result folder.
        cases: one entry per cine.
        index: the index page, None for a single cine.
    """

    output: Path
    cases: list[ReportCase]
    index: Path | None = None

    @property
    def exit_code(self) -> int:
        """0 if every cine has a page, otherwise 1."""
        return int(any(case.page is None for case in self.cases))

    def __str__(self) -> str:
        lines = [f"{case.page}: {case.line}" if case.page else f"failed: {case.line}" for case in self.cases]
        return "\n".join([*lines, *([str(self.index)] if self.index else [])])


@dataclass(frozen=True)
class _Job:
    """Options common to all cines of a run."""

    events: Path | None
    masks: Path | None
    view: str | None
    repeats: int


def report(
    source: str | os.PathLike,
    output: str | os.PathLike | None = None,
    bundle: str | os.PathLike | None = None,
    *,
    events: str | os.PathLike | None = None,
    masks: str | os.PathLike | None = None,
    view: str | None = None,
    repeats: int = 4,
    progress: bool = False,
    **options: Any,
) -> ReportRun:
    """Write the report of a cine, or of every cine in a folder.

    ``output`` contains the files of :func:`~monai_agglo.prediction.run.predict`, and ``report.html`` (self-contained),
    ``measurements.json``, ``measurements.csv``, ``events.csv`` and ``frames.csv``; several cines get a sub-folder each,
    beside ``index.html``. Existing masks of the same cine and weights are reused: a report with corrected events takes
    seconds.

    Args:
        source: as for ``predict``.
        output: result folder; by default ``report_<pseudonym>`` in the working directory, or ``reports`` for several
            cines.
        bundle: bundle folder or name; ``vfss_seg`` by default.
        events: corrections file exported from the page: events, consistency and volume of each swallow.
        masks: edited masks (NIfTI, NRRD, DICOM SEG) to measure instead of the predicted ones.
        view: ``lateral`` or ``ap``; overrides view check and file.
        repeats: number of measurements on perturbed masks for the uncertainties; 0 for none.
        progress: show progress bars.
        options: fields of :class:`~monai_agglo.prediction.options.PredictOptions`.

    Returns:
        The results.

    Raises:
        ValueError: an argument is invalid, or the only cine cannot be processed.
        FileNotFoundError: the bundle does not exist.
    """
    if view not in (None, "lateral", "ap"):
        raise ValueError(f"view must be lateral or ap, not {view!r}")
    if not 0 <= repeats <= 100:
        raise ValueError(f"repeats must be 0 to 100, not {repeats}")
    for path, what in ((events, "corrections"), (masks, "masks")):
        if path is not None and not Path(path).is_file():
            raise ValueError(f"{path}: there is no such file of {what}")
    job = _Job(events and Path(events), masks and Path(masks), view, repeats)  # type: ignore[arg-type]
    chosen = PredictOptions(bundle, **options)
    overwrite, any_modality = chosen.overwrite, chosen.any_modality
    target = None if output is None else check_output(output, overwrite)
    cases = find_cases(source, target)
    options["progress"] = progress
    if len(cases) == 1:
        cine = _open(cases[0], any_modality)
        target = target or check_output(f"report_{cine.meta['pseudonym']}", overwrite)
        if job.events:
            read_corrections(job.events, cine.meta["pseudonym"], cine.shape[2])  # before the work
        again = any(value is not None for value in (chosen.size, chosen.fps, chosen.spacing_mm))
        if again or not fits(target, cine, cases[0], bundle):
            predict(source, target, bundle, **options)
        done = _report_case(cases[0], cine, target, job)
        return ReportRun(target, [done])
    if events or masks:
        raise ValueError(f"{source}: contains {len(cases)} cines, but corrections and masks belong to one; give one")
    target = target or check_output("reports", overwrite)
    predicted = predict(source, target, bundle, **options)
    results = []
    for case, result in zip(cases, predicted.cases):
        if result.folder is None:
            results.append(ReportCase(case.shown, None, result.error))
            continue
        try:
            results.append(_report_case(case, _open(case, any_modality), result.folder, job))
        except Exception as error:
            logger.debug("a report failed", exc_info=True)
            text = " ".join(str(error).split()) or type(error).__name__
            results.append(ReportCase(case.shown, None, text if case.shown in text else f"{case.shown}: {text}"))
    return ReportRun(target, results, write_index(target))


def _open(case: Case, any_modality: bool) -> Cine:
    return open_cine(case.paths[0] if len(case.paths) == 1 else list(case.paths), any_modality=any_modality)


def _report_case(case: Case, cine: Cine, folder: Path, job: _Job) -> ReportCase:
    """Write page and tables of a segmented cine."""
    predicted = load_masks(folder)
    record, masks = predicted.record, predicted.masks
    notes = list(record["warnings"])
    verdict = verdict_of(record, job.view)
    origin: dict[str, Any] = {"origin": "network", "sha256": None}
    if job.masks is not None:
        source = case.paths if str(record["source"].get("source_format")).lower().startswith("dicom") else ()
        masks, note = read_edited_masks(job.masks, cine.shape, masks, source)
        origin = {"origin": "edited by a reader", "sha256": sha256(job.masks)}
        notes += [note] * bool(note)
    corrections = Corrections()
    if job.events is not None:
        corrections = read_corrections(job.events, record["source"]["pseudonym"], cine.shape[2])
    kind = {"lateral": "lateral", "ap": "ap"}.get(verdict["kind"], "unknown")
    found, automatic = _measure(MaskedCine(masks, predicted.options, record), kind, corrections, job.repeats)
    made = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    content = measures_content(found, automatic, record, corrections, origin, notes, verdict)
    data = page_content(content, record, masks, corrections, made)
    pictures = encode_frames(cine)
    page = render_page(data, vars(pictures))
    write_json(folder / MEASURES, content)
    view = record["view"]
    write_tables(folder, found, content, corrections, masks, view["flagged"] if view else [])
    with atomic_path(folder / PAGE) as partial:
        partial.write_text(page, encoding="utf-8")
    return ReportCase(case.shown, folder / PAGE, _line(content, verdict), content)


def _measure(case: MaskedCine, view: str, corrections: Corrections, repeats: int) -> tuple[CineMeasures, CineMeasures]:
    """Measures with and without the reader's corrections."""
    automatic = measure_masks(case, view=view, iddsi=corrections.iddsi)
    check_order(automatic, corrections)
    given = corrections.events[: len(automatic.swallows)]
    return measure_masks(case, repeats, view=view, iddsi=corrections.iddsi, events=given), automatic


def _line(content: dict[str, Any], verdict: dict[str, str]) -> str:
    if verdict["kind"] != "lateral":
        return f"{verdict['headline']}. {verdict['text']}"
    count = len(content["swallows"])
    text = f"{count} swallow{'s' * (count != 1)}" if count else f"no swallow ({content['reason']})"
    airway = content["airway"]
    flagged = len(airway["flagged_frames"]) if airway else 0
    return f"{text}, {flagged} frame{'s' * (flagged != 1)} flagged for review"

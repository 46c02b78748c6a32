"""Measurements of a segmented cine as a structured report."""

from __future__ import annotations

import math
from pathlib import Path

from monai_agglo.dicom.result_source import ResultSource
from monai_agglo.dicom.sr_writer import SrRecord, write_sr
from monai_agglo.swallow import CineMeasures
from monai_agglo.swallow.definitions import DEFINITIONS

__all__ = ["sr_records", "write_measurements"]

REPEATS = 4


def write_measurements(folder: Path, source: ResultSource) -> Path:
    """Measure the masks in a result folder of ``predict`` and write ``sr.dcm`` beside them.

    Args:
        folder: the result folder.
        source: the cine, read with its identity.

    Returns:
        The path of ``sr.dcm``.
    """
    from monai_agglo.reporting.case_measures import load_masks, measure_masks

    case = load_masks(folder)
    records = sr_records(measure_masks(case, REPEATS))
    return write_sr(folder / "sr.dcm", source, records, model=case.record["model"])


def sr_records(found: CineMeasures) -> list[SrRecord]:
    """Convert measures to records of a structured report.

    Args:
        found: the measures of a cine.

    Returns:
        Every measure of every swallow, or one record with the reason of missing measures.
    """
    if not found.rows:
        reason = found.reason or "no swallow was detected"
        return [SrRecord("swallow_measures", "Measures of a swallow", math.nan, "ratio", swallow=0, reason=reason)]
    records = []
    for number, row in enumerate(found.rows, 1):
        for name, item in row.items():
            definition = DEFINITIONS.get(name)
            notes = [item.note, f"Reference: {item.reference}." if item.measured else ""]
            spread = [value for value in (item.plus_minus, item.uncertainty) if math.isfinite(value)]
            record = SrRecord(
                name,
                definition.title if definition else name.replace("_", " "),
                item.value,
                item.unit,
                frames=tuple(item.frames),
                swallow=number,
                reason=item.reason,
                plus_minus=max(spread) if spread else math.nan,
                note=" ".join(filter(None, notes)),
            )
            records.append(record)
    return records

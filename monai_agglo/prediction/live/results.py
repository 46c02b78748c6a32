"""Result folder of a finished stream: the same files as for a recorded cine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monai_agglo.cine.cine import Cine
from monai_agglo.cine.exposed_field import blank_outside, find_field
from monai_agglo.cine.timing import effective_fps
from monai_agglo.pictures.overlay import write_overlay_video
from monai_agglo.prediction.record import cine_record, cine_warnings, known_facts
from monai_agglo.prediction.run import contact_sheet

from .session import Session

__all__ = ["write_results"]


def write_results(
    session: Session, facts: dict[str, Any], about: dict[str, Any], known: dict[str, Any], work: Path
) -> dict[str, Any]:
    """Write masks, overlay video and contact sheet.

    Args:
        session: frames and masks.
        facts: what the source says of the cine.
        about: the part ``live`` of the record.
        known: ``fps`` and ``spacing_mm`` where the user gave them.
        work: folder to write to.

    Returns:
        The record.
    """
    store, spool, segmenter = session.kept, session.frames, session.segmenter
    cine = Cine(spool, facts)
    meta = known_facts(cine, known["fps"], known["spacing_mm"])
    times = meta["frame_times_ms"]
    repeated = session.repeated()
    meta.update(repeated_frames=repeated, effective_fps=effective_fps(times, repeated))
    record = cine_record(meta, cine.shape, store.areas, segmenter, session.check, session.views)
    record["warnings"] = cine_warnings(record, session.check)
    if about["problem"]:
        record["warnings"].insert(0, f"The stream is not complete: {about['problem']}.")
    record["live"] = about
    low, high = session.limits.final
    window = (low, high) if high > low else None
    title = f"case {meta['pseudonym']}"
    field = find_field(cine)  # what is written outside it may name the patient, and stays out of the pictures
    notes = ["" if view.lateral else f"not a lateral VFSS view? {view.reason}" for view in session.views]
    write_overlay_video(
        work / "overlay.mp4",
        blank_outside(cine.frames(), field),
        (store.frame(index) for index in range(len(store))),
        times_ms=times,
        notes=notes or None,
        structures=segmenter.structures,
        total=len(store),
        window=window,
        title=title,
    )
    contact_sheet(work / "contact_sheet.png", cine, field, store, record, session.views, window, title)
    store.write_nifti(work / "masks.nii.gz", meta["affine"], "monai-agglo masks: rows, columns, frames, structures")
    return record

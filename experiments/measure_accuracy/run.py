"""How exact the measures are, on phantoms whose events, lengths and areas are known."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_agglo.files import write_json
from monai_agglo.phantom import PhantomSpec, PhantomStudy, write_study
from monai_agglo.phantom.airway import polygon_area
from monai_agglo.reporting.case_measures import load_masks, measure_masks
from monai_agglo.swallow import NAMES, CineMeasures, measure

__all__ = ["measure_accuracy", "study_errors", "true_masks", "truth_of"]

logger = logging.getLogger(__name__)

FIRST_SEED = 9000
"""Seeds of these patients; the data sets of the project start at 0 and stay far below."""
LEAST_AREA = 1.0
"""Residue below this, %(C2-4)^2, is left out: it is less than about 100 pixels, of which a tenth comes and goes."""
PART_OF = {"hyoid_anterior": "hyoid_excursion", "hyoid_superior": "hyoid_excursion"}
"""Components of a vector: their errors are given in per cent of its length, a component may be next to nothing."""


def true_masks(study: PhantomStudy) -> dict[str, np.ndarray]:
    """The exact masks of a lateral study, without rendering its pictures.

    Args:
        study: the study.

    Returns:
        Structures by name, (H, W, T) bool each.
    """
    spec = study.spec
    masks = np.zeros((len(NAMES), study.n_frames, spec.rows, spec.cols), bool)
    for pulse in range(spec.n_frames):
        state = study.state(pulse)
        found = study.patient.attenuation(state, study.sway(pulse, state))[1] & study.field_mask
        for name in study.hidden:
            found[NAMES.index(name)] = False
        masks[:, pulse * study.repeat : (pulse + 1) * study.repeat] = found[:, None]
    return {name: masks[k].transpose(1, 2, 0) for k, name in enumerate(NAMES)}


def truth_of(study: PhantomStudy) -> list[dict[str, float]]:
    """True lengths and areas of each swallow: lengths from the model's outlines, areas from its pixels at true events.

    Args:
        study: a lateral study.

    Returns:
        For each swallow, measures by name, in their units; what lies outside the recording or the field is left out.
    """
    patient = study.patient
    still = patient.canvas((0.0, 0.0, 0.0))
    c2, c4 = still.to_pixels(patient.landmarks())
    length = float(np.hypot(*(c4 - c2)))
    down = (c4 - c2) / length
    front = np.array([-down[1], down[0]])
    if (front @ [-1, 0] > 0) != (study.spec.facing == "left"):
        front = -front

    def masks(pulse: int) -> dict[str, np.ndarray]:
        state = study.state(pulse)
        drawn = patient.attenuation(state, study.sway(pulse, state))[1] & study.field_mask
        return dict(zip(NAMES, drawn))

    def area(mask: np.ndarray) -> float:
        """What truth.json states in ``area_px``, %(C2-4)^2."""
        return 100 * np.count_nonzero(mask) / length**2

    def hyoid(pulse: int) -> np.ndarray:
        pieces = [still.to_pixels(piece) for piece in patient.geometry(study.state(pulse)).hyoid]
        weights = [polygon_area(piece) for piece in pieces]
        return np.average([_center(piece) for piece in pieces], axis=0, weights=weights)

    found = []
    for course, events in zip(study.courses, study.swallows):
        known = {name: None if frame is None else frame // study.repeat for name, frame in events.items()}
        values = {"c2c4": length}
        before = max(0, int((course.bpm - 0.4) * study.spec.frame_rate))
        values["pharyngeal_area_hold"] = area(masks(before)["pharynx"])
        if known["mpc"] is not None:
            values["pharyngeal_area_mpc"] = area(masks(known["mpc"])["pharynx"])
            values["pcr"] = values["pharyngeal_area_mpc"] / values["pharyngeal_area_hold"]
        if known["ues_max"] is not None:
            outline = still.to_pixels(patient.geometry(study.state(known["ues_max"])).ues)
            half = len(outline) // 2
            across = np.hypot(*(outline[:half] - outline[: half - 1 : -1]).T)
            values["ues_max_width"] = 100 * float(np.median(across)) / length
        if known["hyoid_peak"] is not None:
            moved = 100 * (hyoid(known["hyoid_peak"]) - hyoid(before)) / length
            values["hyoid_excursion"] = float(np.hypot(*moved))
            values["hyoid_anterior"], values["hyoid_superior"] = float(moved @ front), float(-moved @ down)
        if known["rest"] is not None:
            # at the rest of all but the last swallow the phantom brings in the next bolus: look just before
            at_rest = masks(known["rest"] - (course is not study.courses[-1]))
            values["pharyngeal_area_rest"] = area(at_rest["pharynx"])
            for name, space in (("valleculae", at_rest["valleculae"]), ("pyriform", at_rest["pyriform_sinuses"])):
                residue = area(at_rest["bolus"] & space & ~at_rest["trachea"])
                if residue >= LEAST_AREA:
                    values[f"residue_{name}"], values[f"{name}_full"] = residue, 100 * residue / area(space)
        found.append(values)
    return found


def _center(polygon: np.ndarray) -> np.ndarray:
    """Centroid of the area of a polygon."""
    x, y = polygon.T
    nx, ny = np.roll(x, -1), np.roll(y, -1)
    cross = x * ny - nx * y
    return np.array([((x + nx) * cross).sum(), ((y + ny) * cross).sum()]) / (3 * cross.sum())


def study_errors(study: PhantomStudy, found: CineMeasures) -> dict[str, dict[str, list[float]]]:
    """Errors of the measures of a study.

    Args:
        study: the study.
        found: its measures.

    Returns:
        ``events`` (absolute error in X-ray pulses), ``areas`` and ``lengths`` (absolute error in per cent), a list per
        name; and ``missed``: swallows not found (1), found too much (-1) or right (0).
    """
    errors: dict[str, dict[str, list[float]]] = {"events": {}, "areas": {}, "lengths": {}, "missed": {}}
    errors["missed"]["swallows"] = [float(len(study.courses) - len(found.swallows))]
    if len(study.courses) != len(found.swallows):
        return errors
    for truth, events, swallow, row in zip(truth_of(study), study.swallows, found.swallows, found.rows):
        for name, frame in events.items():
            if frame is not None and name in swallow.events:
                errors["events"].setdefault(name, []).append(abs(swallow.events[name] - frame) / study.repeat)
        for name, value in truth.items():
            measured = found.study[name] if name == "c2c4" else row[name]
            if measured.measured and value:
                kind = "lengths" if measured.unit in ("px", "%C2-4") else "areas"
                whole = truth[PART_OF.get(name, name)]
                errors[kind].setdefault(name, []).append(100 * abs(measured.value - value) / whole)
    return errors


def _table(all_errors: Sequence[dict[str, dict[str, list[float]]]]) -> dict[str, Any]:
    """Medians over all swallows, in the form of the published figures."""

    def median(kind: str) -> dict[str, float]:
        names = sorted({name for errors in all_errors for name in errors[kind]})
        pooled = {name: [x for errors in all_errors for x in errors[kind].get(name, [])] for name in names}
        return {name: round(float(np.median(values)), 2) for name, values in pooled.items()}

    wrong = [errors["missed"]["swallows"][0] for errors in all_errors]
    return {
        "event_error_frames_median": median("events"),
        "area_error_pct": median("areas"),
        "length_error_pct": median("lengths"),
        "swallows_with_it": {
            name: sum(len(errors["areas"].get(name, [])) for errors in all_errors) for name in median("areas")
        },
        "studies": len(all_errors),
        "studies_with_wrong_number_of_swallows": sum(bool(w) for w in wrong),
        "swallows": sum(len(errors["lengths"].get("c2c4", [])) for errors in all_errors),
    }


def measure_accuracy(
    output: str | os.PathLike,
    patients: int = 10,
    predicted: int = 0,
    bundle: str | os.PathLike | None = None,
    *,
    size: int = 512,
    first_seed: int = FIRST_SEED,
    device: str | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Measure phantoms from true and from predicted masks and write the errors.

    Args:
        output: the JSON file; the half that is not run now is kept from an older file.
        patients: number of patients with true masks, 0 for none.
        predicted: number of patients whose pictures are segmented by the bundle, 0 for none.
        bundle: bundle folder or name; ``vfss_seg`` when None.
        size: rows and columns of the phantoms.
        first_seed: of the patients.
        device: torch device for the network.
        progress: print a line per patient.

    Returns:
        The content of the file: ``true_masks`` and ``predicted_masks``, each with medians of the absolute errors.
    """
    import json

    path = Path(output)
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    content |= {"synthetic": True, "rows": size, "first_seed": first_seed}
    for key, option, count in (("true_masks", "patients", patients), ("predicted_masks", "predicted", predicted)):
        errors = []
        for seed in range(first_seed, first_seed + count):
            study = PhantomStudy(PhantomSpec.sample(seed, rows=size, cols=size))
            found = _measured(study, key == "true_masks", bundle, device)
            errors.append(study_errors(study, found))
            if progress:
                print(f"{key} {seed}: {len(study.courses)} swallows, {len(found.swallows)} found", flush=True)
        if errors:
            content[key] = {**_table(errors), "command": f"python -m experiments.measure_accuracy --{option} {count}"}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content)
    return content


def _measured(study: PhantomStudy, exact: bool, bundle: str | os.PathLike | None, device: str | None) -> CineMeasures:
    if exact:
        repeated = [t for t in range(study.n_frames) if t % study.repeat]
        return measure(true_masks(study), list(study.frame_times_ms), repeated_frames=repeated)
    from monai_agglo.prediction.run import predict

    with tempfile.TemporaryDirectory() as folder:
        paths = write_study(study.spec, Path(folder) / "study")
        predict(paths.cine, Path(folder) / "result", bundle, device=device)
        return measure_masks(load_masks(Path(folder) / "result"), view="lateral")

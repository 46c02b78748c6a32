"""Data sets of synthetic patients: many studies, a datalist, splits by patient."""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monai_agglo.dicom.multi_frame_writer import transfer_syntax_uid
from monai_agglo.files import atomic_path
from monai_agglo.processes import run_tasks

from ..swallow.structures import STRUCTURES
from .spec import PhantomSpec
from .study import StudyPaths, write_study
from .truth import GENERATOR_VERSION

__all__ = ["DESCRIPTION", "SPLITS", "make_dataset", "patient_specs", "split_patients"]

logger = logging.getLogger(__name__)

SPLITS = ("training", "validation", "test")
DESCRIPTION = (
    "Synthetic videofluoroscopic swallowing studies from the monai_agglo phantom: computed images and masks, no person "
    "was examined. Splits are by patient. Made for development and tests; not evidence of clinical performance."
)
PATIENT_FIELDS = ("patient_id", "anatomy_seed", "age", "build", "lordosis", "kyphosis", "osteophytes", "hardware")
"""Fields constant over the studies of a patient."""
PARAMETERS = "phantom.json"
"""File beside the datalist with the parameters of the studies; prevents mixing data sets."""


def patient_specs(seed: int, patient: int, studies: int = 1, **overrides: Any) -> list[PhantomSpec]:
    """The studies of one patient of a data set.

    Args:
        seed: seed of the data set.
        patient: index of the patient, from 0; independent of the number of patients.
        studies: number of studies; they share the anatomy, and differ in posture, swallows and X-ray system.
        overrides: fields of :class:`PhantomSpec` to set on each.

    Returns:
        One spec per study.
    """
    if "patient_id" in overrides:
        raise ValueError("a data set numbers its patients itself: leave patient_id out")
    specs: list[PhantomSpec] = []
    shared: dict[str, Any] = {}
    for study in range(studies):
        study_seed = int(np.random.SeedSequence([seed, patient, study]).generate_state(1)[0])
        fixed = shared or {"patient_id": f"phantom-{seed}-{patient:05d}", "anatomy_seed": study_seed}
        spec = PhantomSpec.sample(study_seed, **{**fixed, **overrides})
        shared = shared or {name: getattr(spec, name) for name in PATIENT_FIELDS}
        specs.append(spec)
    return specs


def split_patients(patients: int, seed: int, splits: Sequence[float]) -> list[str]:
    """Assign patients to training, validation and test.

    Args:
        patients: number of patients.
        seed: random seed of the assignment.
        splits: fractions of the three, which sum to 1.

    Returns:
        Split of each patient. With enough patients, a split with a fraction above 0 gets at least one.

    Raises:
        ValueError: for invalid fractions.
    """
    if len(splits) != 3 or min(splits) < 0 or abs(sum(splits) - 1) > 1e-6:
        raise ValueError(f"splits are three fractions that sum to 1 (training, validation, test), not {tuple(splits)}")
    wanted = [name for name, part in zip(SPLITS, splits) if part > 0]
    counts = {name: int(patients >= len(wanted)) for name in wanted}
    exact = {name: part * patients for name, part in zip(SPLITS, splits) if part > 0}
    for _ in range(patients - sum(counts.values())):
        neediest = max(wanted, key=lambda name: exact[name] - counts[name])
        counts[neediest] += 1
    names = [name for name in wanted for _ in range(counts[name])]
    order = np.random.default_rng([seed, 12]).permutation(patients)
    return [names[k] for k in np.argsort(order)]


def make_dataset(
    folder: str | os.PathLike,
    patients: int = 24,
    seed: int = 0,
    frames: int | None = None,
    size: int | tuple[int, int] = 512,
    processes: int | None = None,
    splits: Sequence[float] = (0.7, 0.15, 0.15),
    *,
    studies: int = 1,
    transfer_syntax: str = "jpegls",
    compress: bool = True,
    overwrite: bool = False,
    progress: bool = True,
    **overrides: Any,
) -> Path:
    """Generate a data set of synthetic patients, or complete one.

    Each study goes to ``<folder>/<patient_id>/study-<n>/`` (see :func:`write_study`), then ``datalist.json`` lists them
    in the format of MONAI's ``load_decathlon_datalist``. The content depends on the arguments only, not on the number
    of processes. An interrupted call resumes: complete studies are kept.

    Args:
        folder: created if missing.
        patients: number of patients; may grow or shrink on a later call.
        seed: seed of the whole data set.
        frames: frames per study: None for all of them, or a small number for training, spread over the study
            (see :func:`choose_frames`).
        size: rows and columns, or one number for both, pixels.
        processes: number of processes; None for one per core.
        splits: fractions of patients for training, validation and test.
        studies: studies per patient.
        transfer_syntax, compress: as in :func:`write_study`.
        overwrite: replace a data set with other parameters instead of raising.
        progress: show a progress bar.
        overrides: fields of :class:`PhantomSpec` to set on every study.

    Returns:
        Path of ``datalist.json``.

    Raises:
        ValueError: for an invalid argument, or if the folder holds a data set with other parameters.
        OSError: if the disk is too small.
        RuntimeError: if a study fails, with its name; finished studies are kept.
    """
    from filelock import FileLock

    if patients < 1 or studies < 1:
        raise ValueError(f"a data set has at least one patient with one study, not {patients} with {studies}")
    if frames is not None and frames < 1:
        raise ValueError(f"frames is the number of frames per study, at least 1, not {frames}")
    syntax = transfer_syntax_uid(transfer_syntax if compress else "none")
    rows, cols = (size, size) if isinstance(size, int) else size
    overrides = {"rows": int(rows), "cols": int(cols), "view": "lateral", **overrides}
    split_of = split_patients(patients, seed, splits)
    specs = [patient_specs(seed, patient, studies, **overrides) for patient in range(patients)]
    parameters = {
        "synthetic": True,
        "generator_version": GENERATOR_VERSION,
        "seed": seed,
        "frames": frames,
        "studies": studies,
        "transfer_syntax": syntax,
        "overrides": json.loads(json.dumps(overrides, default=_plain)),
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # ranks of one training may request the same data: the second waits and reuses it
    with FileLock(folder / ".phantom.lock"):
        _claim(folder, parameters, overwrite)
        tasks: list[dict[str, Any]] = []
        items: dict[str, list[dict[str, Any]]] = {name: [] for name in SPLITS}
        for split, patient in zip(split_of, specs):
            for number, spec in enumerate(patient, 1):
                name = f"{spec.patient_id}/study-{number}"
                items[split].append(_item(name, spec))
                if not _is_whole(folder / name):
                    tasks.append(
                        {"spec": spec.to_dict(), "folder": str(folder / name), "frames": frames, "syntax": syntax}
                    )
        _check_disk(folder, tasks)
        _sweep(folder)
        try:
            run_tasks(make_study, tasks, processes, desc="phantom studies", unit="study", progress=progress)
        finally:
            _sweep(folder)
        path = folder / "datalist.json"
        _write_json(path, _datalist(items))
    return path


def make_study(task: dict[str, Any]) -> None:
    """Write one study to a temporary folder and rename it: studies are atomic.

    Args:
        task: ``spec`` (as from ``to_dict``), ``folder``, ``frames`` and ``syntax``.

    Raises:
        RuntimeError: if it fails, with the name of the study.
    """
    final = Path(task["folder"])
    # unique name: an orphaned worker may still write the same study
    partial = final.with_name(f".{final.name}.{secrets.token_hex(4)}.part")
    try:
        spec = PhantomSpec.from_dict(task["spec"])
        write_study(spec, partial, frames=task["frames"], transfer_syntax=task["syntax"])
        shutil.rmtree(final, ignore_errors=True)
        os.replace(partial, final)
    except Exception as error:
        shutil.rmtree(partial, ignore_errors=True)
        name = "/".join(final.parts[-2:])
        raise RuntimeError(f"phantom study {name} (seed {task['spec']['seed']}) failed: {error}") from error


def _is_whole(folder: Path) -> bool:
    return all(path.is_file() for path in StudyPaths.of(folder))


def _item(name: str, spec: PhantomSpec) -> dict[str, Any]:
    return {
        "image": f"{name}/cine.dcm",
        "label": f"{name}/masks.nii.gz",
        "truth": f"{name}/truth.json",
        "patient_id": spec.patient_id,
        "view": spec.view,
    }


def _datalist(items: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    labels = {"0": "background", **{str(s.id): s.name for s in STRUCTURES}}
    return {
        "name": "phantom",
        "description": DESCRIPTION,
        "reference": "monai_agglo.phantom",
        "licence": "CC0-1.0",
        "release": GENERATOR_VERSION,
        "tensorImageSize": "2D+t",
        "modality": {"0": "RF"},
        "labels": labels,
        "numTraining": len(items["training"]),
        "numValidation": len(items["validation"]),
        "numTest": len(items["test"]),
        **items,
    }


def _claim(folder: Path, parameters: dict[str, Any], overwrite: bool) -> None:
    """Check that the folder is empty or holds studies with the same parameters."""
    path = folder / PARAMETERS
    if path.is_file():
        try:
            former = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            former = {}
        changed = [key for key in {**former, **parameters} if former.get(key) != parameters.get(key)]
        if not changed:
            return
        if not overwrite:
            raise ValueError(
                f"{folder} holds a phantom data set made with other parameters ({', '.join(sorted(changed))}): "
                "choose another folder, or ask to overwrite it"
            )
        for truth in folder.glob("phantom-*/study-*/truth.json"):
            shutil.rmtree(truth.parent)
        (folder / "datalist.json").unlink(missing_ok=True)
    _write_json(path, parameters)


def _sweep(folder: Path) -> None:
    """Remove partial files of an interrupted run; the lock is held."""
    for partial in folder.glob("phantom-*/.study-*.part"):
        shutil.rmtree(partial, ignore_errors=True)


def _check_disk(folder: Path, tasks: Sequence[dict[str, Any]]) -> None:
    """Log the size of a large data set; raise if the disk is too small."""
    needed = sum(_bytes_of(task) for task in tasks)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(f"{folder}: the data set needs about {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free")
    if needed > 5e9:
        logger.warning("the data set will take about %.0f GB in %s", needed / 1e9, folder)


def _bytes_of(task: dict[str, Any]) -> float:
    """Approximate size of a study in bytes; the compression ratio depends on noise (measured: 0.2 to 0.45 of raw)."""
    spec = task["spec"]
    repeat = max(1, round(spec["recorded_rate"] / spec["frame_rate"]))
    count = spec["n_frames"] * repeat if task["frames"] is None else min(task["frames"], spec["n_frames"])
    ratio = 1.0 if task["syntax"] == transfer_syntax_uid("none") else 0.4
    pixels = spec["rows"] * spec["cols"]
    return count * pixels * (ratio * (1 if spec["bits_stored"] <= 8 else 2) + 0.06)


def _plain(value: Any) -> Any:
    """JSON encoding of swallow specs and numpy numbers."""
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value.item()


def _write_json(path: Path, content: Any) -> None:
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

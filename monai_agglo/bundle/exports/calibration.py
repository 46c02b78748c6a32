"""Frames for the calibration of int8 networks, and held-out frames for their evaluation."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

__all__ = ["labelled_frames", "phantom_frames", "real_frames"]

SEED = 60_000
"""Patients from here on calibrate, those from 1,000 later are held out; neither is in a training set of the recipes."""
HELD_OUT = SEED + 1_000
PER_PATIENT = 2


def phantom_frames(patients: int = 12, seed: int = SEED) -> Iterator[np.ndarray]:
    """Frames (512, 512) uint16 of synthetic patients, before and during the swallow.

    Args:
        patients: number of patients, two frames each.
        seed: of the first patient.
    """
    for frame, _ in labelled_frames(patients, seed):
        yield frame


def labelled_frames(patients: int, seed: int = HELD_OUT) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The same with their true masks.

    Args:
        patients: number of patients, two frames each.
        seed: of the first patient.

    Yields:
        (H, W) uint16 and (12, H, W) bool.
    """
    from monai_agglo.phantom import PhantomSpec, PhantomStudy
    from monai_agglo.swallow import TARGETS

    for number in range(patients):
        study = PhantomStudy(PhantomSpec.sample(seed + number))
        total = len(study.frame_times_ms)
        for part in range(PER_PATIENT):
            frame, masks = study.frame(min(total - 1, round(total * (part + 0.7) / PER_PATIENT)))
            if study.spec.photometric == "MONOCHROME1":  # as a reader gives it: dark barium
                frame = frame.dtype.type((1 << study.spec.bits_stored) - 1) - frame
            yield frame, np.asarray(masks)[: len(TARGETS)] != 0


def real_frames(most: int = 8) -> Iterator[np.ndarray]:
    """Real lateral stills, where the folder that ``AGGLO_SHARED`` names holds some (``reference``); else none.

    Args:
        most: number of stills.

    Yields:
        (H, W) as read.
    """
    from monai_agglo.cine.cine import open_cine
    from monai_agglo.cine.errors import CineReadError

    folder = os.environ.get("AGGLO_SHARED")
    files = sorted(Path(folder, "reference").rglob("*.*")) if folder else []
    stills = [f for f in files if f.suffix.lower() in (".png", ".jpg", ".jpeg") and "mask" not in f.name.lower()]
    for file in stills[:most]:
        try:
            yield next(open_cine(file).frames())
        except CineReadError:
            continue

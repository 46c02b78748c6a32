"""The phantom as a task of the study: frames of many synthetic patients with their twelve structures."""

from __future__ import annotations

import cv2
import numpy as np
from tqdm import tqdm

__all__ = ["PHANTOM", "phantom_arrays", "phantom_fingerprint"]

PHANTOM = "phantom"
FIRST_SEED = 40_000
"""Far from the seeds of ``make_dataset``: no patient of the shipped segmenter's training is a patient of the study."""


def phantom_fingerprint() -> dict[str, str | int]:
    """What the frames depend on besides their number and size."""
    from monai_agglo.phantom.truth import GENERATOR_VERSION

    return {"generator": GENERATOR_VERSION, "first_seed": FIRST_SEED, "version": 1}


def phantom_arrays(patients: int, frames: int, side: int, mask_side: int) -> dict[str, np.ndarray]:
    """Draw lateral frames, about half of them while something is swallowed.

    Args:
        patients: number.
        frames: of each.
        side: of the square frames, pixels.
        mask_side: of the masks, pixels; divides ``side``.

    Returns:
        ``frames`` uint8 (N, side, side), ``masks`` uint8 0/1 (N, 12, mask_side, mask_side), ``patients`` (N,).
    """
    from monai_agglo.phantom import PhantomSpec, PhantomStudy, choose_frames
    from monai_agglo.swallow import NAMES, TARGET_NAMES

    targets = [NAMES.index(name) for name in TARGET_NAMES]

    pictures, masks, numbers = [], [], []
    for number in tqdm(range(patients), desc="drawing phantoms", unit="patient", delay=2, disable=None):
        spec = PhantomSpec.sample(FIRST_SEED + number, rows=side, cols=side, photometric="MONOCHROME2")
        study = PhantomStudy(spec)
        for t in choose_frames(study, frames):
            stored, truth = study.frame(t)
            inside = stored[study.field_mask]
            low, high = np.percentile(inside, [0.5, 99.5])
            scaled = (stored.astype(np.float32) - low) / max(high - low, 1.0)
            pictures.append((scaled.clip(0, 1) * 255 + 0.5).astype(np.uint8))
            whole = truth[targets].astype(np.float32)
            small = [cv2.resize(m, (mask_side, mask_side), interpolation=cv2.INTER_AREA) > 0.5 for m in whole]
            masks.append(np.stack(small).astype(np.uint8))
            numbers.append(number)
    return {"frames": np.stack(pictures), "masks": np.stack(masks), "patients": np.array(numbers)}

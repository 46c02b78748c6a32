"""Appearance parameters added to the first generator: noise reduction, halos, video export, more hardware.

A separate random stream keeps the patients of existing seeds unchanged.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["draw_look"]


def draw_look(seed: int) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Additional draws of :meth:`PhantomSpec.sample`.

    Args:
        seed: seed of the study.

    Returns:
        Fields of :class:`~.spec.PhantomSpec`, and names to append to its ``hardware``.
    """
    rng = np.random.default_rng([seed, 0x5F56])
    hardware = tuple(
        name
        for name, p in (("bridge", 0.36), ("implants", 0.08), ("clips", 0.06), ("hairclip", 0.06))
        if rng.random() < p
    )
    fields: dict[str, Any] = {
        "grain_px": float(rng.uniform(0.5, 2.0)) if rng.random() < 0.6 else 0.0,
        "halo_px": float(np.exp(rng.uniform(np.log(1.2), np.log(12)))),
        "video_scale": 1.0,
        "video_quality": 0,
    }
    if rng.random() < 0.15:
        fields["video_scale"] = float(rng.uniform(0.38, 0.85))
        fields["video_quality"] = int(rng.integers(25, 90))
    return fields, hardware

"""Structures projected over the upper neck: far mastoid, ear, hair clips."""

from __future__ import annotations

import numpy as np

from .part import Part
from .shapes import ellipse, smooth_closed, smooth_open
from .spec import PhantomSpec

__all__ = ["overlap_parts"]


def overlap_parts(spec: PhantomSpec) -> list[Part]:
    """Bodies of head and ears in front of or behind C1 and C2, by ``anatomy_seed``.

    Args:
        spec: the study; uses ``hairclip`` of its ``hardware``.

    Returns:
        Static bodies in atlas units, without masks.
    """
    rng = np.random.default_rng([spec.anatomy_seed, 17])
    parts: list[Part] = []
    # slight head rotation separates the mastoids, one over the arch of C1
    turn = rng.normal(0, 14)
    tip = np.array([[262, 92], [318, 88], [330, 126], [306, 158], [282, 150], [268, 124]], float)
    tip += rng.normal(0, 5, tip.shape) + [turn, rng.normal(0, 8)]
    parts.append(Part(smooth_closed(tip), "bone", rng.uniform(2, 7), 10, rng.uniform(0, 1.5)))
    for _ in range(int(rng.integers(3, 10))):  # air cells
        centre = tip.mean(0) + rng.normal(0, 14, 2)
        parts.append(Part(ellipse((float(centre[0]), float(centre[1])), (7, 5), rng.uniform(0, 180)), "air",
                          rng.uniform(1, 5), 2))  # fmt: skip
    if rng.random() < 0.7:
        c = rng.normal([306, 70], [16, 16])
        ear = ellipse((float(c[0]), float(c[1])), (26, 46), rng.normal(-8, 10))
        parts.append(Part(ear, "tissue", rng.uniform(4, 14), 5, rng.uniform(1, 5)))
        parts.append(Part(ellipse((float(c[0]) - 4, float(c[1]) + 40), (13, 17)), "tissue", rng.uniform(4, 12), 4))
    if "hairclip" in spec.hardware:
        for _ in range(int(rng.integers(1, 4))):
            start = rng.uniform([300, -80], [500, 90])
            along = rng.normal(0, 1, 2)
            along *= rng.uniform(30, 70) / np.hypot(*along)
            bow = np.array([along[1], -along[0]]) * rng.uniform(-0.15, 0.15)
            line = smooth_open(np.array([start, start + along / 2 + bow, start + along]))
            parts.append(Part(line, "metal", rng.uniform(0.6, 2), line=rng.uniform(2, 4)))
    return parts

"""Foreign objects: spinal plates, tubes, spoons, wires, calibration markers."""

from __future__ import annotations

import numpy as np

from .atlas import SPINE, Part
from .shapes import ellipse, ribbon, smooth_open
from .spec import PhantomSpec

__all__ = ["hardware_parts"]


def hardware_parts(spec: PhantomSpec) -> list[Part]:
    """Static foreign bodies of a lateral study, from ``spec.hardware``; the feeding tube is part of the soft tissue."""
    rng = np.random.default_rng([spec.seed, 8])
    parts: list[Part] = []
    if "plate" in spec.hardware:
        first = int(rng.integers(2, 5))
        last = min(first + int(rng.integers(1, 3)), 6)
        front = SPINE[first : last + 1] + np.array([-24.0, 11.0])
        parts.append(Part(ribbon(smooth_open(front) if len(front) > 2 else front, 3.5), "metal", 3.0, 1))
        for centre in front:
            tip = centre + np.array([34.0, -14.0 + rng.normal(0, 3)])
            parts.append(Part(np.array([centre, tip]), "metal", 2.0, line=4))
    if "tracheostomy" in spec.hardware:
        tube = smooth_open(np.array([[214, 486], [262, 478], [292, 500], [318, 546]], float) + rng.normal(0, 4, 2))
        parts.append(Part(ribbon(tube, 9), "metal", 0.25, 2))
        parts.append(Part(np.array([[212, 462], [218, 512]], float), "metal", 0.8, line=5))
    if "wires" in spec.hardware:
        for _ in range(int(rng.integers(1, 3))):
            start = rng.uniform([-40, -20], [80, 160])
            line = smooth_open(start + np.cumsum(rng.normal([70, 10], [30, 26], (6, 2)), 0))
            parts.append(Part(line, "metal", rng.uniform(0.3, 2), line=rng.uniform(1.5, 4)))
    if "spoon" in spec.hardware:
        bowl = np.array([rng.uniform(-60, -5), rng.uniform(215, 250)])
        angle = rng.uniform(150, 215)
        parts.append(Part(ellipse((float(bowl[0]), float(bowl[1])), (24, 7), angle), "metal", rng.uniform(0.3, 2), 2))
        away = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])
        parts.append(Part(np.array([bowl, bowl + away * 220]), "metal", 1.0, line=5))
    if "marker" in spec.hardware:
        centre = rng.uniform([-30, 360], [150, 520]) if rng.random() < 0.7 else rng.uniform([430, 200], [560, 420])
        parts.append(Part(ellipse((float(centre[0]), float(centre[1])), (26, 26)), "metal", rng.uniform(0.8, 3),
                          line=float(rng.uniform(3, 7))) if rng.random() < 0.5 else
                     Part(ellipse((float(centre[0]), float(centre[1])), (25, 25)), "metal", 1.5, 0))  # fmt: skip
    return parts

"""Teeth, fillings, crowns and dentures of one jaw."""

from __future__ import annotations

import numpy as np

from .part import Part
from .shapes import ellipse, ribbon, smooth_closed, smooth_open
from .spec import PhantomSpec

__all__ = ["teeth_parts"]


def teeth_parts(rng: np.random.Generator, spec: PhantomSpec, line: np.ndarray, up: bool) -> list[Part]:
    """One row of teeth with dental work on single teeth.

    Args:
        rng: random generator of the anatomy.
        spec: the study; uses age and ``hardware`` (``fillings``, ``crowns``, ``dentures``).
        line: (N, 2) necks of the teeth from front to back, atlas units.
        up: True for the upper row.

    Returns:
        Bodies in atlas units.
    """
    parts: list[Part] = []
    if spec.age > 65 and rng.random() < 0.35 and "dentures" not in spec.hardware:
        return parts
    sign = 1 if up else -1
    for x in np.linspace(line[0, 0], line[-1, 0], 8):
        if rng.random() < 0.12:
            continue
        y = np.interp(x, line[:, 0], line[:, 1])
        w, crown, root = rng.normal(7, 0.8), rng.normal(21, 2), rng.normal(26, 4)
        slant = rng.normal(0, 3) + (12 if x < 40 else 0) * sign
        tooth = np.array(
            [
                [-w, 0],
                [-w * 0.9, crown * sign],
                [w * 0.9, crown * sign],
                [w, 0],
                [w * 0.3, -root * sign],
                [-w * 0.3, -root * sign],
            ]
        )
        tooth[:, 0] += slant * tooth[:, 1] / 30
        parts.append(Part(smooth_closed(tooth + [x, y], 4), "bone", rng.uniform(5, 9), 3, 1.5))
        if "fillings" in spec.hardware and x > 45 and rng.random() < 0.45:
            size = rng.uniform(3, 8)
            blob = ellipse((x, y + crown * 0.7 * sign), (size * rng.uniform(0.9, 1.5), size), rng.uniform(0, 90), 9)
            parts.append(Part(blob + rng.normal(0, 1.2, blob.shape), "metal", rng.uniform(0.6, 4), 1))
        if "crowns" in spec.hardware and rng.random() < 0.45:
            width = w * rng.uniform(0.9, 1.5)  # above 1.15 neighbours touch: a bridge
            cap = np.array([[-width, -2 * sign], [-width, crown * sign], [width, crown * sign], [width, -2 * sign]])
            cap[:, 0] += slant * cap[:, 1] / 30
            cap += rng.normal(0, 1.5, cap.shape)
            parts.append(Part(smooth_closed(cap + [x, y], 4), "metal", np.exp(rng.uniform(-0.9, 1.6)), 1.5))
            if rng.random() < 0.4:  # a post or a root filling below it
                post = np.array([[x, y], [x - slant * root / 30, y - root * 0.8 * sign]])
                parts.append(Part(post, "metal", rng.uniform(0.3, 1.5), line=rng.uniform(1.5, 4)))
    if "dentures" in spec.hardware:
        arch = smooth_open(line + [0, 12 * sign])
        parts.append(Part(ribbon(arch, rng.uniform(6, 12)), "metal", rng.uniform(0.4, 2.5), 3))
    return parts

"""Dental work over several teeth: bridges, rows of crowns projected as one blob, implants.

False-positive candidates: as black as a bolus, and at the position of an oral bolus.
"""

from __future__ import annotations

import numpy as np

from .part import Part
from .shapes import ribbon, smooth_closed
from .spec import PhantomSpec

__all__ = ["restoration_parts"]

_PITCH = 15.5  # atlas units from tooth to tooth


def restoration_parts(spec: PhantomSpec, line: np.ndarray, up: bool) -> list[Part]:
    """Bridges and implants of one jaw.

    Args:
        spec: the study; uses ``bridge`` and ``implants`` of its ``hardware`` and ``anatomy_seed``.
        line: (N, 2) necks of the teeth from front to back, atlas units.
        up: True for the upper jaw.

    Returns:
        Metal bodies in atlas units; empty without such dental work in this jaw.
    """
    parts: list[Part] = []
    both = np.random.default_rng([spec.anatomy_seed, 14])  # one draw for the two jaws
    where, tall = both.choice(["upper", "lower", "both"], p=[0.3, 0.25, 0.45]), both.random() < 0.6
    thickness = float(np.exp(both.uniform(0.0, 1.8)))
    centre, teeth = both.uniform(0.15, 0.85), int(both.integers(2, 8))
    rng = np.random.default_rng([spec.anatomy_seed, 15, int(up)])
    if "bridge" in spec.hardware and where in ("both", "upper" if up else "lower"):
        # rows in occlusion merge into one blob
        height = rng.uniform(31, 44) if where == "both" and tall else rng.uniform(15, 27)
        for side in range(2):  # left and right rows project beside each other; often only one has a bridge
            if side == 0 or rng.random() < 0.45:
                shift = rng.normal(0, [4, 2]) if side else np.zeros(2)
                at = float(np.clip(centre + rng.normal(0, 0.1), 0, 1))
                parts += _bridge(rng, line + shift, up, at, max(2, teeth - 2 * side), height, thickness)
    if "implants" in spec.hardware:
        for x in line[0, 0] + rng.uniform(0.15, 1, int(rng.integers(0 if up else 1, 4))) * np.ptp(line[:, 0]):
            parts += _implant(rng, line, up, float(x))
    return parts


def _bridge(
    rng: np.random.Generator, line: np.ndarray, up: bool, at: float, teeth: int, height: float, thickness: float
) -> list[Part]:
    """One casting over ``teeth`` teeth: cusps on its chewing side, gums and posts on the other."""
    sign = 1 if up else -1
    half = teeth * _PITCH / 2
    middle = line[0, 0] + at * np.ptp(line[:, 0])
    first, last = max(middle - half, line[0, 0] - 8), min(middle + half, line[-1, 0] + 6)
    x = np.linspace(first, last, 2 * teeth + 1)
    neck = np.interp(x, line[:, 0], line[:, 1])
    cusps = neck + sign * (height + rng.normal(0, 2.0, len(x)) - 3 * (np.arange(len(x)) % 2 == 0))
    gums = neck + sign * (rng.normal(-1, 2.0, len(x)) + 5 * (np.arange(len(x)) % 2 == 0) * rng.random())
    outline = np.vstack([np.stack([x, gums], -1), np.stack([x, cusps], -1)[::-1]])
    outline += rng.normal(0, 0.8, outline.shape)
    parts = [Part(smooth_closed(outline, 3), "metal", thickness, 1.5)]
    for k in range(1, len(x), 2):
        if rng.random() < 0.35:
            post = np.array([[x[k], neck[k]], [x[k] + rng.normal(0, 3), neck[k] - sign * rng.uniform(14, 26)]])
            parts.append(Part(post, "metal", rng.uniform(0.4, 2), line=rng.uniform(2, 5)))
    return parts


def _implant(rng: np.random.Generator, line: np.ndarray, up: bool, x: float) -> list[Part]:
    """A titanium screw in the bone and its crown."""
    sign = 1 if up else -1
    y = float(np.interp(x, line[:, 0], line[:, 1]))
    length, lean = rng.uniform(24, 38), rng.normal(0, 4)
    steps = np.linspace(0, 1, 12)
    axis = np.stack([x + lean * steps, y - sign * length * steps], -1)
    thread = rng.uniform(4, 6) * (1 - 0.35 * steps) * (1 + 0.1 * (-1) ** np.arange(12))
    parts = [Part(ribbon(axis, thread), "metal", rng.uniform(0.6, 2.2), 1)]
    if rng.random() < 0.8:
        w, h = rng.uniform(6, 9), rng.uniform(15, 22)
        crown = np.array([[-0.6 * w, 0], [-w, 0.5 * h], [-0.9 * w, h], [0.9 * w, h], [w, 0.5 * h], [0.6 * w, 0]])
        crown = crown * [1, sign] + [x, y]
        parts.append(Part(smooth_closed(crown, 3), "metal", float(np.exp(rng.uniform(-0.7, 1.3))), 1.5))
    return parts

"""Unlabelled soft tissue detail: fat planes, muscle bellies, skin folds, mottle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .part import Part
from .shapes import ellipse, ribbon, smooth_open
from .spec import PhantomSpec

__all__ = ["soft_detail_parts"]


def soft_detail_parts(spec: PhantomSpec) -> list[Part]:
    """Weak, wide, unlabelled shadows of a neck, from ``anatomy_seed``.

    Args:
        spec: the study; uses ``build`` (thickness of folds) and ``clips`` of its ``hardware``.

    Returns:
        Static bodies, atlas units; the thickness of a fat plane is negative, since fat attenuates less than muscle.
    """
    rng = np.random.default_rng([spec.anatomy_seed, 18])
    parts: list[Part] = []

    def band(points: Sequence[Sequence[float]], half_width: float, thickness: float, edge: float) -> None:
        line = smooth_open(np.array(points, float) + rng.normal(0, 9, (len(points), 2)))
        taper = np.sqrt(np.clip(np.sin(np.linspace(0.05, np.pi - 0.05, len(line))), 0, 1))
        parts.append(Part(ribbon(line, half_width * taper), "tissue", thickness, edge))

    # fat planes: before the spine, between floor of the mouth and neck, along the muscles behind the spine
    for plane in (
        [[262, 210], [284, 270], [310, 330], [344, 400]],
        [[60, 424], [120, 408], [180, 396], [226, 410]],
        [[300, 150], [350, 220], [400, 300], [440, 380]],
        [[330, 130], [400, 200], [450, 290], [490, 380]],
    ):
        if rng.random() < 0.6:
            band(plane, rng.uniform(4, 12), -rng.uniform(2, 9), rng.uniform(3, 6))
    # sternocleidomastoid and strap muscles cross the spine and the larynx
    if rng.random() < 0.8:
        band([[310, 120], [296, 240], [272, 380], [262, 520]], rng.uniform(22, 38), rng.uniform(3, 12), 12)
    if rng.random() < 0.6:
        band([[204, 390], [222, 450], [250, 520]], rng.uniform(6, 12), rng.uniform(2, 7), 5)
    for _ in range(int(rng.integers(0, 4))):  # skin folds under the chin and in the nape
        start = rng.uniform([90, 420], [190, 450]) if rng.random() < 0.6 else rng.uniform([430, 180], [490, 330])
        end = start + rng.normal([70, -25] if start[0] < 300 else [-70, 15], 14)
        thick = rng.uniform(2, 8) * spec.build
        band([list(start), list((start + end) / 2), list(end)], rng.uniform(2, 6), thick, rng.uniform(1.5, 3))
    for _ in range(int(rng.integers(4, 12))):  # nodes, glands, vessels
        c = rng.uniform([40, 200], [470, 480])
        radii = np.exp(rng.uniform(np.log(7), np.log(32), 2))
        blob = ellipse((float(c[0]), float(c[1])), (float(radii[0]), float(radii[1])), rng.uniform(0, 180))
        parts.append(Part(blob, "tissue", rng.normal(0, 5), float(radii.min()) * 0.6))
    if "clips" in spec.hardware:  # surgical clips lie in a row along the wound
        at = rng.uniform([170, 380], [230, 440])
        for _ in range(int(rng.integers(3, 9))):
            at = at + rng.normal([5, 14], [7, 6])
            angle = rng.normal(1.0, 0.6)
            tip = at + rng.uniform(5, 9) * np.array([np.cos(angle), np.sin(angle)])
            parts.append(Part(np.array([at, tip]), "metal", rng.uniform(0.4, 1.5), line=rng.uniform(2, 3.5)))
    return parts

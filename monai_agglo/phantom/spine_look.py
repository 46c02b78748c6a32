"""Visibility of a patient's cervical spine: contrast by level, cortical lines, softness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .spec import PhantomSpec

__all__ = ["SpineLook", "spine_look"]


@dataclass(frozen=True)
class SpineLook:
    """Appearance of the spine.

    Args:
        gain: factor on the bone's thickness of C1..C7, T1, T2.
        rim: factor on the cortical rim of body, articular pillar and spinous process.
        edge: fall-off inside the outlines, atlas units.
        soft: Gaussian sigma of the whole spine's shadow, atlas units.
        tubercle: factor on C1's anterior tubercle.
    """

    gain: tuple[float, ...]
    rim: tuple[float, float, float]
    edge: float
    soft: float
    tubercle: float


def spine_look(spec: PhantomSpec) -> SpineLook:
    """Sample the appearance from ``spec.anatomy_seed``.

    Vertebrae are thick, round bodies: their borders are penumbrae rather than lines, and overlying structures (jaw
    angle, mastoid, shoulder) change the contrast at each level.
    """
    rng = np.random.default_rng([spec.anatomy_seed, 19])
    slope = np.linspace(0, 1, 9) * rng.normal(-0.1, 0.15)
    gain = np.clip(rng.uniform(0.75, 1.15) + slope + rng.normal(0, 0.08, 9), 0.6, 1.25)
    gain[5:] *= np.cumprod(rng.uniform(0.8, 1.0, 4))  # C6 and below are hidden by the shoulders
    pillar = rng.uniform(0.3, 0.8)  # superposed pillars of both sides blur their rims
    return SpineLook(
        gain=tuple(float(g) for g in gain),
        rim=(float(rng.uniform(0.5, 1.0)), float(pillar), float(rng.uniform(0.4, 0.9))),
        edge=float(rng.uniform(3.0, 6.5)),
        soft=float(np.exp(rng.uniform(np.log(0.7), np.log(2.4)))),
        tubercle=float(rng.uniform(0.3, 0.8)),
    )

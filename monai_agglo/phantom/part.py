"""A static body of the phantom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Part"]


@dataclass
class Part:
    """A static body: outline in atlas units and its thickness along the beam.

    Args:
        polygon: (N, 2) outline.
        material: ``"bone"``, ``"air"``, ``"metal"`` or ``"tissue"``.
        value: thickness at the centre, mm.
        edge: fall-off inside the outline, atlas units.
        rim: additional cortical rim, mm.
        line: width (atlas units) of an open line instead of an area.
    """

    polygon: np.ndarray
    material: str
    value: float
    edge: float = 0.0
    rim: float = 0.0
    line: float = 0.0

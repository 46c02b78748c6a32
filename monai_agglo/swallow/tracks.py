"""Curves over time of all structures except the bolus, and filling of the pharyngeal spaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .bolus import in_pharynx
from .constriction import pharyngeal_area, ues_width
from .kinematics import epiglottic_angle, place_of, vestibule_closed
from .landmarks import Gate, RamusLine
from .region import Region
from .scale import Scale

__all__ = ["Tracks", "find_tracks"]


@dataclass(frozen=True)
class Tracks:
    """Curves, (T,) each unless stated; nan in frames without the structure, None for an unlabelled structure.

    Args:
        hyoid: (T, 2) centroid as (anterior, inferior), C2-C4.
        epiglottis: (T, 2) centroid as (anterior, inferior), C2-C4.
        epiglottic_angle: angle of the epiglottis, degrees.
        vestibule_closed: closure of the laryngeal vestibule, bool.
        vestibule_px: area of the laryngeal vestibule, pixels.
        pharynx_px: area of the pharynx including the bolus, pixels.
        ues_px: width of the UES, pixels.
        space_px: area of valleculae and pyriform sinuses by name, pixels.
        fill_px: area of contrast agent in these, and in the whole ``"pharynx"``, by name, pixels.
    """

    hyoid: np.ndarray | None
    epiglottis: np.ndarray | None
    epiglottic_angle: np.ndarray | None
    vestibule_closed: np.ndarray | None
    vestibule_px: np.ndarray | None
    pharynx_px: np.ndarray | None
    ues_px: np.ndarray | None
    space_px: dict[str, np.ndarray]
    fill_px: dict[str, np.ndarray]


def find_tracks(
    regions: Mapping[str, Region], masks: Mapping[str, np.ndarray], scale: Scale, ramus: RamusLine, gate: Gate
) -> Tracks:
    """Compute the curves of all visible structures.

    Args:
        regions: regions by structure name; must contain ``bolus``.
        masks: masks of the same structures by name.
        scale: scale of the cine; must be known.
        ramus: posterior border of the mandibular ramus.
        gate: the UES line.

    Returns:
        The curves.
    """
    seen = {name: region for name, region in regions.items() if len(region.t)}
    bolus = regions["bolus"]
    swallowed = bolus.select(~bolus.inside(masks["trachea"])) if "trachea" in masks else bolus
    space, fill = {}, {}
    pharyngeal = None
    if not (ramus.reason or gate.reason):
        pharyngeal = in_pharynx(swallowed, scale, ramus, gate)
        held = np.zeros(len(swallowed.t), bool)
        for name in ("valleculae", "pyriform_sinuses"):
            if name in seen:
                held |= swallowed.inside(masks[name])
        # includes the parts of the spaces beyond the lines that delimit the pharynx
        where = in_pharynx(swallowed, scale, ramus, gate, also=held)
        fill["pharynx"] = where.areas.astype(float)
    for name in ("valleculae", "pyriform_sinuses"):
        if name in seen:
            space[name] = seen[name].areas.astype(float)
            fill[name] = swallowed.select(swallowed.inside(masks[name])).areas.astype(float)
    vestibule = seen.get("laryngeal_vestibule")
    pharynx = seen.get("pharynx")
    return Tracks(
        hyoid=place_of(seen["hyoid"], scale) if "hyoid" in seen else None,
        epiglottis=place_of(seen["epiglottis"], scale) if "epiglottis" in seen else None,
        epiglottic_angle=epiglottic_angle(seen["epiglottis"], scale) if "epiglottis" in seen else None,
        vestibule_closed=None if vestibule is None else vestibule_closed(vestibule),
        vestibule_px=None if vestibule is None else vestibule.areas.astype(float),
        pharynx_px=None if pharynx is None else pharyngeal_area(pharynx, bolus, pharyngeal),
        ues_px=ues_width(seen["ues"]) if "ues" in seen else None,
        space_px=space,
        fill_px=fill,
    )

"""Curves over time of everything but the bolus, and what the bolus fills."""

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
    """Curves, (T,) each unless stated; nan where a structure is not seen. None: the structure is not labelled.

    Args:
        hyoid, epiglottis: (T, 2) centroids (anterior, inferior) in C2-C4.
        epiglottic_angle: degrees.
        vestibule_closed: bool.
        vestibule_px, pharynx_px: areas; the pharynx with the bolus in it.
        ues_px: width of the UES.
        space_px: area of valleculae and pyriform sinuses, by name.
        fill_px: contrast agent in them, by name, and in the whole pharynx (``"pharynx"``).
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
    """Curves of all structures that are labelled and seen at all.

    Args:
        regions, masks: the same structures by name; ``bolus`` must be among them.
        scale, ramus, gate: of the cine; the scale must be known.

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
        # a pocket may reach over the lines that bound the pharynx: what lies in it counts all the same
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

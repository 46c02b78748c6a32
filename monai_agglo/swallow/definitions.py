"""Table of the measures: title, unit, formula and required structures."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFINITIONS", "Definition"]

AXIS = ("c2", "c4", "mandible")
"""Structures required for scale and facing direction (any structure anterior to the spine gives the facing)."""
GATE = (*AXIS, "bolus", "pharynx")


@dataclass(frozen=True)
class Definition:
    """Definition of a measure.

    Args:
        title: display name.
        unit: see :class:`~monai_agglo.swallow.measurement.Measurement`.
        formula: one-line definition; events as in :data:`~monai_agglo.swallow.timing.EVENTS`, L is the C2-C4 scalar.
        needs: required structures.
        events: first and last event of a time interval.
    """

    title: str
    unit: str
    formula: str
    needs: tuple[str, ...]
    events: tuple[str, ...] = ()


def _interval(title: str, first: str, last: str, *needs: str) -> Definition:
    return Definition(title, "s", f"{last.upper()} - {first.upper()}", (*GATE, *needs), (first, last))


DEFINITIONS: dict[str, Definition] = {
    "oral_transit": _interval("Oral transit time", "oral", "bpm"),
    "stage_transition": _interval("Stage transition duration (swallow reaction time)", "bpm", "hyb", "hyoid"),
    "pharyngeal_transit": _interval("Pharyngeal transit time", "bpm", "uesc"),
    "hyb_to_ueso": _interval("Hyoid burst to UES opening", "hyb", "ueso", "hyoid"),
    "ues_open_duration": _interval("UES opening duration", "ueso", "uesc"),
    "lvc_reaction": _interval("Time to laryngeal vestibule closure", "hyb", "lvc", "hyoid", "laryngeal_vestibule"),
    "lvc_duration": _interval("Laryngeal vestibule closure duration", "lvc", "lvco", "laryngeal_vestibule"),
    "ues_max_width": Definition(
        "Maximal UES width", "%C2-4", "100 max_t w(t) / L, w across the flow in the middle half of the UES; without a "
        "UES label the width of the bolus just below the pharynx", GATE,
    ),
    "hyoid_excursion": Definition(
        "Hyoid excursion", "%C2-4", "100 max_t |h(t) - h_rest| / L, h the centroid of the hyoid in the C2-C4 frame",
        (*AXIS, "hyoid"),
    ),
    "hyoid_anterior": Definition(
        "Hyoid excursion, anterior", "%C2-4", "anterior component of the excursion at its peak", (*AXIS, "hyoid")
    ),
    "hyoid_superior": Definition(
        "Hyoid excursion, superior", "%C2-4", "superior component of the excursion at its peak", (*AXIS, "hyoid")
    ),
    "epiglottic_inversion": Definition(
        "Epiglottic inversion angle", "deg", "max_t a(t) - a_rest, a the angle of base to tip relative to C4 to C2, "
        "posterior positive", (*AXIS, "epiglottis"),
    ),
    "pharyngeal_area_hold": Definition(
        "Pharyngeal area before the swallow", "%(C2-4)^2", "100 |P_hold| / L^2, median over the frames of the hold",
        (*AXIS, "pharynx"),
    ),
    "pharyngeal_area_rest": Definition(
        "Pharyngeal area at rest", "%(C2-4)^2", "100 |P_rest| / L^2 at REST", (*AXIS, "pharynx")
    ),
    "pharyngeal_area_mpc": Definition(
        "Pharyngeal area at maximal constriction", "%(C2-4)^2", "100 min_t |P(t)| / L^2, bolus included",
        (*AXIS, "pharynx"),
    ),
    "pcr": Definition(
        "Pharyngeal constriction ratio", "ratio", "|P_MPC| / |P_hold|", (*AXIS, "pharynx")
    ),
    "bolus_area_peak": Definition(
        "Largest bolus area in the pharynx", "%(C2-4)^2", "100 max_t |B(t) in the pharynx| / L^2", GATE
    ),
    "residue_total": Definition(
        "Pharyngeal residue, total", "%(C2-4)^2", "100 |B_rest in the pharynx| / L^2 at REST", GATE
    ),
    "residue_valleculae": Definition(
        "Residue in the valleculae", "%(C2-4)^2", "100 |B_rest and V| / L^2", (*GATE, "valleculae")
    ),
    "residue_pyriform": Definition(
        "Residue in the pyriform sinuses", "%(C2-4)^2", "100 |B_rest and S| / L^2", (*GATE, "pyriform_sinuses")
    ),
    "residue_other": Definition(
        "Residue elsewhere in the pharynx", "%(C2-4)^2", "total - valleculae - pyriform sinuses",
        (*GATE, "valleculae", "pyriform_sinuses"),
    ),
    "valleculae_full": Definition("Valleculae full", "%", "100 |B_rest and V| / |V|", (*GATE, "valleculae")),
    "pyriform_full": Definition("Pyriform sinuses full", "%", "100 |B_rest and S| / |S|", (*GATE, "pyriform_sinuses")),
    "nrrs_valleculae": Definition(
        "NRRS, valleculae", "ratio", "(|R| / |V|) (10 |R| / L^2), R = B_rest and V", (*GATE, "valleculae")
    ),
    "nrrs_pyriform": Definition(
        "NRRS, pyriform sinuses", "ratio", "(|R| / |S|) (10 |R| / L^2), R = B_rest and S", (*GATE, "pyriform_sinuses")
    ),
    "airway_frames": Definition(
        "Frames flagged: bolus over the airway", "frames", "number of frames with 100 |B and A| / L^2 >= 0.1, not "
        "filtered over time", ("bolus", "trachea"),
    ),
}  # fmt: skip
"""Measures of a swallow, in report order."""

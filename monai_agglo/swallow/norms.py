"""Reference ranges from the literature, each with its source. They are not diagnostic criteria."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NO_RANGE", "Reference", "reference_for"]

NO_RANGE = "no range"

STEELE_2019 = "Steele et al. 2019, table 9 (38 healthy adults)"
PMC7242916 = "alarm limit used in PMC7242916, table 2"
MOLFENTER_2013 = (
    "Molfenter & Steele 2013: 2.07 times the risk of penetration or aspiration in the next swallow above it"
)
LEONARD = "Leonard, as cited in Stokely et al. 2015"
AREA_2024 = "post-swallow rest, n = 87, 2024"
PEARSON = "Pearson et al. 2013"


@dataclass(frozen=True)
class Reference:
    """A reference range.

    Args:
        text: text shown beside the value.
        source: publication.
        low: lower limit in the unit of the measure, or None.
        high: upper limit in the unit of the measure, or None.
    """

    text: str
    source: str
    low: float | None = None
    high: float | None = None

    def outside(self, value: float) -> bool | None:
        """Whether a value is outside the limits; None for a range without limits (a mean)."""
        if self.low is None and self.high is None:
            return None
        return (self.low is not None and value < self.low) or (self.high is not None and value > self.high)


_ANY: dict[str, Reference] = {
    "stage_transition": Reference("at most 0.54", PMC7242916, high=0.54),
    "lvc_duration": Reference("at least 0.31", PMC7242916, low=0.31),
    "ues_open_duration": Reference("at least 0.18", PMC7242916, low=0.18),
    "nrrs_valleculae": Reference("at most 0.09", MOLFENTER_2013, high=0.09),
    "nrrs_pyriform": Reference("healthy mean 0.00", PEARSON),
    "pcr": Reference("below 0.14; above 0.25 poor", LEONARD, high=0.14),
    "pharyngeal_area_rest": Reference("25 to 135 (mean 62)", AREA_2024, 25.0, 135.0),
}
"""Ranges for any consistency. LVC reaction has none: the cited limit (abnormal below 0.22 s) could not be verified
in its source, and a short reaction is not abnormal."""

_RESIDUE_TOTAL = {0: (0.68, 1.52), 1: (1.04, 1.83), 2: (1.15, 1.59), 3: (0.57, 0.93), 4: (0.55, 1.14)}
_VALLECULAE_FULL = {0: 16, 1: 19, 2: 25, 3: 12, 4: 11}
_PYRIFORM_FULL = {0: 1, 1: 3, 2: 4, 3: 2, 4: 2}
_THIN_RESIDUE = {
    "residue_valleculae": (0.38, 0.83),
    "residue_pyriform": (0.18, 0.79),
    "residue_other": (0.08, 0.31),
}
_LIQUID = ("thin", "slightly thick", "mildly thick", "moderately thick", "extremely thick")


def reference_for(name: str, iddsi: int | None = None) -> Reference | None:
    """Reference range of a measure.

    Args:
        name: name of the measure.
        iddsi: consistency, IDDSI level 0 to 4; None if unknown, which excludes consistency-dependent ranges.

    Returns:
        The range, or None.
    """
    if name in _ANY:
        return _ANY[name]
    if iddsi is None or iddsi not in range(5):
        return None
    liquid = _LIQUID[iddsi]
    if name == "residue_total":
        mean, sd = _RESIDUE_TOTAL[iddsi]
        return Reference(f"mean {mean} (SD {sd}), {liquid}", STEELE_2019)
    if name in ("valleculae_full", "pyriform_full"):
        mean = (_VALLECULAE_FULL if name == "valleculae_full" else _PYRIFORM_FULL)[iddsi]
        return Reference(f"mean {mean}, {liquid}", STEELE_2019)
    if name in _THIN_RESIDUE and iddsi == 0:
        mean, sd = _THIN_RESIDUE[name]
        return Reference(f"mean {mean} (SD {sd}), {liquid}", STEELE_2019)
    return None

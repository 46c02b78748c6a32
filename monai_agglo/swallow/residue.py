"""Residue: area, percent full, and the normalised residue ratio scale (NRRS)."""

from __future__ import annotations

__all__ = ["normalised_residue_ratio", "percent_full", "residue_pct"]


def residue_pct(residue_px: float, length_px: float) -> float:
    """Residue in %(C2-4)^2: 100 * area / L^2 (Steele et al. 2019).

    Args:
        residue_px: area of contrast agent at swallow rest, pixels.
        length_px: C2-C4 scalar L, pixels.

    Returns:
        The residue; nan if L is unknown.
    """
    return 100 * residue_px / length_px**2 if length_px > 0 else float("nan")


def percent_full(residue_px: float, housing_px: float) -> float:
    """Filling of a space: 100 * residue / housing.

    Args:
        residue_px: area of contrast agent in the space, pixels.
        housing_px: area of the space, pixels.

    Returns:
        Percent; nan if the space has no area.
    """
    return 100 * residue_px / housing_px if housing_px > 0 else float("nan")


def normalised_residue_ratio(residue_px: float, housing_px: float, length_px: float) -> float:
    """NRRS = (residue / housing) * (10 * residue / L^2), Pearson et al. 2013.

    Args:
        residue_px: area of contrast agent in the space (valleculae or pyriform sinuses) at swallow rest, pixels.
        housing_px: area of the space, pixels.
        length_px: C2-C4 scalar L, pixels.

    Returns:
        The dimensionless ratio; nan if the space has no area or L is unknown.
    """
    if not (housing_px > 0 and length_px > 0):
        return float("nan")
    return residue_px / housing_px * (10 * residue_px / length_px**2)

"""C2-C4 scale and anatomical axes from the vertebra masks.

The unit of length is the C2-C4 scalar: the distance between the anterior-inferior corners of the vertebral bodies of
C2 and C4 (Steele et al. 2019, ASPEKT method). Anatomical coordinates, in C2-C4, originate at the corner of C4:
``inferior`` points from C2 to C4, ``anterior`` is perpendicular to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .region import Region

__all__ = ["Scale", "anterior_inferior_corner", "find_scale", "no_scale"]

SPINE = ("c1", "c2", "c3", "c4", "c5", "c6", "c7")
ANTERIOR = ("mandible", "hyoid", "trachea", "pharynx", "epiglottis")
"""Structures anterior to the spine; the first one found determines the facing direction."""
CUT = 0.5
"""Smallest area of a complete vertebra relative to C3; a smaller one is cut off or hidden."""
STEADY = 0.06
"""Largest relative deviation of a vertebra's area from its median in frames used for registration."""


@dataclass(frozen=True)
class Scale:
    """Scale and axis of a cine.

    Args:
        c2: (T, 2) anterior-inferior corner of C2 as (x, y), pixels.
        c4: (T, 2) anterior-inferior corner of C4 as (x, y), pixels.
        anterior: (T, 2) unit vector of the anterior axis as (x, y).
        inferior: (T, 2) unit vector of the inferior axis as (x, y).
        length_px: C2-C4 scalar (median over the frames), pixels.
        lengths_px: (T,) C2-C4 distance per frame, pixels; nan without both corners.
        filled: (T,) bool, frames with the axes of a neighbouring frame.
        facing: facing direction in the image, ``"left"`` or ``"right"``; None if unknown.
        reason: why there is no scale; otherwise empty.
    """

    c2: np.ndarray
    c4: np.ndarray
    anterior: np.ndarray
    inferior: np.ndarray
    length_px: float
    lengths_px: np.ndarray
    filled: np.ndarray
    facing: str | None
    reason: str = ""

    @property
    def known(self) -> bool:
        """Whether the scale is known."""
        return not self.reason

    @property
    def variation_pct(self) -> float:
        """Coefficient of variation of the C2-C4 distance over the frames, percent."""
        seen = self.lengths_px[np.isfinite(self.lengths_px)]
        return float(100 * seen.std() / seen.mean()) if len(seen) > 1 else float("nan")

    def to_anatomy(self, points: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Convert pixels to anatomical coordinates.

        Args:
            points: (N, 2) as (x, y), pixels.
            t: (N,) frame of each point.

        Returns:
            (N, 2) as (anterior, inferior), in C2-C4.
        """
        away = np.asarray(points, float) - self.c4[t]
        return np.stack([(away * self.anterior[t]).sum(-1), (away * self.inferior[t]).sum(-1)], -1) / self.length_px

    def area_pct(self, area_px: np.ndarray | float) -> np.ndarray:
        """Convert an area from pixels to %(C2-4)^2."""
        return 100 * np.asarray(area_px, float) / self.length_px**2


def no_scale(frames: int, reason: str) -> Scale:
    """An unknown scale.

    Args:
        frames: number of frames.
        reason: why the scale is unknown.

    Returns:
        The scale, with nan values.
    """
    none = np.full((frames, 2), np.nan)
    nothing = np.full(frames, np.nan)
    return Scale(none, none, none, none, float("nan"), nothing, np.ones(frames, bool), None, reason)


def anterior_inferior_corner(vertebra: Region, inferior: np.ndarray, anterior: np.ndarray) -> np.ndarray:
    """Anterior-inferior corner of a vertebral body; independent of posterior processes.

    Definition: argmax over the mask of p . (inferior + anterior).

    Args:
        vertebra: region of the vertebra.
        inferior: (T, 2) unit vectors as (x, y).
        anterior: (T, 2) unit vectors as (x, y).

    Returns:
        (T, 2) corner as (x, y), pixels; nan in frames without the vertebra.
    """
    along = (vertebra.points * (inferior + anterior)[vertebra.t]).sum(axis=1)
    return vertebra.extreme(along)


def find_scale(regions: Mapping[str, Region]) -> Scale:
    """Find scale, axes and facing direction from the vertebrae.

    The bodies of C2 to C4 are registered between frames by the centroids of their masks, which are more accurate than
    corners; the corners are medians over the registered frames. Coordinates are not smoothed over time. A frame with
    fewer than two vertebrae takes the axes of the nearest frame and is marked in ``filled``.

    Args:
        regions: regions by structure name; requires C2, C4 and one of mandible, hyoid, trachea, pharynx, epiglottis.

    Returns:
        The scale, or an unknown scale with its ``reason``.
    """
    frames = next(iter(regions.values())).frames
    missing = [name.upper() for name in ("c2", "c4") if name not in regions or not regions[name].areas.any()]
    if missing:
        return no_scale(frames, f"{' and '.join(missing)} not found, so there is no C2-C4 scale")
    spine = {name: regions[name] for name in SPINE if name in regions and regions[name].areas.any()}
    if cut := _cut_off(spine):
        return no_scale(frames, f"{cut.upper()} is cut off or hidden in most frames, so there is no C2-C4 scale")
    centers = {name: region.centroids for name, region in spine.items()}
    side = _front_side(regions, centers)
    if side == 0:
        return no_scale(frames, "no structure anterior to the spine found, so the facing direction is unknown")

    corners = {}
    for name, above, below in (("c2", "c1", "c3"), ("c4", "c3", "c5")):
        down = _unit(_chord(centers, (above, name), (below, name), centers["c4"] - centers["c2"]))
        corners[name] = anterior_inferior_corner(spine[name].largest_piece(), down, _turn(down, side))
    lengths = np.hypot(*(corners["c4"] - corners["c2"]).T)
    if not np.isfinite(lengths).any():
        return no_scale(frames, "C2 and C4 are never seen in the same frame, so there is no C2-C4 scale")

    turn, shift = _register([spine[name] for name in ("c2", "c3", "c4") if name in spine])
    seen = np.isfinite(turn)
    turn, shift = _nearest(turn), _nearest(shift)
    placed = []
    for name in ("c2", "c4"):
        corner = corners[name][:, 0] + 1j * corners[name][:, 1]
        home = ((corner - shift) / turn)[seen & np.isfinite(corner)]
        point = turn * complex(np.median(home.real), np.median(home.imag)) + shift
        placed.append(np.stack([point.real, point.imag], axis=-1))
    c2, c4 = placed
    inferior = _unit(c4 - c2)
    anterior = _turn(inferior, side)
    facing = "left" if np.median(anterior[:, 0]) < 0 else "right"
    length = float(np.median(np.hypot(*(c4 - c2).T)))
    return Scale(c2, c4, anterior, inferior, length, lengths, ~seen, facing)


def _cut_off(spine: Mapping[str, Region]) -> str | None:
    """C2 or C4 if it is much smaller than C3, or C4 at the image edge, in most frames; otherwise None."""
    for name in ("c2", "c4"):
        region = spine[name]
        if np.median(region.touches_edge()) and name == "c4":
            return name
        if "c3" in spine:
            both = (region.areas > 0) & (spine["c3"].areas > 0)
            if both.any() and np.median(region.areas[both] / spine["c3"].areas[both]) < CUT:
                return name
    return None


def _front_side(regions: Mapping[str, Region], centers: Mapping[str, np.ndarray]) -> int:
    """Sign of the anterior direction relative to the perpendicular of the inferior axis; 0 if unknown."""
    down = _unit(centers["c4"] - centers["c2"])
    middle = (centers["c4"] + centers["c2"]) / 2
    for name in ANTERIOR:
        if name in regions and regions[name].areas.any():
            away = ((regions[name].centroids - middle) * _turn(down, 1)).sum(axis=1)
            away = away[np.isfinite(away)]
            if len(away) and np.median(away):
                return 1 if np.median(away) > 0 else -1
    return 0


def _chord(
    centers: Mapping[str, np.ndarray], upper: tuple[str, ...], lower: tuple[str, ...], otherwise: np.ndarray
) -> np.ndarray:
    """Vector from the first known of ``upper`` to the first known of ``lower`` per frame; default ``otherwise``."""

    def first(names: tuple[str, ...]) -> np.ndarray:
        out = np.full_like(otherwise, np.nan)
        for name in names:
            if name in centers:
                out = np.where(np.isfinite(out), out, centers[name])
        return out

    chord = first(lower) - first(upper)
    short = ~(np.hypot(*chord.T) > 1e-9)
    return np.where(short[:, None], otherwise, chord)


def _unit(vectors: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return vectors / np.hypot(*vectors.T)[:, None]


def _turn(vectors: np.ndarray, side: int) -> np.ndarray:
    """Perpendicular vectors; ``side`` +1 turns a vector pointing down in the image to the left."""
    return side * np.stack([-vectors[:, 1], vectors[:, 0]], axis=-1)


def _register(bodies: list[Region]) -> tuple[np.ndarray, np.ndarray]:
    """Rigid motion of the spine per frame, from centroids, as complex rotation (T,) and shift (T,).

    A reference point p maps to ``rotation * p + shift``. Frames with fewer than two complete bodies are nan.
    """
    z = np.stack([b.centroids[:, 0] + 1j * b.centroids[:, 1] for b in bodies], axis=1)
    areas = np.stack([b.areas for b in bodies], axis=1).astype(float)
    usual = np.array([np.median(a[a > 0]) for a in areas.T])
    edge = np.stack([b.touches_edge() for b in bodies], axis=1)
    ok = (areas > 0) & (abs(areas / usual - 1) < STEADY) & ~edge
    if (ok.sum(axis=1) >= 2).mean() < 0.5:  # unstable masks: use all centroids
        ok = areas > 0
    good = ok.sum(axis=1) >= 2
    z = np.where(ok, z, 0)
    if not good.any():
        return np.full(len(z), complex(np.nan)), np.full(len(z), complex(np.nan))
    best = int(np.argmax(ok.sum(axis=1)))
    reference, known = z[best], ok[best]
    for _ in range(2):
        use = ok & known
        weight = use.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            here = (z * use).sum(axis=1) / weight
            home = (reference * use).sum(axis=1) / weight
            product = (np.conj(reference - home[:, None]) * (z - here[:, None]) * use).sum(axis=1)
            rotation = product / abs(product)
            rotation[weight < 2] = complex(np.nan)
            shift = here - rotation * home
            mapped = np.where(ok & np.isfinite(rotation)[:, None], (z - shift[:, None]) / rotation[:, None], np.nan)
        sees = np.isfinite(mapped.real)
        total = np.where(sees, mapped, 0).sum(axis=0)
        known = sees.any(axis=0)
        reference = np.where(known, total / np.maximum(sees.sum(axis=0), 1), 0)
    return rotation, shift


def _nearest(values: np.ndarray) -> np.ndarray:
    """Replace nan values by the value of the nearest frame."""
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return values
    index = np.arange(len(values))
    right = np.clip(np.searchsorted(known, index), 0, len(known) - 1)
    left = np.clip(right - 1, 0, len(known) - 1)
    nearer = np.where(abs(known[left] - index) <= abs(known[right] - index), left, right)
    return values[known[nearer]]

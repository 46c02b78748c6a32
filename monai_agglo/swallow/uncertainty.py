"""Uncertainty of measures under perturbed masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .results import CineMeasures

__all__ = ["perturbed", "with_spread"]

MATCH = 0.3
"""Largest distance of matching swallows of two repeats (centre of the UES opening), in seconds."""


def perturbed(masks: Mapping[str, np.ndarray], rng: np.random.Generator, pixels: int = 1) -> dict[str, np.ndarray]:
    """Perturb the borders of masks at random.

    Each structure is dilated, eroded or kept over the whole cine (inter-observer variation), and shifted independently
    in each frame (intra-observer variation).

    Args:
        masks: masks by structure name, (H, W, T) each.
        rng: random generator.
        pixels: largest dilation, erosion and shift in pixels, at least 1.

    Returns:
        New boolean masks of the same shape.
    """
    out = {}
    for name, mask in masks.items():
        size = int(rng.integers(-pixels, pixels + 1))
        rows, columns, frames = mask.shape
        steps = rng.integers(-pixels, pixels + 1, (frames, 2))
        new = np.zeros((frames, rows, columns), bool)  # frames outermost for frame-wise access
        for t in range(frames):
            frame = np.asarray(mask[..., t]).astype(bool)
            used_rows, used_columns = np.flatnonzero(frame.any(axis=1)), np.flatnonzero(frame.any(axis=0))
            if not len(used_rows):
                continue
            room = 2 * pixels
            low = np.array([used_rows[0], used_columns[0]])
            part = np.pad(frame[low[0] : used_rows[-1] + 1, low[1] : used_columns[-1] + 1], room)
            for _ in range(abs(size)):
                part = _grown(part) if size > 0 else ~_grown(~part)
            start = low + steps[t] - room
            stop = start + part.shape
            first, last = np.maximum(start, 0), np.minimum(stop, (rows, columns))
            new[t, first[0] : last[0], first[1] : last[1]] = part[
                first[0] - start[0] : last[0] - start[0], first[1] - start[1] : last[1] - start[1]
            ]
        out[name] = new.transpose(1, 2, 0)
    return out


def _grown(mask: np.ndarray) -> np.ndarray:
    """Dilate by one pixel (4-connectivity)."""
    out = mask.copy()
    out[1:] |= mask[:-1]
    out[:-1] |= mask[1:]
    out[:, 1:] |= mask[:, :-1]
    out[:, :-1] |= mask[:, 1:]
    return out


def with_spread(found: CineMeasures, repeats: Sequence[CineMeasures]) -> CineMeasures:
    """Add uncertainties from repeats (perturbed masks, test-time augmentation, another reader).

    The uncertainty is the root mean square difference between the repeats and the value. Repeats without the swallow or
    the measure are ignored; with fewer than two repeats the uncertainty is nan.

    Args:
        found: the measures.
        repeats: measures of the same cine from other masks.

    Returns:
        The measures with ``uncertainty``.
    """
    import dataclasses

    study = {
        name: value.with_uncertainty(_spread(value.value, [r.study[name].value for r in repeats if name in r.study]))
        for name, value in found.study.items()
    }
    rows = []
    for k, row in enumerate(found.rows):
        partners = [r.rows[j] for r in repeats if (j := _partner(found, k, r)) is not None]
        rows.append(
            {
                name: value.with_uncertainty(_spread(value.value, [p[name].value for p in partners]))
                for name, value in row.items()
            }
        )
    return dataclasses.replace(found, study=study, rows=rows)


def _partner(found: CineMeasures, k: int, other: CineMeasures) -> int | None:
    """Index of the matching swallow of a repeat, or None."""
    frame_s = found.clock.frame_s or 1 / 15
    here = _middle(found, k)
    away = [abs(_middle(other, j) - here) * frame_s for j in range(len(other.rows))]
    best = int(np.argmin(away)) if away else -1
    return best if away and away[best] <= MATCH else None


def _middle(found: CineMeasures, k: int) -> float:
    swallow = found.swallows[k]
    known = [swallow.events[name] for name in ("ueso", "uesc") if name in swallow.events]
    return float(np.mean(known)) if known else float("inf")


def _spread(value: float, others: Sequence[float]) -> float:
    known = np.array([v for v in others if np.isfinite(v)])
    return float(np.sqrt(np.mean((known - value) ** 2))) if len(known) > 1 and np.isfinite(value) else float("nan")

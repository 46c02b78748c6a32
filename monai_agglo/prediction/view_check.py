"""View check: a calibrated logistic rule over :mod:`.view_features` that tells lateral VFSS frames from others."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .view_features import FEATURES, WORDS, facing, view_features

__all__ = ["CineView", "FrameView", "ViewCheck", "fit_view_check", "view_record"]

logger = logging.getLogger(__name__)

FILE = Path("configs", "view_check.json")
ENOUGH = 0.5
"""Part of the frames that must look lateral for the cine to."""


@dataclass(frozen=True)
class FrameView:
    """Result of the view check for one frame.

    Args:
        score: 0 (no) to 1 (yes).
        lateral: whether it looks like lateral VFSS.
        facing: ``left``, ``right`` or None.
        reason: in words, why not; empty when it does.
    """

    score: float
    lateral: bool
    facing: str | None
    reason: str


@dataclass(frozen=True)
class CineView:
    """Result of the view check for a cine.

    Args:
        score: median of the frames' scores.
        lateral: whether at least half of the frames look lateral.
        facing: the way most frames face.
        reason: in words, why not; empty when it does.
        frames: number of frames.
        flagged: 0-based indices of frames that do not look lateral.
    """

    score: float
    lateral: bool
    facing: str | None
    reason: str
    frames: int
    flagged: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class ViewCheck:
    """A logistic rule over standardised features.

    Args:
        mean: per feature.
        scale: per feature, positive.
        weight: per feature, never negative: no feature speaks against a lateral view by being good.
        bias: of the logistic function.
        threshold: score from which a frame looks lateral.
        provenance: what the rule was fitted and tested on.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weight: tuple[float, ...]
    bias: float
    threshold: float
    provenance: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, bundle: Path) -> ViewCheck | None:
        """The rule of a bundle.

        Args:
            bundle: its folder.

        Returns:
            The rule, or None when the bundle has none.

        Raises:
            ValueError: when the file is damaged or made for other features.
        """
        path = Path(bundle) / FILE
        if not path.is_file():
            return None
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            features = stored["features"]
            mean, scale, weight = (
                tuple(float(features[name][key]) for name in FEATURES) for key in ("mean", "scale", "weight")
            )
            rule = cls(
                mean,
                scale,
                weight,
                float(stored["bias"]),
                float(stored["threshold"]),
                stored.get("provenance", {}),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path.name} of the bundle is damaged ({error!r}): run calibrate_view again") from None
        if set(features) != set(FEATURES) or min(rule.scale) <= 0 or min(rule.weight) < 0:
            raise ValueError(f"{path.name} of the bundle was made for other features: run calibrate_view again")
        return rule

    def to_json(self) -> dict[str, Any]:
        """The rule as :meth:`load` reads it, numbers rounded to six digits."""
        rows = zip(FEATURES, self.mean, self.scale, self.weight)
        return {
            "kind": "monai_agglo.view_check",
            "features": {
                name: {"mean": round(m, 6), "scale": round(s, 6), "weight": round(w, 6)} for name, m, s, w in rows
            },
            "bias": round(self.bias, 6),
            "threshold": round(self.threshold, 6),
            "provenance": self.provenance,
        }

    def score(self, features: np.ndarray) -> np.ndarray:
        """Scores 0..1 of features (..., F)."""
        return 1 / (1 + np.exp(-np.clip(self._votes(features).sum(axis=-1) + self.bias, -30, 30)))

    def _votes(self, features: np.ndarray) -> np.ndarray:
        standard = (np.asarray(features, float) - self.mean) / np.asarray(self.scale)
        # A feature far outside of what was seen may not outvote all others.
        return np.clip(standard, -4, 4) * np.asarray(self.weight)

    def frame(self, probabilities: np.ndarray) -> FrameView:
        """Classify one frame.

        Args:
            probabilities: (12, h, w) in 0..1.

        Returns:
            The verdict.
        """
        features = view_features(probabilities)
        score = float(self.score(features))
        lateral = score >= self.threshold
        reason = "" if lateral else WORDS[FEATURES[int(np.argmin(self._votes(features)))]]
        return FrameView(score, lateral, facing(probabilities), reason)

    @staticmethod
    def cine(frames: Sequence[FrameView]) -> CineView:
        """Classify a cine from the results of its frames.

        Args:
            frames: at least one.

        Returns:
            The verdict; a frame that is flagged in a cine that is not stays flagged.
        """
        flagged = [i for i, frame in enumerate(frames) if not frame.lateral]
        lateral = 1 - len(flagged) / len(frames) >= ENOUGH
        reasons = Counter(frames[i].reason for i in flagged)
        ways = Counter(frame.facing for frame in frames if frame.facing and (frame.lateral or not lateral))
        return CineView(
            score=float(np.median([frame.score for frame in frames])),
            lateral=lateral,
            facing=ways.most_common(1)[0][0] if ways else None,
            reason="" if lateral else reasons.most_common(1)[0][0],
            frames=len(frames),
            flagged=flagged,
        )


def fit_view_check(
    lateral: np.ndarray, other: np.ndarray, strength: float = 1.0, spared: float = 0.02, highest: float = 0.3
) -> ViewCheck:
    """Fit the rule.

    Both classes weigh the same however many frames they have. The threshold is set by the lateral frames: at most the
    fraction ``spared`` of them falls below it, since a false alarm costs trust, and it never exceeds ``highest``, which
    leaves room for clinics whose films the network knows less well than those of the fit.

    Args:
        lateral: (n, F) features of lateral VFSS frames.
        other: (m, F) features of other pictures.
        strength: of the L2 penalty, per class of unit weight times 0.01.
        spared: fraction of lateral frames that may be flagged.
        highest: largest threshold.

    Returns:
        The rule, without provenance.

    Raises:
        ValueError: when a class has fewer than 20 frames, or the features have another length.
    """
    from scipy.optimize import minimize

    lateral, other = np.atleast_2d(lateral).astype(float), np.atleast_2d(other).astype(float)
    if min(len(lateral), len(other)) < 20 or lateral.shape[1] != len(FEATURES) or other.shape[1] != len(FEATURES):
        raise ValueError(
            f"at least 20 frames of each kind are needed, got {len(lateral)} lateral and {len(other)} other"
        )
    x = np.concatenate([lateral, other])
    y = np.repeat([1.0, -1.0], [len(lateral), len(other)])
    share = np.repeat([0.5 / len(lateral), 0.5 / len(other)], [len(lateral), len(other)])
    mean = (lateral.mean(axis=0) + other.mean(axis=0)) / 2
    scale = np.sqrt(share @ (x - mean) ** 2)
    scale[scale < 1e-6] = 1.0
    z = np.clip((x - mean) / scale, -4, 4)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        margin = y * (z @ theta[:-1] + theta[-1])
        slope = -y * share / (1 + np.exp(np.clip(margin, -30, 30)))
        penalty = 0.01 * strength * theta[:-1]
        value = share @ np.logaddexp(0, -margin) + 0.5 * penalty @ theta[:-1]
        return float(value), np.append(z.T @ slope + penalty, slope.sum())

    bounds = [(0, None)] * len(FEATURES) + [(None, None)]
    theta = minimize(loss, np.zeros(len(FEATURES) + 1), jac=True, method="L-BFGS-B", bounds=bounds).x
    rule = ViewCheck(tuple(mean), tuple(scale), tuple(theta[:-1]), float(theta[-1]), highest)
    lowest = float(np.quantile(rule.score(lateral), spared))
    return ViewCheck(rule.mean, rule.scale, rule.weight, rule.bias, min(highest, lowest))


def view_record(check: ViewCheck, frames: Sequence[FrameView]) -> dict[str, Any]:
    """What ``predict.json`` keeps of the check.

    Args:
        check: the rule.
        frames: its verdicts.

    Returns:
        ``looks_like_lateral_vfss``, ``score``, ``reason``, ``facing``, ``threshold``, ``frame_scores``, and
        ``flagged``: the 0-based frames that do not look lateral, each with its reason in ``flagged_reasons``.
    """
    view = check.cine(frames)
    return {
        "looks_like_lateral_vfss": view.lateral,
        "score": round(view.score, 4),
        "reason": view.reason or None,
        "facing": view.facing,
        "threshold": round(check.threshold, 4),
        "frame_scores": [round(frame.score, 4) for frame in frames],
        "flagged": view.flagged,
        "flagged_reasons": [frames[i].reason for i in view.flagged],
    }

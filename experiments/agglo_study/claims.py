"""What the paper claims, and whether it holds here."""

from __future__ import annotations

from dataclasses import dataclass

from monai_agglo.distill.probes.bootstrap import Estimate, difference

from .cells import StudyCell, with_seeds
from .figures import Figures
from .runner import Study
from .scores import task_scores

__all__ = ["Claim", "check_claims", "points"]

ENOUGH = 0.02
"""The paper's gain of agglomeration over simple distillation: two points of Dice."""
LITTLE = 0.005
"""Half a point is little."""


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        text: the claim.
        verdict: ``holds``, ``does not hold``, ``not decided`` or ``not measured yet``.
        evidence: figures.
    """

    text: str
    verdict: str
    evidence: str


def check_claims(study: Study, figures: Figures) -> list[Claim]:
    """Compare the paper's claims with the figures.

    Args:
        study: whose results are read.
        figures: of it.

    Returns:
        Three claims.
    """
    return [_gain(figures), _order(study), _coarse(study)]


def points(estimate: Estimate | None) -> str:
    """A gain in points of Dice with its interval."""
    if estimate is None:
        return "-"
    return f"{100 * estimate.mean:+.2f} [{100 * estimate.low:+.2f}, {100 * estimate.high:+.2f}]"


def _gain(figures: Figures) -> Claim:
    text = "Agglomerated over simple distillation by at least 2 points of mean Dice"
    row = figures.rows.get(figures.chosen or "")
    if figures.stage != "test" or row is None or row.over_simple is None:
        return Claim(text, "not measured yet", "needs the test images")
    gain = row.over_simple
    verdict = "holds" if gain.mean >= ENOUGH and gain.positive else "does not hold"
    return Claim(text, verdict, f"{figures.chosen}: {points(gain)} points on test images, {row.seeds} seeds")


def _order(study: Study) -> Claim:
    """Both forms: the paper's, which may collapse, and the stabilised one."""
    text = "Attention over MLP over equal weights"
    lines, paper = [], []
    for targets in study.settings.targets:
        for form in ("", "_stable"):
            for ours, theirs in ((f"attention{form}", f"mlp{form}"), (f"mlp{form}", "equal")):
                gain, where = _compare(study, ours, theirs, targets)
                if gain is not None:
                    lines.append(f"{ours} over {theirs} on {targets}: {points(gain)} ({where})")
                    if not form:
                        paper.append(gain)
    if not paper:
        return Claim(text, "not measured yet", "; ".join(lines) or "needs the screening")
    if all(gain.positive for gain in paper):
        verdict = "holds"
    elif any(gain.high < 0 for gain in paper) or all(gain.mean <= 0 for gain in paper):
        verdict = "does not hold"
    else:
        verdict = "not decided"
    return Claim(text, verdict, "; ".join(lines))


def _coarse(study: Study) -> Claim:
    text = "A MedCLIP-like teacher adds little"
    gains = {t: _compare(study, "equal", "equal_without_coarse", t) for t in study.settings.targets}
    found = {t: (gain, where) for t, (gain, where) in gains.items() if gain is not None}
    if not found:
        return Claim(text, "not measured yet", f"{study.settings.coarse} stands for it; needs the screening")
    small = [abs(gain.mean) < LITTLE or gain.low <= 0 <= gain.high for gain, _ in found.values()]
    verdict = "holds" if all(small) else "does not hold" if not any(small) else "not decided"
    lines = [f"with {study.settings.coarse} on {t}: {points(gain)} ({where})" for t, (gain, where) in found.items()]
    return Claim(text, verdict, "; ".join(lines))


def _compare(study: Study, ours: str, theirs: str, targets: str) -> tuple[Estimate | None, str]:
    """Gain on test images where both were finalists, else on the validation images of the screening."""
    settings = study.settings
    for stage, seeds, steps in (("test", settings.seeds, settings.final_steps), ("screen", 1, settings.steps)):
        cells = [StudyCell(name, targets, settings.backbone, 0, steps) for name in (ours, theirs)]
        scores = [task_scores(study, stage, with_seeds([cell], seeds)) for cell in cells]
        if scores[0] is not None and scores[1] is not None:
            where = f"test, {seeds} seeds" if stage == "test" else "validation, 1 seed"
            return difference(scores[0], scores[1]), where
    return None, ""

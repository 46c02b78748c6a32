"""The students of the study: one per method, normalisation of targets, backbone, seed, length and image set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

__all__ = ["BALANCINGS", "SCRATCH", "SIMPLE", "VARIANTS", "WITHOUT_COARSE", "StudyCell", "balancing_of", "with_seeds"]

SCRATCH, SIMPLE, WITHOUT_COARSE = "scratch", "simple", "equal_without_coarse"

BALANCINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "equal": ("equal", {}),
    "mlp": ("mlp", {"form": "paper"}),
    "attention": ("attention", {"form": "paper"}),
    "mlp_stable": ("mlp", {"form": "stabilised"}),
    "attention_stable": ("attention", {"form": "stabilised"}),
    "adaloss": ("adaloss", {}),
    "dropping": ("dropping", {}),
    WITHOUT_COARSE: ("equal", {}),
}
"""Ways of balancing in the grid, as balancer and options; the last leaves out the coarse, MedCLIP-like teacher."""

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {"tchebycheff": ("tchebycheff", {})}
"""Ways of balancing that are told what students of one teacher alone reach, and so come after those."""


@dataclass(frozen=True)
class StudyCell:
    """One student.

    Attributes:
        method: ``scratch``, ``simple``, ``single_<teacher>`` or a key of :data:`BALANCINGS` or :data:`VARIANTS`.
        targets: normalisation; empty for ``scratch``.
        backbone: of the student.
        seed: of first weights, batches and probes.
        steps: of the distillation; 0 for ``scratch``.
        images: ``all`` training images, or ``shippable`` ones (see :func:`~.sources.may_ship`).
    """

    method: str
    targets: str
    backbone: str
    seed: int
    steps: int = 0
    images: str = "all"

    @property
    def name(self) -> str:
        """Method and normalisation, as in tables."""
        return self.method if self.method in (SCRATCH, SIMPLE) else f"{self.method}+{self.targets}"

    @property
    def id(self) -> str:
        """For files; a short hash keeps different cells apart whatever their names are."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:6]
        name = f"{self.name}-{self.backbone}-{self.images}-{self.steps}-s{self.seed}-{digest}"
        return name.replace(":", ".").replace("/", ".")

    def at(self, **values: Any) -> StudyCell:
        """A copy with another seed, backbone, length or images; ``scratch`` is not distilled, for no length."""
        return replace(self, **values if self.method != SCRATCH else {**values, "steps": 0})

    @property
    def agglomerates(self) -> bool:
        """Whether several teachers are balanced."""
        return self.method in BALANCINGS or self.method in VARIANTS

    @property
    def may_be_chosen(self) -> bool:
        """Whether all teachers are balanced; without the coarse one it is a comparison, and keeps nothing of it."""
        return self.agglomerates and self.method != WITHOUT_COARSE


def balancing_of(cell: StudyCell) -> tuple[str, dict[str, Any]]:
    """Balancer and options of a cell; ``single`` where one teacher is heard."""
    return (BALANCINGS | VARIANTS).get(cell.method, ("single", {}))


def with_seeds(cells: Sequence[StudyCell], seeds: int) -> list[StudyCell]:
    """Every cell with seeds 0 to n - 1."""
    return [cell.at(seed=seed) for seed in range(seeds) for cell in cells]

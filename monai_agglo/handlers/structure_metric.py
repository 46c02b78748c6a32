"""Key metric of validation: mean Dice over structures, and Dice per structure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from ignite.engine import Engine

from monai_agglo.metrics import StructureScores
from monai_agglo.swallow import TARGET_NAMES

from .evaluation_metric import EvaluationMetric

__all__ = ["StructureMetric"]


class StructureMetric(EvaluationMetric):
    """Mean Dice over structures without NaN: absent structures are ignored.

    Reads the evaluator's decollated output: dictionaries with ``pred`` (S, H, W, T; a structure is present above
    ``threshold``) and ``label``, and ``patient_id`` from its batch. It also writes ``dice/<structure>`` for every
    structure present and ``false_positive_area_pct`` into ``engine.state.metrics``, and the whole report
    into ``engine.state.metric_details``. Under ``torch.distributed`` the cines of all processes are gathered.

    Args:
        threshold: threshold of ``pred``: 0 for logits, 0.5 for probabilities or masks.
        surface: also compute HD95.
        names: structures in channel order.
    """

    def __init__(self, threshold: float = 0.5, surface: bool = False, names: Sequence[str] = TARGET_NAMES) -> None:
        self.threshold = threshold
        self.surface = surface
        self.names = list(names)
        super().__init__()

    def reset(self) -> None:
        """Reset all scores."""
        self.scores = StructureScores(self.names, self.surface)

    def iteration_completed(self, engine: Engine) -> None:
        """Score the cines of one batch."""
        cases = engine.state.batch
        self.update(
            [
                {**output, "patient_id": case.get("patient_id", ""), "case": case.get("case")}
                for case, output in zip(cases, engine.state.output)
            ]
        )

    def update(self, output: Sequence[dict]) -> None:
        """Score cines.

        Args:
            output: dictionaries with ``pred``, ``label`` and ``patient_id``, and ``case``, the index of the cine in
                the data set, if known.
        """
        for item in output:
            pred = torch.as_tensor(item["pred"]) > self.threshold
            label = torch.as_tensor(item["label"])
            self.scores.add(str(item.get("patient_id", "")), pred.cpu().numpy(), label.cpu().numpy().astype(np.uint8))
            self.scores.rows[-1]["case"] = None if item.get("case") is None else int(item["case"])

    def compute(self) -> float:
        """Gather and compute.

        Returns:
            Mean Dice, 0 if no structure is present.
        """
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            gathered: list = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(gathered, self.scores.rows)
            # Distributed samplers repeat cines to equalise ranks: count each once.
            rows = {(n, i) if row["case"] is None else row["case"]: row
                    for n, part in enumerate(gathered) for i, row in enumerate(part)}  # fmt: skip
            self.scores.rows = list(rows.values())
        self.report = self.scores.report()
        return float(self.report["mean_dice"] or 0.0)

    def completed(self, engine: Engine, name: str) -> None:
        """Write the results into the engine's state."""
        engine.state.metrics[name] = self.compute()
        for structure, row in self.report["per_structure"].items():
            if row["dice"] is not None:
                engine.state.metrics[f"dice/{structure}"] = row["dice"]
        if self.report["false_positive_area_pct"] is not None:
            engine.state.metrics["false_positive_area_pct"] = self.report["false_positive_area_pct"]
        engine.state.metric_details[name] = self.report

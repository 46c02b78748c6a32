"""The key metric in an evaluator, and over several processes."""

import numpy as np
import pytest
import torch
from monai.data import DataLoader
from monai.engines import SupervisedEvaluator

from monai_agglo.handlers import StructureMetric

NAMES = ["x", "y"]


def cine(level, patient, case):
    """Structure x in the upper half; ``level`` of its columns are bright and will be found. Frame 1 is empty."""
    label = torch.zeros(2, 4, 10, 2, dtype=torch.uint8)
    label[0, :2, :, 0] = 1
    label[1] = 255
    image = torch.zeros(1, 4, 10, 2)
    image[0, :2, :level, 0] = 1
    return {"image": image, "label": label, "patient_id": patient, "case": case}


CINES = [cine(10, "a", 0), cine(5, "a", 1), cine(2, "b", 2)]
# found columns of ten: dice 1, 2 * 5 / 15, 2 * 2 / 12; patient a: 5/6
EXPECTED = ((1 + 2 / 3) / 2 + 1 / 3) / 2


class Twice(torch.nn.Module):
    def forward(self, x):
        return (x * 2 - 1).repeat(1, 2, 1, 1, 1)


@pytest.mark.parametrize("batch", [1, 3])
def test_in_an_evaluator(batch):
    evaluator = SupervisedEvaluator(
        device="cpu", val_data_loader=DataLoader(CINES, batch_size=batch), network=Twice(),
        key_val_metric={"dice": StructureMetric(threshold=0.0, names=NAMES)},
    )  # fmt: skip
    for _ in range(2):  # the second run starts anew
        evaluator.run()
        metrics = evaluator.state.metrics
        assert metrics["dice"] == pytest.approx(EXPECTED) and metrics["dice/x"] == pytest.approx(EXPECTED)
        assert "dice/y" not in metrics and metrics["false_positive_area_pct"] == 0
        details = evaluator.state.metric_details["dice"]
        assert details["patients"] == 2 and details["per_structure"]["x"]["frames"] == 3
    assert evaluator.state.best_metric == pytest.approx(EXPECTED)


def outputs(cases):
    return [{**case, "pred": case["image"].repeat(2, 1, 1, 1)} for case in cases]


def test_nothing_present_is_zero_for_the_engine_and_none_in_the_report():
    metric = StructureMetric(names=NAMES)
    metric.update([{"pred": np.zeros((2, 4, 4, 1)), "label": np.zeros((2, 4, 4, 1))}])
    assert metric.compute() == 0 and metric.report["mean_dice"] is None


def test_processes_are_gathered_and_repeated_cines_count_once(monkeypatch):
    parts = []
    for cases in (CINES[:2], [CINES[2], CINES[0]]):  # a distributed sampler repeats the first to fill up
        metric = StructureMetric(names=NAMES)
        metric.update(outputs(cases))
        parts.append(metric)

    def gather(out, mine):
        out[:] = [part.scores.rows for part in parts]

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda *a: 2)
    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    assert parts[0].compute() == pytest.approx(EXPECTED)
    assert parts[0].report["per_structure"]["x"]["frames"] == 3

"""The report is strict JSON with rounded figures."""

import json
from types import SimpleNamespace

from monai_agglo.handlers import EvaluationReport


def test_writes_what_the_metric_found(tmp_path):
    scores = {
        "patients": 2,
        "mean_dice": 0.123456789,
        "mean_dice_ci95": (0.111111111, 0.2),
        "dice_is": "so",
        "false_positive_area_pct": None,
        "per_structure": {"c1": {"dice": 0.123456789, "hd95_px": None, "frames": 3}},
    }
    engine = SimpleNamespace(state=SimpleNamespace(metric_details={"m": scores}))
    path = tmp_path / "deep" / "report.json"
    EvaluationReport(path, "data", seed=9, command="do", metric="m", details={"size": 512}).write(engine)
    report = json.loads(path.read_text())
    assert report["mean_dice_ci95"] == [0.11111, 0.2]
    assert report["mean_dice"] == 0.12346 and report["per_structure"]["c1"]["dice"] == 0.12346
    assert report["per_structure"]["c1"]["hd95_px"] is None and report["weights_sha256"] is None
    assert (report["data"], report["seed"], report["command"], report["size"]) == ("data", 9, "do", 512)
    assert [p.name for p in path.parent.iterdir()] == ["report.json"]

"""The export command: every format agrees with PyTorch, and one that does not is not left there."""

import importlib.util

import numpy as np
import pytest
import torch

from monai_agglo import bundle
from monai_agglo.__main__ import main
from monai_agglo.bundle.exports import formats as export_formats
from monai_agglo.bundle.exports import run as exporting
from monai_agglo.prediction.segmenter import Segmenter


@pytest.mark.parametrize("name", list(export_formats.FORMATS))
def test_every_format_agrees(name, random_bundle, tmp_path):
    form = export_formats.FORMATS[name]
    for package in form.needs:
        pytest.importorskip(package)
    (done,) = bundle.export(random_bundle, [name], output=tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(form.files)
    assert done.facts["logit_difference"] < 1e-3 and done.facts["mask_difference"] < 1e-3
    run, network = form.load(tmp_path / "out"), Segmenter(random_bundle, runtime="torch").network
    network = network.coarse if form.coarse else network
    cine = np.random.default_rng(0).random((1, 1, 64, 64, 5), np.float32)
    with torch.inference_mode():
        np.testing.assert_allclose(run(cine), network(torch.from_numpy(cine)).numpy(), atol=1e-3)


def test_torchscript_carries_the_metadata(random_bundle, tmp_path):
    from monai.data import load_net_with_metadata

    bundle.export(random_bundle, ["ts"], output=tmp_path)
    _, metadata, _ = load_net_with_metadata(tmp_path / "model.ts")
    assert metadata["weights_sha256"] == Segmenter(random_bundle, runtime="torch").identity()["weights_sha256"]


def test_what_differs_is_not_left_there(random_bundle, tmp_path, monkeypatch):
    """An older file of the same name stays as it was."""
    (tmp_path / "model.onnx").write_bytes(b"older")
    monkeypatch.setattr(exporting, "CLOSE", 0.0)
    with pytest.raises(exporting.ParityError, match=r"model\.onnx does not agree .* not kept"):
        bundle.export(random_bundle, ["onnx"], output=tmp_path)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("model.onnx", b"older")]


def test_int8_says_what_it_loses(random_bundle, tmp_path, monkeypatch, capsys):
    """Random weights: the figure means nothing, the arithmetic of the loss does."""
    monkeypatch.delenv("AGGLO_SHARED", raising=False)
    monkeypatch.setattr(exporting, "DICE_LOSS", 1.0)
    (done,) = bundle.export(random_bundle, [], int8=True, output=tmp_path, patients=1)
    facts = done.facts
    assert facts["dice_loss"] == facts["dice_fp32"] - facts["dice_int8"] and facts["held_out_frames"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["model_int8.onnx"]
    monkeypatch.setattr(exporting, "DICE_LOSS", -1.0)
    (tmp_path / "model_int8.onnx").unlink()
    with pytest.raises(exporting.ParityError, match="of mean Dice on 1 held-out phantoms"):
        bundle.export(random_bundle, [], int8=True, output=tmp_path, patients=1)
    assert not list(tmp_path.iterdir())


def test_dice_of_known_masks():
    truth = np.zeros((12, 4, 4), bool)
    truth[0, :2], truth[1] = True, True
    found = np.zeros_like(truth)
    found[0, :1], found[2] = True, True
    dice = exporting._dice(found, truth)
    assert dice[0] == pytest.approx(2 / 3) and dice[1] == 0 and np.isnan(dice[2:]).all()


def test_missing_runtime_and_unknown_format(random_bundle, tmp_path, monkeypatch, capsys):
    here = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else here(name))
    command = ["export", str(random_bundle), "--output", str(tmp_path / "out"), "--format"]
    assert main([*command, "openvino"]) == 2
    assert capsys.readouterr().err == "error: the format openvino needs what is not installed: pip install openvino\n"
    assert (
        main([*command, "keras"]) == 2 and "formats are ts, onnx, onnx_cine, pt2, openvino" in capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


def test_command(random_bundle, tmp_path, capsys):
    assert main(["export", str(random_bundle), "--format", "ts", "onnx", "--output", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "writing model.ts" in out and "logit difference" in out and (tmp_path / "model.onnx").is_file()

"""The graph of a bundle: used as shipped, refused when it does not belong there, made once where it is missing."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from app_samples import write_bundle, write_cine

from monai_agglo.bundle import export
from monai_agglo.cine.cine import open_cine
from monai_agglo.prediction.errors import BundleError, GraphError
from monai_agglo.prediction.runtimes import cache_folder
from monai_agglo.prediction.segmenter import Segmenter
from monai_agglo.prediction.settings import Fit, Scale, read_settings


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A bundle with random weights and its graph."""
    bundle = write_bundle(tmp_path_factory.mktemp("exported") / "seg")
    export(bundle, ["onnx"])
    return bundle


@pytest.fixture
def copy(exported, tmp_path, monkeypatch):
    monkeypatch.setenv("MONAI_AGGLO_CACHE", str(tmp_path / "cache"))
    return shutil.copytree(exported, tmp_path / "seg")


def masks_of(segmenter, path):
    cine = open_cine(path)
    return np.stack([item.masks for item in segmenter.run(cine, segmenter.intensity_range(cine))])


def test_the_shipped_graph_is_used_and_gives_the_network_s_masks(copy, tmp_path):
    cine = write_cine(tmp_path / "c.dcm", 5)
    segmenter = Segmenter(copy)
    assert segmenter.runtime.name == "onnxruntime"
    assert not cache_folder().exists()
    found, expected = masks_of(segmenter, cine), masks_of(Segmenter(copy, runtime="torch"), cine)
    assert expected.any()
    assert (found != expected).mean() < 1e-4


def test_a_file_other_than_the_metadata_s_is_refused(copy):
    with (copy / "models" / "model.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BundleError, match=r"model.onnx is not the file named in configs/metadata.json .* export"):
        Segmenter(copy)


def test_a_file_without_an_entry_in_the_metadata_is_refused(copy):
    path = copy / "configs" / "metadata.json"
    metadata = json.loads(path.read_text())
    del metadata["graph_sha256"]
    path.write_text(json.dumps(metadata))
    with pytest.raises(BundleError, match="SHA-256 differs"):
        Segmenter(copy)


def test_a_graph_of_other_weights_is_refused(copy):
    path = copy / "models" / "model.pt"
    state = torch.load(path, weights_only=True)
    torch.save({key: value + 0.01 if value.is_floating_point() else value for key, value in state.items()}, path)
    with pytest.raises(BundleError, match=r"was made from other weights than models/model.pt: run .* or delete it"):
        Segmenter(copy)


def test_a_graph_of_another_network_is_refused(copy):
    path = copy / "configs" / "inference.json"
    config = json.loads(path.read_text())
    config["network_def"]["temporal_shift"] = 0.5
    path.write_text(json.dumps(config))
    with pytest.raises(BundleError, match="another network_def"):
        Segmenter(copy)


def test_a_bundle_without_a_graph_gets_one_once(copy):
    (copy / "models" / "model.onnx").unlink()
    lines = []
    assert Segmenter(copy, log=lines.append).runtime.name == "onnxruntime"
    Segmenter(copy, log=lines.append)
    assert len(lines) == 1
    assert "has no models/model.onnx: making it once" in lines[0]
    assert len(list(cache_folder().glob("*.onnx"))) == 1


def test_a_damaged_graph_in_the_cache_is_made_anew(copy):
    (copy / "models" / "model.onnx").unlink()
    Segmenter(copy)
    (path,) = cache_folder().glob("*.onnx")
    path.write_bytes(b"cut off")
    assert Segmenter(copy).runtime.name == "onnxruntime"
    assert path.stat().st_size > 1000


CODE = """
import sys
from monai_agglo.prediction.segmenter import Segmenter
print(Segmenter(sys.argv[1], "cpu", log=print).runtime.name, "torch" in sys.modules)
"""


def test_a_child_process_makes_it_where_torch_is_not_loaded(copy):
    (copy / "models" / "model.onnx").unlink()
    done = subprocess.run([sys.executable, "-c", CODE, str(copy)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "onnxruntime False"


def test_what_is_wrong_in_the_child_is_told_as_it_is(copy):
    (copy / "models" / "model.onnx").unlink()
    (copy / "models" / "model.pt").write_bytes(b"no weights")
    done = subprocess.run([sys.executable, "-c", CODE, str(copy)], capture_output=True, text=True, timeout=300)
    assert done.stderr.splitlines()[-1].startswith("monai_agglo.prediction.errors.BundleError: seg: models/model.pt")


def test_without_torch_the_extra_is_named(copy, monkeypatch):
    from monai_agglo.prediction import bridge

    (copy / "models" / "model.onnx").unlink()
    monkeypatch.setattr(bridge, "NEEDED", ("no_such_package",))
    with pytest.raises(ImportError, match=r"pip install 'monai-agglo\[train\]'"):
        Segmenter(copy)


def test_settings_are_those_that_monai_parses(copy):
    from monai_agglo.bundle.config_check import load_parser

    parser = load_parser([copy / "configs" / "inference.json"], copy)
    inferer, steps = parser.get_parsed_content("inferer"), parser.get_parsed_content("preprocessing").transforms
    settings = read_settings(copy)
    assert settings.window == inferer.window
    assert settings.context == inferer.context
    assert settings.threshold == inferer.threshold
    assert settings.main_parts == inferer.main_parts
    assert settings.steps == (Fit(steps[-2].size), Scale(steps[-1].low, steps[-1].high))


def test_defaults_are_those_of_the_classes():
    from monai_agglo.data import FitFramesd, ScaleCineIntensityd

    fit, scale = FitFramesd("image"), ScaleCineIntensityd()
    assert Fit() == Fit(fit.size)
    assert Scale() == Scale(scale.low, scale.high)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"inferer": {"_target_": "monai_agglo.inferers.CineInferer", "window": "$3 + 1"}}, "is the expression"),
        ({"inferer": {"_target_": "monai_agglo.inferers.CineInferer", "window": "@nothing"}}, "unknown id 'nothing'"),
        ({"inferer": {"_target_": "monai_agglo.inferers.CineInferer", "window": 0}}, "window must be at least 1"),
        ({"inferer": {"_target_": "monai_agglo.inferers.CineInferer", "threshold": 2}}, "threshold must be within"),
        ({"network_def": 3}, "has no 'network_def'"),
    ],
)
def test_settings_that_cannot_be_read_are_refused(change, reason, copy):
    path = copy / "configs" / "inference.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(BundleError, match=reason):
        read_settings(copy)


def test_a_file_that_is_no_graph_is_refused(copy):
    from monai_agglo.files import sha256

    graph, path = copy / "models" / "model.onnx", copy / "configs" / "metadata.json"
    graph.write_bytes(b"no graph")
    metadata = json.loads(path.read_text())
    metadata["graph_sha256"] = {"model.onnx": sha256(graph)}
    path.write_text(json.dumps(metadata))
    with pytest.raises(GraphError, match="not a readable ONNX graph"):
        Segmenter(copy, runtime="onnxruntime")

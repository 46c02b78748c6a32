"""The memory of predict does not grow with the cine; what is killed leaves nothing that looks whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from app_samples import write_cine

from monai_agglo.inferers import CineInferer, cine_inferer
from monai_agglo.prediction.run import predict

MEMORY = """
import json, resource, sys
from monai_agglo.prediction import predict
peaks = []
for source, output in zip(sys.argv[2::2], sys.argv[3::2]):
    report = predict(source, output, sys.argv[1], device="cpu", overlay=False)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(json.dumps([peaks, report.cases[0].record["frames"]["count"], report.cases[0].record["model"]["runtime"]]))
"""


def run(code, *arguments, **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, **options)


def test_memory_does_not_grow_with_the_cine(random_bundle, tmp_path):
    """Ten times the frames, in one process: the masks alone would take 250 MB, the frames 40 MB."""
    pytest.importorskip("resource")
    sources = [write_cine(tmp_path / f"{count}.dcm", count, 240, 240) for count in (40, 400)]
    done = run(MEMORY, random_bundle, sources[0], tmp_path / "a", sources[1], tmp_path / "b")
    assert done.returncode == 0, done.stderr
    (few, many), count, runtime = json.loads(done.stdout.splitlines()[-1])
    assert count == 400 and runtime == "onnxruntime"
    assert many < 1.1 * few and many - few < 80


KILL = """
import os, sys
from monai_agglo.bundle.exports import onnx_file, run
from monai_agglo.prediction import predict
dead = lambda *a, **k: os._exit(9)
if sys.argv[1] == "export":
    run.publish_files = dead
    run.export(sys.argv[2], ["onnx"], output=sys.argv[3])
else:
    onnx_file._compare = dead
    predict(sys.argv[4], sys.argv[3], sys.argv[2], device="cpu", runtime="onnxruntime")
"""


@pytest.mark.parametrize("job", ["export", "predict"])
def test_killed_before_the_last_step(job, random_bundle, tmp_path, monkeypatch):
    """A network that is nearly written has no name that anything would open."""
    monkeypatch.setenv("MONAI_AGGLO_CACHE", str(tmp_path / "cache"))
    source = write_cine(tmp_path / "c.dcm", 2)
    assert run(KILL, job, random_bundle, tmp_path / "out", source).returncode == 9
    left = [*tmp_path.glob("out/*"), *tmp_path.glob("cache/**/*.onnx*")]
    assert left and all(path.name.startswith(".") and path.name.endswith(".part") for path in left)
    assert predict(source, tmp_path / "result", random_bundle, device="cpu").exit_code == 0


def test_memory_is_asked_for_before_the_work(monkeypatch):
    """The sentence names the frames, the memory and the way out; where nothing is known, nothing is refused."""
    import torch

    cine, network = torch.rand(1, 1, 16, 16, 50), torch.nn.Conv3d(1, 12, 1)
    monkeypatch.setattr(cine_inferer, "free_memory", lambda: 1_000_000)
    with pytest.raises(MemoryError, match=r"these 50 frames take about .* GB .* use 'python -m monai_agglo predict'"):
        CineInferer(threshold=0.5, bytes_per_pixel=100)(cine, network)
    assert CineInferer(threshold=0.5, bytes_per_pixel=50)(cine, network).shape == (1, 12, 16, 16, 50)
    monkeypatch.setattr(cine_inferer, "free_memory", lambda: None)
    assert CineInferer(threshold=0.5, bytes_per_pixel=100)(cine, network).shape[-1] == 50


def test_free_memory_is_less_than_all():
    free = cine_inferer.free_memory()
    assert free is None or 0 < free < 1 << 50


def test_empty_cine():
    import torch

    with pytest.raises(ValueError, match="no frame"):
        CineInferer()(torch.zeros(1, 1, 16, 16, 0), torch.nn.Conv3d(1, 12, 1))


def test_bundle_states_its_memory():
    """What inference.json says about a pixel reaches the inferer."""
    config = json.loads((Path(__file__).parents[2] / "bundles/vfss_seg/configs/inference.json").read_text())
    assert config["bytes_per_pixel"] > 12 + 4  # masks and image at least
    assert config["inferer"]["bytes_per_pixel"] == "@bytes_per_pixel"


def test_trt_overlay_parses():
    """Not run: no such GPU. Its ids exist in what it overlays, and what it names is what the export writes."""
    from monai.bundle import ConfigParser

    folder = Path(__file__).parents[2] / "bundles/vfss_seg/configs"
    overlay = json.loads((folder / "inference_trt.json").read_text())
    base = ConfigParser(ConfigParser.load_config_file(folder / "inference.json"))
    for name in overlay:
        known = name.removesuffix("#_disabled_").removesuffix("#amp")
        assert name in ("_desc_", "imports") or known in base, name
    merged = ConfigParser(ConfigParser.load_config_files([folder / "inference.json", folder / "inference_trt.json"]))
    merged.parse()
    assert merged["handlers#0#_disabled_"] is True and "model_trt.ts" in merged["network_def"]
    assert "NOT RUN" in overlay["_desc_"] and np.isscalar(merged["window"])

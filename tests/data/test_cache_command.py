"""The ``cache`` command and its benchmark, on a few pictures and random weights."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_agglo.__main__ import main

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(4):
        rows, columns = np.mgrid[0:64, 0:96]
        wave = np.sin(rows / rng.uniform(3, 9)) + np.cos(columns / rng.uniform(3, 9))
        Image.fromarray(np.uint8(127 + 60 * wave)).save(folder / f"{number}.png")
    Image.fromarray(np.full((64, 96), 90, np.uint8)).save(folder / "empty.png")
    return folder


def test_command(pictures, tmp_path, capsys):
    cache = str(tmp_path / "cache")
    build = [
        "cache",
        cache,
        "--source",
        str(pictures),
        "--teachers",
        "mobilenet_v3",
        "--random-weights",
        "--size",
        "96",
    ]
    assert main(build) == 0
    shown = capsys.readouterr()
    assert "4 frames" in shown.out and "mobilenet_v3 (RANDOM WEIGHTS): 576 x 7 x 7 int8" in shown.out
    assert "4 frames x 0.028 MB (mobilenet_v3 576x7x7; int8)" in shown.err and "when finished" in shown.err
    assert main(["cache", cache, "--check"]) == 0
    block = next((tmp_path / "cache").glob("*/blocks/*"))
    content = bytearray(block.read_bytes())
    content[-1] ^= 1
    block.write_bytes(content)
    assert main(["cache", cache, "--check"]) == 1
    assert "are damaged" in capsys.readouterr().out


def test_wrong_use(tmp_path, capsys):
    assert main(["cache", str(tmp_path), "--source", str(tmp_path)]) == 2
    assert "give both --source and --teachers" in capsys.readouterr().err
    assert main(["cache", str(tmp_path / "nowhere")]) == 2
    assert "there is no feature cache" in capsys.readouterr().err


def test_benchmark_in_small(pictures, tmp_path, monkeypatch):
    from experiments.costs import cache_benchmark as benchmark

    output = tmp_path / "cache.json"
    options = ["--teachers", "mobilenet_v3", "--random-weights", "--images", "4", "--size", "96", "--batch", "2"]
    argv = ["cache_benchmark.py", str(pictures), *options, "--steps", "1", "--threads", "1", "--output", str(output)]
    monkeypatch.setattr("sys.argv", argv)
    for picture in pictures.glob("empty.png"):
        picture.unlink()
    benchmark.main()
    report = json.loads(output.read_text())
    assert report["teachers"] == ["mobilenet_v3"] and report["random_weights"] is True
    assert report["bytes_per_image"] < 1_000_000 and report["cosine_min"]["mobilenet_v3"] > 0.999
    assert report["loader_rate_ratio"] > 0 and "experiments.costs.cache_benchmark" in report["command"]


def test_published_figures_are_whole_and_meet_their_targets():
    path = ROOT / "docs" / "results" / "cache.json"
    if not path.is_file():
        pytest.skip("the benchmark has not been run: python -m experiments.costs.cache_benchmark IMAGES")
    report = json.loads(path.read_text(encoding="utf-8"))
    assert not report["random_weights"] and set(report["cosine_min"]) == set(report["teachers"])
    assert report["bytes_per_image"] <= 1_000_000
    assert min(report["cosine_min"].values()) >= 0.999
    assert report["loader_rate_ratio"] >= 0.95

"""Every engine gives what PyTorch gives; the choice among them, their cache, and what happens when one is missing."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from monai_agglo.bundle.exports import onnx_file
from monai_agglo.bundle.exports.graph import ModuleSource
from monai_agglo.inferers.torch_runtime import TorchRuntime
from monai_agglo.networks import CineSegmenter
from monai_agglo.prediction.coarse_masks import lowres_probabilities, threshold_masks
from monai_agglo.prediction.errors import GraphError
from monai_agglo.prediction.runtimes import CoarseLogits, cache_folder, choice, make_runtime
from monai_agglo.swallow import TARGETS, keep_main_parts

CPU = "cpu"


def network(seed=0, **options):
    torch.manual_seed(seed)
    small = {"backbone": "mobilenetv3_small_050.lamb_in1k", "feature_channels": 16, "decoder_channels": 16}
    made = CineSegmenter(**small, **options).eval()
    made.decoder.head.weight.data *= 60  # an untrained network finds nothing; this one finds something everywhere
    made.decoder.head.bias.data += 3.5
    return made


def place(net):
    return ModuleSource(net).cached("fp32")


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MONAI_AGGLO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("shift", [{}, {"temporal_shift": 0.5}, {"temporal_shift": 0.5, "causal": True}])
def test_engines_agree_with_pytorch(name, shift, own_folder):
    """Any number of frames, any size (padded inside), with frames that look at each other or not."""
    pytest.importorskip(name)
    net = network(**shift)
    engine, reference = make_runtime(ModuleSource(net), CPU, name), TorchRuntime(net)
    assert (engine.name, engine.precision) == (name, "fp32") and engine.workers >= 1
    for count, rows, columns in ((1, 64, 96), (5, 50, 70)):
        frames = np.random.default_rng(count).random((count, 1, rows, columns), np.float32)
        found, expected = engine.run(frames), reference.run(frames)
        assert (found.fold, found.scale) == (expected.fold, expected.scale) == (2, 2)
        np.testing.assert_allclose(found.values, expected.values, atol=1e-3)


def test_coarse_masks_are_the_network_s_own():
    """Scaling up only where something is gives the very masks of the whole logits, parts tidied away alike."""
    net = network()
    frames = np.random.default_rng(0).random((3, 1, 70, 90), np.float32)
    coarse = TorchRuntime(net).run(frames)
    with torch.inference_mode():
        logits = net(torch.from_numpy(frames).permute(1, 2, 3, 0)[None])[0]
    for cut in np.quantile(logits.numpy(), [0.2, 0.6, 0.97]):
        whole = (logits > cut).to(torch.uint8).numpy()
        assert 0.001 < whole.mean() < 0.999
        for parts in (0.0, 0.2):
            found = np.stack(
                [threshold_masks(v, coarse.fold, coarse.scale, (70, 90), cut, parts) for v in coarse.values], -1
            )
            expected = keep_main_parts(whole.copy(), parts) if parts else whole
            assert (found != expected).mean() < 1e-4
    assert not threshold_masks(coarse.values[0] * 0 - 9, 2, 2, (70, 90), 0.0).any()


@pytest.mark.parametrize("place", [np.s_[:, 20:, :], np.s_[:, :, 23:], np.s_[:, 19:, 22:]])
def test_a_structure_that_is_seen_in_the_padding_only(place):
    """Frames of 70 x 90 are padded to 96 x 96, 24 x 24 positions: what lies there only leaves no mask, and no crash."""
    values = np.full((12 * 4, 24, 24), -9.0, np.float32)
    values[place] = 9.0
    assert not threshold_masks(values, 2, 2, (70, 90), 0.0, 0.2)[:, :68, :86].any()


@pytest.mark.parametrize(("side", "shape"), [(128, (512, 480)), (64, (70, 90)), (32, (128, 128)), (10, (70, 90))])
def test_glimpses_are_mean_probabilities(side, shape):
    rows, columns = (-(-x // 32) * 8 for x in shape)
    values = np.random.default_rng(0).normal(0, 3, (2, 12 * 4, rows, columns)).astype(np.float32)
    found = lowres_probabilities(CoarseLogits(values, 2, 2), 12, shape, side)
    pool = max(1, -(-max(shape) // side))
    full = torch.nn.functional.pixel_shuffle(torch.from_numpy(values), 2)
    full = torch.nn.functional.interpolate(full, scale_factor=2, mode="nearest").sigmoid()[..., : shape[0], : shape[1]]
    expected = torch.nn.functional.avg_pool2d(full, pool, ceil_mode=True).numpy()
    assert found.shape == expected.shape and found.dtype == np.float32
    inner = np.s_[..., 1:-1, 1:-1]
    assert np.abs(found - expected)[inner].mean() < 0.12 and abs(found.mean() - expected.mean()) < 0.02


def test_graph_is_made_once_and_anew_for_other_weights(own_folder):
    net = network()
    make_runtime(ModuleSource(net), CPU, "onnxruntime")
    made = place(net).stat().st_mtime_ns
    make_runtime(ModuleSource(net), CPU, "onnxruntime")
    assert place(net).stat().st_mtime_ns == made
    assert [p.suffix for p in cache_folder().iterdir()] == [".onnx"] and cache_folder().is_relative_to(own_folder)
    assert place(network(seed=1)) != place(net) == place(network())
    assert place(network(temporal_shift=0.5)) != place(net)


def test_damaged_graph_is_made_anew(own_folder):
    net = network()
    make_runtime(ModuleSource(net), CPU, "onnxruntime")
    place(net).write_bytes(b"cut off")
    frames = np.zeros((1, 1, 64, 64), np.float32)
    values = make_runtime(ModuleSource(net), CPU, "onnxruntime").run(frames).values
    np.testing.assert_allclose(values, TorchRuntime(net).run(frames).values, atol=1e-3)


def test_graph_that_differs_is_not_kept(own_folder, monkeypatch):
    """Asked for, it is an error; chosen automatically, PyTorch takes its place. No file is left."""
    monkeypatch.setattr(onnx_file, "CLOSE", 0.0)
    with pytest.raises(GraphError, match="differs from the network"):
        make_runtime(ModuleSource(network()), CPU, "onnxruntime")
    assert make_runtime(ModuleSource(network()), CPU).name == "torch"
    assert not list(cache_folder().glob("*"))


def test_missing_engine(monkeypatch, own_folder):
    here = importlib.util.find_spec
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: None if name == "openvino" else here(name))
    with pytest.raises(ImportError, match="pip install openvino"):
        make_runtime(ModuleSource(network()), CPU, "openvino")
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: None)
    assert make_runtime(ModuleSource(network()), CPU).name == "torch"


def test_what_does_not_go_together():
    net = network()
    for runtime, precision, device, word in (
        ("tensorrt", "fp32", "cpu", "must be one of"),
        ("auto", "fp64", "cpu", "must be one of"),
        ("torch", "int8", "cpu", "int8 needs"),
        ("onnxruntime", "fp32", "cuda", "--device cpu"),
    ):
        with pytest.raises(ValueError, match=word):
            make_runtime(ModuleSource(net), device, runtime, precision)
    with pytest.raises(ValueError, match="Conv3d runs in PyTorch only"):
        make_runtime(ModuleSource(torch.nn.Conv3d(1, 12, 1)), CPU, "onnxruntime")


def test_any_network_runs_in_pytorch():
    net = torch.nn.Conv3d(1, 12, 1).eval()
    runtime = make_runtime(ModuleSource(net), CPU)
    frames = np.random.default_rng(0).random((3, 1, 20, 30), np.float32)
    found = runtime.run(frames)
    assert runtime.name == "torch" and (found.fold, found.scale) == (1, 1)
    assert found.values.shape == (3, 12, 20, 30)
    masks = threshold_masks(found.values[0], 1, 1, (20, 30), 0.0, 0.0, TARGETS)
    np.testing.assert_array_equal(masks != 0, found.values[0] > 0)


def test_int8_is_close(own_folder):
    net = network()
    frames = np.random.default_rng(0).random((4, 1, 64, 64), np.float32)
    engine = make_runtime(ModuleSource(net, lambda: list(frames[:, 0])), CPU, "onnxruntime", "int8")
    assert engine.precision == "int8"
    exact, found = TorchRuntime(net).run(frames).values, engine.run(frames).values
    assert np.abs(found - exact).max() > 0 and np.corrcoef(found.ravel(), exact.ravel())[0, 1] > 0.98
    with pytest.raises(GraphError, match="no frame to calibrate"):
        make_runtime(ModuleSource(network(seed=2), list), CPU, "onnxruntime", "int8")
    assert not list(cache_folder().glob("*.part"))


def test_int8_leaves_attention_and_outer_convolutions_in_float(own_folder):
    """Both engines then compute the same, and what is left to quantise is most of the network."""
    onnx, _ = pytest.importorskip("onnx"), pytest.importorskip("openvino")
    torch.manual_seed(0)
    net = CineSegmenter().eval()
    frames = np.random.default_rng(0).random((4, 1, 128, 128), np.float32)
    both = [make_runtime(ModuleSource(net, lambda: list(frames[:, 0])), CPU, name, "int8") for name in choice.ENGINES]
    exact, one, other = (engine.run(frames).values.ravel() for engine in (TorchRuntime(net), *both))
    assert np.abs(one - exact).max() > 0 and np.corrcoef(one, exact)[0, 1] > 0.99
    assert np.abs(one - other).mean() < 0.1 * np.abs(one - exact).mean() + 1e-4
    (path,) = cache_folder().glob("*int8*.onnx")
    nodes = onnx.load(path).graph.node
    whole = {name for node in nodes if node.op_type == "DequantizeLinear" for name in node.output}
    names = {node.name: whole >= set(node.input[:2]) for node in nodes if node.op_type == "Conv"}
    assert not any(names[name] for name in names if any(part in name for part in ("qkv", "proj/", "head", "stem")))
    assert sum(names.values()) > 0.5 * len(names) and any(names[name] for name in names if "point_conv" in name)


CODE = """
import numpy as np, torch
from test_runtimes import network
from monai_agglo.bundle.exports.graph import ModuleSource
from monai_agglo.inferers.torch_runtime import TorchRuntime
from monai_agglo.prediction.runtimes import make_runtime
net, frames = network(), np.random.default_rng(0).random((2, 1, 64, 64), np.float32)
a, b = TorchRuntime(net).run(frames).values, make_runtime(ModuleSource(net), "cpu", "onnxruntime").run(frames).values
print(torch.backends.cpu.get_cpu_capability(), float(abs(a - b).max()))
"""


def test_processor_without_wide_vectors(own_folder):
    """Held to the oldest instructions that PyTorch knows, the results are the same."""
    limits = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", CODE], cwd=os.path.dirname(__file__), env={**os.environ, **limits},
        capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    capability, difference = run.stdout.split()
    assert capability in ("DEFAULT", "default") and float(difference) < 1e-3

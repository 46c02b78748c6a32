"""Windows of frames give what the whole cine gives, in any precision that was asked for."""

from contextlib import nullcontext

import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate

from monai_agglo.inferers import AutocastInferer, CineInferer, cine_inferer, precision
from monai_agglo.networks import CineSegmenter
from monai_agglo.swallow import TARGETS


class Spy(torch.nn.Module):
    """Logits that depend on each frame and its neighbours within ``reach``; notes what it was called with."""

    def __init__(self, reach=0):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2, 1, 1, 1, 1))
        self.reach = reach
        self.calls = []

    def forward(self, x):
        self.calls.append((tuple(x.shape), x.dtype, torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")))
        out = x.clone()
        for shift in range(1, self.reach + 1):
            out[..., shift:] += x[..., :-shift]
            out[..., :-shift] += 2 * x[..., shift:]
        return torch.nn.functional.conv3d(out, self.weight) - 0.5


@pytest.mark.parametrize(
    ("frames", "window", "sizes"), [(7, 3, [3, 3, 1]), (7, 7, [7]), (2, 8, [2]), (3, 1, [1, 1, 1])]
)
def test_windows(frames, window, sizes):
    x, network = torch.rand(2, 1, 4, 5, frames), Spy()
    out = CineInferer(window)(x, network)
    assert [call[0][-1] for call in network.calls] == sizes
    assert out.dtype == torch.float32
    torch.testing.assert_close(out, network(x))


@pytest.mark.parametrize("window", [1, 2, 5])
def test_context_gives_a_network_its_neighbours(window):
    x, network = torch.rand(1, 1, 4, 5, 9), Spy(reach=2)
    whole = network(x)
    torch.testing.assert_close(CineInferer(window, context=2)(x, network), whole)
    assert not torch.allclose(CineInferer(window)(x, network), whole)
    assert max(call[0][-1] for call in network.calls[1:]) <= window + 4


def test_the_real_network_in_windows():
    torch.manual_seed(0)
    network = CineSegmenter(out_channels=3, temporal_shift=0.25).eval()
    x = torch.rand(1, 1, 32, 48, 5)
    with torch.inference_mode():
        whole = network(x)
        torch.testing.assert_close(CineInferer(2, context=1)(x, network), whole, atol=1e-4, rtol=1e-4)


def test_masks_are_probabilities_above_the_threshold():
    x = torch.linspace(-4, 4, 64).reshape(1, 1, 4, 4, 4)
    network = Spy()
    for threshold in (0.1, 0.5, 0.9):
        out = CineInferer(3, threshold=threshold)(x, network)
        assert out.dtype == torch.uint8
        assert torch.equal(out.bool(), torch.sigmoid(network(x)) > threshold)
    assert CineInferer(3, threshold=0)(x, network).all() and not CineInferer(3, threshold=1)(x, network).any()


def test_stray_islands_go_with_main_parts():
    x = torch.zeros(1, 1, 16, 16, 3)
    x[0, 0, 1:9, 1:9] = 1
    x[0, 0, 12:14, 12:14, 1] = 1
    network = torch.nn.Conv3d(1, len(TARGETS), 1)
    torch.nn.init.constant_(network.weight, 10.0)
    torch.nn.init.constant_(network.bias, -5.0)
    tidy = CineInferer(2, threshold=0.5, main_parts=0.2)(x, network)[0]
    plain = CineInferer(2, threshold=0.5)(x, network)[0]
    for channel, before, structure in zip(tidy, plain, TARGETS):
        assert before.sum((0, 1)).tolist() == [64, 68, 64]
        assert channel.sum((0, 1)).tolist() == ([64, 68, 64] if structure.scattered else [64, 64, 64])


def test_metadata_of_every_item_of_a_batch_stays():
    items = [MetaTensor(torch.rand(1, 4, 4, 2), affine=torch.eye(4) * k, meta={"name": f"c{k}"}) for k in (2, 3)]
    for k, item in enumerate(items):
        item.push_applied_operation({"class": "X", "k": k})
    batch = list_data_collate([{"image": item} for item in items])
    batch["pred"] = CineInferer(1)(batch["image"], Spy())
    parts = decollate_batch(batch)
    assert [part["pred"].meta["name"] for part in parts] == ["c2", "c3"]
    assert [part["pred"].applied_operations[0]["k"] for part in parts] == [0, 1]
    assert [part["pred"].affine[0, 0].item() for part in parts] == [2, 3]


def test_a_function_is_a_network_too():
    x = torch.rand(1, 1, 4, 4, 3)
    torch.testing.assert_close(CineInferer(2)(x, lambda part, factor: part * factor, factor=3), x * 3)


def test_windows_go_to_the_networks_device_and_come_back(monkeypatch):
    monkeypatch.setattr(cine_inferer, "autocast", lambda *_: nullcontext())  # the device meta has no autocast

    class Elsewhere(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1, device="meta"))

        def forward(self, x):
            assert x.device.type == "meta"
            return torch.zeros(x.shape)

    assert CineInferer(2)(torch.rand(1, 1, 4, 4, 3), Elsewhere()).device.type == "cpu"


@pytest.mark.parametrize("make", [lambda dtype: AutocastInferer(dtype), lambda dtype: CineInferer(8, dtype=dtype)])
def test_precision(make, monkeypatch):
    x, network = torch.rand(1, 1, 4, 4, 2), Spy()

    def used(dtype):
        out = make(dtype)(x, network)
        assert out.dtype == torch.float32 and type(out) is torch.Tensor
        return network.calls[-1][2:] if network.calls[-1][2] else None

    assert used("bfloat16") == (True, torch.bfloat16) and used("float16") == (True, torch.float16)
    assert used("float32") is None
    with torch.autocast("cpu", torch.bfloat16):
        assert used("float32") is None  # off means off, whatever is around it
    for fast in (True, False):
        monkeypatch.setattr(precision, "_fast_bfloat16", lambda device, fast=fast: fast)
        assert used("auto") == ((True, torch.bfloat16) if fast else None)


def test_training_gradients_flow_through_autocast():
    network = Spy()
    AutocastInferer("bfloat16")(MetaTensor(torch.rand(1, 1, 4, 4, 2)), network).sum().backward()
    assert network.weight.grad is not None and network.weight.grad.dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window": 0}, "window must be at least 1"),
        ({"context": -1}, "context at least 0"),
        ({"dtype": "int8"}, "dtype must be one of auto, bfloat16, float16, float32, not 'int8'"),
        ({"threshold": 1.5}, "threshold is a probability"),
    ],
)
def test_wrong_options(options, words):
    with pytest.raises(ValueError, match=words):
        CineInferer(**options)

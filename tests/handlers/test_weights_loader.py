"""Weights are loaded whole or refused in one sentence."""

import logging

import pytest
import torch
from torch import nn

from monai_agglo.handlers import WeightsLoader


@pytest.fixture
def file(tmp_path):
    torch.manual_seed(0)
    torch.save(nn.Linear(2, 3).state_dict(), tmp_path / "w.pt")
    return tmp_path / "w.pt"


def test_loads_plain_and_wrapped(file):
    for wrap in (False, True):
        state = torch.load(file, weights_only=True)
        if wrap:
            torch.save({"model": state}, file)
        network = nn.Linear(2, 3)
        WeightsLoader(file, network).load()
        assert torch.equal(network.weight, state["weight"])


@pytest.mark.parametrize("change", ["missing", "unknown", "shape", "list"])
def test_other_weights_are_refused(file, change):
    state = torch.load(file, weights_only=True)
    if change == "missing":
        del state["bias"]
    elif change == "unknown":
        state["more"] = torch.zeros(1)
    else:
        state["bias"] = torch.zeros(4) if change == "shape" else 1
    torch.save(state, file)
    network = nn.Linear(2, 3)
    before = network.weight.clone()
    with pytest.raises(ValueError, match="w.pt does not belong to this network: 1 of 2 tensors"):
        WeightsLoader(file, network).load()
    assert torch.equal(network.weight, before)


def test_not_weights(file):
    file.write_bytes(b"no weights at all")
    with pytest.raises(ValueError, match="not a plain file of weights"):
        WeightsLoader(file, nn.Linear(2, 3)).load()


def test_absent(tmp_path, caplog):
    with pytest.raises(FileNotFoundError, match="there are no weights in .*none.pt: train first"):
        WeightsLoader(tmp_path / "none.pt", nn.Linear(2, 3)).load()
    with caplog.at_level(logging.WARNING):
        WeightsLoader(tmp_path / "none.pt", nn.Linear(2, 3), required=False).load()
    assert "starts from nothing" in caplog.text

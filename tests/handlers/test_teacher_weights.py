"""A teacher bundle's weights: model.pt, or the published file beside it, or a sentence."""

import logging

import pytest
import torch
from torchvision.models import mobilenet_v3_small

from monai_agglo.handlers import TeacherWeightsLoader
from monai_agglo.networks import TeacherNetwork, bundle_network
from monai_agglo.networks.teachers import teacher_class


@pytest.fixture
def network(monkeypatch, tmp_path):
    monkeypatch.setenv("AGGLO_WEIGHTS", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "none"))
    return TeacherNetwork("mobilenet_v3")


@pytest.fixture
def published(tmp_path):
    torch.manual_seed(3)
    path = tmp_path / "models" / teacher_class("mobilenet_v3").spec.files[0].name
    path.parent.mkdir()
    torch.save(mobilenet_v3_small().state_dict(), path)
    return path


def test_missing_weights_say_what_to_do(network, tmp_path):
    with pytest.raises(FileNotFoundError, match="monai_agglo weights mobilenet_v3 --model-pt .*model.pt"):
        TeacherWeightsLoader(tmp_path / "model.pt", network).load()


def test_random_weights_on_purpose(network, tmp_path, caplog):
    TeacherWeightsLoader(tmp_path / "model.pt", network, random_weights=True).load()
    assert network.random_weights and "RANDOM" in caplog.text


def test_published_file_beside_model_pt(network, published):
    TeacherWeightsLoader(published.parent / "model.pt", network).load()
    wanted = bundle_network("mobilenet_v3", published)
    assert not network.random_weights
    assert network.teacher.weights_hash() == wanted.teacher.weights_hash()


def test_published_file_named_as_such(network, published):
    torch.save({"teacher.encoder.x": torch.zeros(1)}, published.parent / "model.pt")  # another network's: not asked for
    TeacherWeightsLoader(published, network).load()
    wanted = bundle_network("mobilenet_v3", published)
    assert network.teacher.weights_hash() == wanted.teacher.weights_hash()


def test_model_pt(network, published, caplog):
    path = published.parent / "model.pt"
    wanted = bundle_network("mobilenet_v3", published)
    torch.save(wanted.state_dict(), path)
    published.unlink()
    TeacherWeightsLoader(path, network).load()
    assert network.teacher.weights_hash() == wanted.teacher.weights_hash()
    with caplog.at_level(logging.WARNING):
        network(torch.rand(1, 1, 32, 32))
    assert "RANDOM" not in caplog.text


def test_running_without_weights_warns(network, caplog):
    network(torch.rand(1, 1, 32, 32))
    network(torch.rand(1, 1, 32, 32))
    assert caplog.text.count("RANDOM") == 1


def test_weights_of_another_network(network, tmp_path):
    torch.save({"teacher.encoder.x": torch.zeros(1)}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="does not belong to this network"):
        TeacherWeightsLoader(tmp_path / "model.pt", network).load()

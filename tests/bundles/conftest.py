"""What the tests of the bundle share: a copy of it with random weights, tiny data, and runs in this process."""

import shutil
from pathlib import Path

import pytest
import torch
from monai.utils import set_determinism
from tiny import write_tiny_dataset

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def own_surroundings(tmp_path_factory, monkeypatch):
    """A key for pseudonyms, one thread and a determinism that end with the test."""
    monkeypatch.setenv("MONAI_AGGLO_HOME", str(tmp_path_factory.getbasetemp() / "home"))
    for name in ("VFSS_DATA", "VFSS_BUNDLE_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    set_determinism(None)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    return write_tiny_dataset(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def clone(tmp_path_factory):
    """A folder that holds ``bundles/vfss_seg`` as a clone does, with random weights in it."""
    from monai_agglo.networks import CineSegmenter

    folder = tmp_path_factory.mktemp("clone")
    ignore = shutil.ignore_patterns("eval", "data", "models")
    bundle = Path(shutil.copytree(ROOT / "bundles" / "vfss_seg", folder / "bundles" / "vfss_seg", ignore=ignore))
    (bundle / "models").mkdir()
    torch.manual_seed(0)
    network = CineSegmenter()
    # an untrained network is sure that there is nothing: this one finds every structure somewhere
    torch.nn.init.normal_(network.decoder.head.weight, std=0.5)
    torch.nn.init.zeros_(network.decoder.head.bias)
    torch.save(network.state_dict(), bundle / "models" / "model.pt")
    return folder


@pytest.fixture
def at_clone(clone, monkeypatch):
    """The clone, as the working folder; gives the bundle."""
    monkeypatch.chdir(clone)
    return Path("bundles/vfss_seg")

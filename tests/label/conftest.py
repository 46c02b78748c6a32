"""One server for all tests of MONAI Label, and the small synthetic studies that it is asked about."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from label_server import INSTALLED, REASON, LabelServer

ROOT = Path(__file__).parents[2]
WEIGHTS = Path(os.environ.get("AGGLO_SHARED") or ROOT.parent / "shared") / "weights" / "litemedsam" / "lite_medsam.pth"
SIZE = 192


def edit(path, **changes):
    """Change values of a packed config, to make it cheap."""
    content = json.loads(path.read_text(encoding="utf-8"))
    assert changes.keys() <= content.keys()
    path.write_text(json.dumps({**content, **changes}), encoding="utf-8")


def write_cine(folder, seed):
    """Four successive frames of a phantom, so that their time is a FrameTime, which ITK takes for a distance."""
    from monai_agglo.phantom import PhantomSpec, write_study

    return write_study(PhantomSpec.sample(seed, rows=SIZE, cols=SIZE), folder, frames=range(20, 24))


def pack_small(app):
    """The packed bundle, at a size that fits a test."""
    from monai_agglo.bundle import pack

    packed = pack("vfss_seg", app / "model", label=True)
    edit(packed / "configs" / "inference.json", image_size=320)
    edit(packed / "configs" / "train.json", image_size=320, sizes=[[1, 320]], batch_size=8, frames_per_case=16)
    with (packed / "monai_agglo" / "__init__.py").open("a") as file:
        file.write('\n__version__ = "packed"\n')  # tells this copy from the clone's code
    return packed


def prompt_bundle(folder):
    """LiteMedSAM's bundle with its weights, or with random ones where they are not there."""
    import shutil

    from monai_agglo.networks import PromptNetwork, bundle_network

    bundle = folder / "litemedsam_teacher"
    shutil.copytree(ROOT / "bundles" / bundle.name, bundle, ignore=shutil.ignore_patterns("eval", "data", "models"))
    (bundle / "models").mkdir()
    torch.manual_seed(0)
    network = bundle_network("litemedsam", WEIGHTS) if WEIGHTS.is_file() else PromptNetwork("litemedsam")
    torch.save(network.state_dict(), bundle / "models" / "model.pt")
    return bundle


@pytest.fixture(scope="session")
def label(tmp_path_factory):
    """The server, over a folder with two cines."""
    if not INSTALLED:
        pytest.skip(REASON)
    folder = tmp_path_factory.mktemp("label")
    studies = folder / "studies"
    studies.mkdir()
    paths = [write_cine(folder / f"study{seed}", seed) for seed in (3, 4)]
    for name, path in zip(("first", "second"), paths):
        (studies / f"{name}.dcm").write_bytes(path.cine.read_bytes())
    packed = pack_small(folder / "app")
    prompts = prompt_bundle(folder)
    server = LabelServer(folder / "app", studies, ["vfss_seg", prompts])
    yield SimpleNamespace(server=server, studies=studies, packed=packed, prompts=prompts, truth=paths[0].masks)
    server.stop()

"""The metadata are true: schema, shapes, labels, packages, licences; and the network exports as it is."""

import json
import os
import re
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser, ckpt_export, verify_metadata, verify_net_in_out

from monai_agglo.bundle.doctor import SCHEMA_MD5
from monai_agglo.swallow import TARGET_NAMES

from .conftest import ROOT
from .running import configs

BUNDLE = ROOT / "bundles" / "vfss_seg"
META = json.loads((BUNDLE / "configs" / "metadata.json").read_text(encoding="utf-8"))
SCHEMA = Path(os.environ.get("AGGLO_SHARED", ROOT.parent / "shared")) / "schema" / "meta_schema_20240725.json"


def test_schema(tmp_path):
    schema = SCHEMA if SCHEMA.is_file() else tmp_path / "schema.json"
    try:
        verify_metadata(
            meta_file=str(BUNDLE / "configs" / "metadata.json"),
            filepath=str(schema), hash_val=SCHEMA_MD5, hash_type="md5",
        )  # fmt: skip
    except OSError as error:  # urllib's, where the schema is neither there nor to be had
        if SCHEMA.is_file():
            raise
        pytest.skip(f"no AGGLO_SHARED/schema, and MONAI could not download it: {error}")


def test_channels_are_the_structure_table():
    pred = META["network_data_format"]["outputs"]["pred"]
    for entry in (pred, META["network_data_format"]["post_processed_outputs"]["pred"]):
        assert entry["num_channels"] == len(TARGET_NAMES)
        assert entry["channel_def"] == {str(i): name for i, name in enumerate(TARGET_NAMES)}
    for name in ("train", "inference"):
        network = json.loads(Path(configs(BUNDLE, name)[0]).read_text())["network_def"]
        assert network["out_channels"] == len(TARGET_NAMES)
    assert list(META["network_data_format"]["inputs"]) == ["image"]


def test_packages_are_ours():
    """What the bundle asks for is what the project installs, and every version is one version."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    wanted = set(re.findall(r'"([\w-]+)[>=]=', text))
    assert {"torch", "timm"} <= wanted
    assert set(META["required_packages_version"]) <= wanted
    versions = [META[f"{name}_version"] for name in ("monai", "pytorch", "numpy")]
    assert all(v.count(".") >= 2 and v[0].isdigit() for v in [*versions, *META["required_packages_version"].values()])
    assert META["version"] in META["changelog"] and META["supported_apps"] == {"monai-label": ""}


def test_licence_is_the_project_s():
    assert (BUNDLE / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_train_and_inference_agree():
    """Same network but for its training mode, same preprocessing but for names in the metadata."""
    train, infer = (json.loads(Path(path).read_text()) for path in configs(BUNDLE, "train", "inference"))
    assert {**train["network_def"], "train_step": None} == {**infer["network_def"], "train_step": None}
    steps = [step for step in train["train"]["preprocessing"]["transforms"][:5] if "Masks" not in step["_target_"]]
    for one, other in zip(steps, infer["preprocessing"]["transforms"], strict=True):
        assert one["_target_"] == other["_target_"]
        assert one.get("size") == other.get("size") and one.get("reader") == other.get("reader")
    assert train["image_size"] == infer["image_size"]


def test_network_data_format(at_clone):
    meta, config = str(at_clone / "configs" / "metadata.json"), configs(at_clone, "inference")[0]
    verify_net_in_out(net_id="network_def", meta_file=meta, config_file=config, n=4, any=3, device="cpu")


def test_torchscript_export(at_clone, tmp_path):
    meta, config = str(at_clone / "configs" / "metadata.json"), configs(at_clone, "inference")[0]
    weights = at_clone / "models" / "model.pt"
    ckpt_export(
        net_id="network_def", filepath=str(tmp_path / "model.ts"), ckpt_file=str(weights),
        meta_file=meta, config_file=config,
    )  # fmt: skip
    scripted = torch.jit.load(str(tmp_path / "model.ts"))
    network = ConfigParser(ConfigParser.load_config_file(config)).get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    with torch.inference_mode():
        for shape in ((1, 1, 64, 48, 2), (2, 1, 50, 33, 1)):
            x = torch.rand(shape)
            torch.testing.assert_close(scripted(x), network(x), rtol=1e-4, atol=1e-4)

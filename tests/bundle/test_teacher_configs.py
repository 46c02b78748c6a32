"""The teacher bundles' configs are what their templates say."""

import json
from pathlib import Path

import pytest

from monai_agglo.bundle.teacher_configs import FEATURES, PROMPTED, teacher_configs

BUNDLES = Path(__file__).parents[2] / "bundles"


def test_every_teacher_bundle_has_a_template():
    assert sorted(PROMPTED + FEATURES) == sorted(p.name.removesuffix("_teacher") for p in BUNDLES.glob("*_teacher"))


@pytest.mark.parametrize("name", PROMPTED + FEATURES)
def test_files_are_what_the_templates_say(name):
    folder = BUNDLES / f"{name}_teacher" / "configs"
    rendered = teacher_configs(name)
    on_disk = {path.name for path in folder.glob("*.json")} - {"metadata.json"}
    assert rendered.keys() == on_disk
    for file, text in rendered.items():
        assert (folder / file).read_text(encoding="utf-8") == text, "run python -m monai_agglo.bundle.teacher_configs"


@pytest.mark.parametrize(("name", "network"), [("medsam", "PromptNetwork"), ("medclip", "TeacherNetwork")])
def test_a_teacher_s_own_name_and_network(name, network):
    for text in teacher_configs(name).values():
        config = json.loads(text)
        assert config["network_def"] == {"_target_": f"monai_agglo.networks.{network}", "name": name}
        assert f"bundles/{name}_teacher" in config["bundle_root"]


def test_a_teacher_without_a_bundle():
    with pytest.raises(ValueError, match="'resnet18' has no bundle; these have: litemedsam"):
        teacher_configs("resnet18")

"""The doctor finds what is broken, each thing by its own line, and finds the shipped bundle whole."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from monai_agglo import __main__ as cli
from monai_agglo.bundle import doctor

ROOT = Path(__file__).parents[2]
SCHEMA = Path(os.environ.get("AGGLO_SHARED", ROOT.parent / "shared")) / "schema" / "meta_schema_20240725.json"


@pytest.fixture
def bundle(tmp_path):
    """A copy of the shipped bundle that may be broken."""
    source = ROOT / "bundles" / "vfss_seg"
    return Path(shutil.copytree(source, tmp_path / "vfss_seg", ignore=shutil.ignore_patterns("eval", "data")))


def edit(path, change):
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def failures(bundle, **options):
    return {check.name: check.text for check in doctor(bundle, **options) if check.status == "fail"}


def test_shipped_bundle_is_whole(bundle):
    checks = doctor(bundle)
    assert not [str(check) for check in checks if check.status == "fail"]
    names = {check.name for check in checks}
    assert {"python", "device", "packages", "codecs", "origin", "files", "metadata", "versions", "weights"} <= names
    whole = [check.text for check in checks if check.name == "config ids"]
    assert [text.split(":")[0] for text in whole] == ["train", "train+evaluate", "inference"]


def test_missing_file(bundle):
    (bundle / "docs" / "data_license.txt").unlink()
    assert failures(bundle) == {"files": "missing: docs/data_license.txt"}


def test_metadata_without_changelog(bundle):
    edit(bundle / "configs" / "metadata.json", lambda content: content["changelog"].clear())
    assert "changelog has no entry" in failures(bundle)["metadata"]


def test_metadata_that_is_no_json(bundle):
    (bundle / "configs" / "metadata.json").write_text("{")
    assert "not readable" in failures(bundle)["metadata"]


def test_label_table_of_another_size(bundle):
    def change(content):
        content["network_data_format"]["outputs"]["pred"]["channel_def"].popitem()

    edit(bundle / "configs" / "metadata.json", change)
    assert failures(bundle)["metadata"] == "pred has 12 channels but 11 entries in channel_def"


def test_package_that_is_not_installed(bundle):
    def change(content):
        content["required_packages_version"]["no-such-package"] = "1.0"

    edit(bundle / "configs" / "metadata.json", change)
    assert failures(bundle) == {"versions": "the bundle needs no-such-package: pip install no-such-package"}


def test_other_version_is_a_warning(bundle):
    edit(bundle / "configs" / "metadata.json", lambda content: content.update(numpy_version="1.26.0"))
    checks = [check for check in doctor(bundle) if check.name == "versions"]
    assert [check.status for check in checks] == ["warn"] and "(bundle: 1.26.0)" in checks[0].text


def test_missing_id_and_dangling_reference_and_unknown_class(bundle):
    def change(content):
        content["networks"] = content.pop("network_def")
        content["inferer"]["_target_"] = "monai_agglo.inferers.NoSuchInferer"

    edit(bundle / "configs" / "inference.json", change)
    text = failures(bundle)["config ids"]
    assert text.startswith("inference: ")
    assert "id network_def is missing" in text
    assert "no id network_def" in text
    assert "no class monai_agglo.inferers.NoSuchInferer" in text


def test_weights_of_another_network(bundle):
    path = bundle / "models" / "model.pt"
    state = torch.load(path, weights_only=True)
    first = next(iter(state))
    state["another." + first] = state.pop(first)
    torch.save(state, path)
    assert f"2 do not fit the network, such as another.{first}" in failures(bundle)["weights"]


def test_weights_that_would_run_code(bundle):
    torch.save({"model": os.system}, bundle / "models" / "model.pt")
    assert "UnpicklingError" in failures(bundle)["weights"]


def test_own_copy_of_the_code_is_noticed(bundle):
    (bundle / "monai_agglo").mkdir()
    (origin,) = [check for check in doctor(bundle) if check.name == "origin"]
    assert origin.status == "warn" and "its own copy of the code" in origin.text


@pytest.mark.skipif(not SCHEMA.is_file(), reason="MONAI's metadata schema is not in AGGLO_SHARED")
def test_schema(bundle):
    assert failures(bundle, schema=SCHEMA) == {}
    edit(bundle / "configs" / "metadata.json", lambda content: content.update(authors=["a", "list"]))
    assert "Failed validating" in failures(bundle, schema=SCHEMA)["metadata"]


def test_absent_schema_is_not_downloaded(bundle, tmp_path):
    assert "no schema at" in failures(bundle, schema=tmp_path / "absent.json")["metadata"]
    assert not (tmp_path / "absent.json").exists()


def test_command_ends_with_1(bundle, capsys):
    (bundle / "LICENSE").unlink()
    assert cli.main(["doctor", str(bundle)]) == 1
    assert "fail  files        missing: LICENSE" in capsys.readouterr().out

"""What the tests of the jobs share."""

import pytest
from app_samples import write_bundle


@pytest.fixture(autouse=True)
def own_pseudonym_key(tmp_path_factory, monkeypatch):
    """Pseudonyms of tests come from a key of their own."""
    monkeypatch.setenv("MONAI_AGGLO_HOME", str(tmp_path_factory.getbasetemp() / "home"))


@pytest.fixture(scope="session")
def random_bundle(tmp_path_factory):
    """Folder of a bundle with random weights."""
    return write_bundle(tmp_path_factory.mktemp("bundle") / "random_seg")

"""What all tests share."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("AGGLO_SHARED") or Path(__file__).resolve().parents[2] / "shared")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Graphs of networks that tests make stay out of the user's cache; processes that tests start inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MONAI_AGGLO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def own_pseudonym_key(tmp_path_factory, monkeypatch):
    """Pseudonyms of tests come from a key of their own."""
    monkeypatch.setenv("MONAI_AGGLO_HOME", str(tmp_path_factory.getbasetemp() / "home"))


@pytest.fixture(scope="session")
def random_bundle(tmp_path_factory):
    """Folder of a bundle with random weights."""
    from app_samples import write_bundle

    return write_bundle(tmp_path_factory.mktemp("bundle") / "random_seg")


@pytest.fixture(scope="session")
def shared_dicom():
    """The folder of real DICOM files, outside the project."""
    folder = SHARED / "dicom"
    if not (folder / "MANIFEST.tsv").is_file():
        pytest.skip(f"no {folder} here (set AGGLO_SHARED)")
    return folder

"""Fixtures of the reader's tests."""

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("AGGLO_SHARED", Path(__file__).resolve().parents[3] / "shared"))


@pytest.fixture(autouse=True)
def own_pseudonym_key(tmp_path_factory, monkeypatch):
    """Pseudonyms of tests come from a key of their own."""
    monkeypatch.setenv("MONAI_AGGLO_HOME", str(tmp_path_factory.getbasetemp() / "home"))


@pytest.fixture(scope="session")
def shared_dicom():
    """The folder of real DICOM files, outside the project."""
    folder = SHARED / "dicom"
    if not (folder / "MANIFEST.tsv").is_file():
        pytest.skip(f"no {folder} here (set AGGLO_SHARED)")
    return folder

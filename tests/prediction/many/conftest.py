"""Folders of cines, and a bundle whose network kills a worker."""

import os
import shutil
from pathlib import Path

import pytest
from app_samples import write_bundle, write_cine
from killing_network import with_network


@pytest.fixture
def studies(tmp_path):
    """Three good cines, a copy of one, and two bad ones: cut off, and not a projection."""
    folder = tmp_path / "Zaphodson studies"
    folder.mkdir()
    for number in range(3):
        write_cine(folder / f"study {number}.dcm", 8, 40, 48, seed=number)
    shutil.copy(folder / "study 0.dcm", folder / "study 3.dcm")
    cut = write_cine(folder / "cut.dcm", 4)
    cut.write_bytes(cut.read_bytes()[:-900])
    write_cine(folder / "ct.dcm", 1, Modality="CT")
    return folder


@pytest.fixture
def killing_bundle(tmp_path, monkeypatch):
    """A bundle with random weights; the first process that is in the middle of a cine is killed."""
    bundle = with_network(write_bundle(tmp_path / "killing", window=3), "KilledOnce")
    here = str(Path(__file__).parent)
    monkeypatch.setenv("AGGLO_TEST_KILL", str(tmp_path / "killed"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(here)
    return bundle

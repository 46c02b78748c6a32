"""The cines of an inference run: the user's, the readable ones of a folder, or a phantom."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_agglo.bundle import ensure_cine, readable_cines
from monai_agglo.cine.errors import CineReadError


@dataclass
class Found:
    shown: str
    paths: tuple[Path, ...]


@pytest.fixture
def cases(tmp_path, monkeypatch):
    monkeypatch.setenv("MONAI_AGGLO_HOME", str(tmp_path / "home"))
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 255, (32, 40)).astype(np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "c.png").write_bytes((tmp_path / "a.png").read_bytes()[:200])
    return {name: Found(name, (tmp_path / f"{name}.png",)) for name in "abc"}


def test_the_readable_ones_go_on(cases, caplog):
    with caplog.at_level(logging.WARNING):
        items = readable_cines(cases.values())
    assert [Path(item["image"]).name for item in items] == ["a.png", "b.png"]
    assert "left out: " in caplog.text and "c.png" in caplog.text and "2 of 3" in caplog.text


def test_files_of_one_pseudonym_are_numbered(cases):
    one, two = readable_cines([cases["a"], cases["a"]])
    assert two["pseudonym"] == one["pseudonym"] + "-2"


def test_nothing_readable(cases):
    with pytest.raises(CineReadError):
        readable_cines([cases["c"]])
    with pytest.raises(ValueError, match="none of the 2 cines"):
        readable_cines([cases["c"], cases["c"]])


def test_only_the_default_folder_is_filled(tmp_path):
    with pytest.raises(ValueError, match="there is no file or folder"):
        ensure_cine(tmp_path / "typo", tmp_path / "p")
    assert ensure_cine(tmp_path, tmp_path / "p") == str(tmp_path)
    made = ensure_cine(tmp_path / "p", tmp_path / "p", size=64, frames=2)
    assert Path(made).is_file() and ensure_cine(tmp_path / "p", tmp_path / "p", size=64, frames=2) == made

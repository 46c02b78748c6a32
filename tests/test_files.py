"""Atomic files, strict JSON and checksums."""

import json

import pytest

from monai_agglo.files import atomic_path, sha256, write_json


def test_atomic_path_creates_the_folder_and_leaves_no_temporary_file(tmp_path):
    path = tmp_path / "new" / "x.txt"
    with atomic_path(path) as partial:
        partial.write_text("a")
        assert not path.exists()
    assert path.read_text() == "a"
    assert list(path.parent.iterdir()) == [path]


def test_atomic_path_keeps_the_old_file_on_error(tmp_path):
    (tmp_path / "x.txt").write_text("old")
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "x.txt") as partial:
        partial.write_text("new")
        raise RuntimeError
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x.txt", "old")]


@pytest.mark.parametrize("durable", [False, True])
def test_json_round_trip(tmp_path, durable):
    content = {
        "names": ["a\nb", "ü", "undecodable \udc80"],
        "numbers": [1, 2.5, None],
        "empty": [],
        "nested": [{"x": [1, 2]}],
    }
    write_json(tmp_path / "x.json", content, durable)
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert json.loads(text) == content
    assert '"numbers": [ 1, 2.5, null ]' in text, "a list of numbers takes one line"


def test_json_is_strict(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def test_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

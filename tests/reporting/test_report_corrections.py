"""Corrections files exported from the report page."""

import json

import pytest

from monai_agglo.reporting import Corrections, SwallowCorrection, read_corrections

GOOD = {
    "kind": "monai_agglo.corrections",
    "format_version": 1,
    "pseudonym": "abc",
    "frames": 20,
    "swallows": [{"iddsi": 2, "volume_ml": 5, "events_frame_index": {"bpm": 3, "lvc": None}}],
}


def write(path, **changes):
    path.write_text(json.dumps({**GOOD, **changes}))
    return path


def test_round_trip(tmp_path):
    found = read_corrections(write(tmp_path / "c.json"), "abc", 20)
    assert found.swallows == (SwallowCorrection({"bpm": 3, "lvc": None}, 2, 5.0),)
    assert found.events == [{"bpm": 3, "lvc": None}] and found.iddsi == [2]
    (tmp_path / "again.json").write_text(json.dumps(found.to_json()))
    assert read_corrections(tmp_path / "again.json", "abc", 20) == found


def test_empty_corrections():
    assert Corrections().events == [] and Corrections().to_json()["swallows"] == []


def one(**changes):
    return {"swallows": [{**GOOD["swallows"][0], **changes}]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "other"}, "not a corrections file"),
        ({"format_version": 2}, "format version 2"),
        ({"pseudonym": "xyz"}, "another cine"),
        ({"frames": 21}, "21 frames"),
        ({"swallows": "none"}, "no list of swallows"),
        (one(iddsi=8), "level 0 to 7"),
        (one(iddsi=True), "level 0 to 7"),
        (one(volume_ml=-1), "volume_ml"),
        (one(volume_ml="5"), "volume_ml"),
        (one(volume_ml=float("nan")), "volume_ml"),
        (one(events_frame_index={"burp": 3}), "unknown event 'burp'"),
        (one(events_frame_index={"bpm": 20}), "frame index 0 to 19"),
        (one(events_frame_index={"bpm": 2.5}), "frame index 0 to 19"),
        (one(events_frame_index=[3]), "object of event names"),
    ],
)
def test_invalid_values(tmp_path, changes, words):
    path = write(tmp_path / "c.json", **changes)
    with pytest.raises(ValueError, match=words) as caught:
        read_corrections(path, "abc", 20)
    assert "c.json" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"3"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "c.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"c\.json"):
        read_corrections(tmp_path / "c.json")


def test_size_limit(tmp_path):
    (tmp_path / "c.json").write_bytes(b" " * (2 << 20))
    with pytest.raises(ValueError, match="larger than 1 MB"):
        read_corrections(tmp_path / "c.json")

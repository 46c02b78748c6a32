"""What is wrong with a datalist is said at once, in one sentence."""

import json
import re

import pytest

from monai_agglo.data import load_datalist


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("a.dcm", "a_masks.nii.gz", "b.dcm", "b_masks.nii.gz"):
        (folder / name).touch()
    (tmp_path / "outside.dcm").touch()
    return folder


def item(name, patient="P1", **extra):
    return {"image": f"{name}.dcm", "label": f"{name}_masks.nii.gz", "patient_id": patient, **extra}


def write(folder, content):
    (folder / "datalist.json").write_text(content if isinstance(content, str) else json.dumps(content))


def test_paths_are_absolute_and_the_rest_stays(folder, monkeypatch):
    extra = {"labelled_structures": ["bolus", "hyoid"], "labelled_frames": [0, 10], "shape": [2, 2, 20]}
    write(folder, {"training": [item("a", **extra)], "validation": [item("b", "P2")], "test": []})
    assert load_datalist(folder) == [
        {**item("a", **extra), "image": str(folder / "a.dcm"), "label": str(folder / "a_masks.nii.gz")}
    ]
    monkeypatch.chdir(folder.parent)
    assert load_datalist("set/datalist.json", "validation")[0]["image"] == str(folder / "b.dcm")
    assert load_datalist("set", "test", optional=True) == []


def test_a_case_may_lack_masks_and_files_may_be_links(folder):
    (folder / "linked.dcm").symlink_to(folder.parent / "outside.dcm")
    write(folder, {"training": [{"image": "linked.dcm"}, {"image": "a.dcm", "label": None}]})
    cases = load_datalist(folder)
    assert cases[0] == {"image": str(folder.parent / "outside.dcm")} and cases[1]["label"] is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"validation": [item("a")]}, "has no cases under 'training'"),
        ({"training": []}, "has no cases under 'training'"),
        ({"training": [item("c")]}, r"names \S*c.dcm, which does not exist"),
        ({"training": [{"image": "a.dcm", "label": "none.nii"}]}, "names .*none.nii, which does not exist"),
        ({"training": [{"label": "a_masks.nii.gz"}]}, "a case under 'training' has no image"),
        ({"training": [{"image": ["a.dcm"]}]}, r"\['a.dcm'\] is no file name"),
        ({"training": [{"image": "../outside.dcm"}]}, "names ../outside.dcm, which lies outside its folder"),
        ({"training": [{"image": "/etc/hostname"}]}, "names /etc/hostname, which lies outside its folder"),
        ({"training": [item("a")], "test": [item("b")]}, "patient P1 is in both training and test; split by patient"),
        ({"validation": [item("a", 7)], "test": [item("b", "7")]}, "patient 7 is in both validation and test"),
        ({"training": [item("a", labelled_structures=["Bolus"])]}, "a.dcm: unknown structure 'Bolus'; known: epi"),
        ({"training": [item("a", labelled_structures="bolus")]}, "a.dcm: labelled_structures is a list of names"),
        ({"training": [item("a", labelled_frames=[3, -1])]}, r"a.dcm: labelled_frames .*\[3, -1\]"),
        ({"training": [item("a", labelled_frames=[0.5])]}, "a.dcm: labelled_frames is a list of frame numbers"),
        ({"training": [item("a", labelled_frames=3)]}, "a.dcm: "),
        ({"training": ["a.dcm"]}, "is no datalist"),
        ([item("a")], "is no datalist"),
        ('{"training": [', "is no datalist"),
    ],
)
def test_refusals_name_the_list(folder, content, words):
    write(folder, content)
    with pytest.raises(ValueError, match=f"^{re.escape(str(folder / 'datalist.json'))}.*{words}") as caught:
        load_datalist(folder)
    assert "\n" not in str(caught.value)


def test_no_list_says_how_to_make_one(folder):
    with pytest.raises(ValueError, match=r"there is no .*datalist.json; make one with: python -m monai_agglo datalist"):
        load_datalist(folder)

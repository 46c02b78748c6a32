"""What may be given away is shipped with its card; everything else stays where it is, with the reason."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from monai_agglo.__main__ import main
from monai_agglo.distill.publish_student import ship_student
from monai_agglo.distill.student_card import student_page
from monai_agglo.networks import StudentEncoder, load_student, read_student, write_student

ROOT = Path(__file__).parents[3]
TEACHERS = [
    {"name": "litemedsam", "licence": "Apache-2.0"},
    {"name": "mobilenet_v3", "licence": "BSD-3-Clause"},
]


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "bundle"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "metadata.json").write_text("{}")
    return folder


@pytest.fixture
def real_study(finished_study, tmp_path):
    """The tiny study's folder, as if its teachers had been the real ones."""
    study, _ = finished_study
    folder = Path(shutil.copytree(study.folder, tmp_path / "study"))
    (path,) = (folder / "students").glob("*-shippable-*.safetensors")
    student, card = read_student(path)
    retention = {teacher["name"]: {"r2": 0.5, "cosine": 0.75} for teacher in TEACHERS}
    facts = {**card, "random": False, "teachers": TEACHERS, "retention": retention}
    write_student(path, student, {k: v for k, v in facts.items() if k not in ("student", "weights_sha256")})
    return folder


def test_a_finished_study_ships_its_student(real_study, bundle, capsys):
    assert main(["ship-student", str(real_study), "--bundle", str(bundle)]) == 0
    assert "student.md" in capsys.readouterr().out
    student, card = read_student(bundle / "models" / "student.safetensors")
    (source,) = (real_study / "students").glob("*-shippable-*.safetensors")
    theirs = read_student(source)[0].state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in student.state_dict().items())
    assert [t["title"] for t in card["teachers"]] == ["LiteMedSAM", "MobileNetV3-Small"] and card["random"] is False
    assert card["images"] == [{"name": "ct_aorta", "licence": "CC BY 4.0 (README)"}]
    # probes are the study's own results, averaged; a task per row
    cell = source.stem
    for task, row in card["probes"].items():
        result = json.loads((real_study / "results" / "test" / cell / f"{task}.json").read_text())["probes"]
        for setting, own in row.items():
            known = [d for d in result[setting]["dice"] if d is not None]
            assert own["dice"] == pytest.approx(sum(known) / len(known), abs=1e-4) and own["test_images"] == len(known)
    assert set(card["probes"]) == {"us_breast_busbra", "cxr_lung_shenzhen_montgomery"}
    page = (bundle / "docs" / "student.md").read_text()
    assert page == student_page(card) and "magnified" not in page
    for words in ("| LiteMedSAM | Apache-2.0 |", "0.500 | 0.750", "CC BY 4.0", "us_breast_busbra", "no medical device"):
        assert words in page
    means = [sum(own["dice"] for own in row.values()) / len(row) for row in card["probes"].values()]
    assert f"Mean over the 2 real tasks, each over its columns: {sum(means) / 2:.3f}." in page
    assert str(real_study) not in page and str(real_study) not in json.dumps(card)


def test_the_card_says_what_was_seen_of_a_frame(real_study, bundle):
    settings = real_study / "settings.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "zoom": [0.7, 1.6]}))
    ship_student(real_study, bundle)
    assert (
        "images, a random part of each, magnified 0.7 to 1.6 times, seed 0"
        in (bundle / "docs" / "student.md").read_text()
    )


def test_random_teachers_stay(finished_study, bundle):
    study, _ = finished_study
    (path,) = (study.folder / "students").glob("*-shippable-*.safetensors")
    student, card = read_student(path)
    copy = write_student(bundle / "s.safetensors", student, {**card, "teachers": TEACHERS})
    with pytest.raises(ValueError, match="RANDOM weights"):
        ship_student(copy, bundle)
    assert not (bundle / "models").exists() and not (bundle / "docs").exists()


REFUSED = {
    "images": ({"teachers": TEACHERS, "data": {"licences": {"mri": "CC BY-NC 4.0"}}}, "has seen mri"),
    "share alike": ({"teachers": TEACHERS, "data": {"licences": {"mri": "CC BY-SA 4.0"}}}, "has seen mri"),
    "own": (
        {"teachers": TEACHERS, "data": {"licences": {"folder 1": "not stated where the images are"}}},
        "has seen folder 1",
    ),
    "no card": ({}, "does not say which teachers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_may_not_be_given_away(case, bundle):
    facts, words = REFUSED[case]
    path = write_student(bundle / "s.safetensors", StudentEncoder("lcnet_050", 8), facts)
    with pytest.raises(ValueError, match=words):
        ship_student(path, bundle)
    assert not (bundle / "models").exists()


def test_no_student(bundle, capsys):
    with pytest.raises(FileNotFoundError, match="no student that may be given away"):
        ship_student(bundle, bundle)
    assert main(["ship-student", "nowhere", "--bundle", str(bundle)]) == 2
    assert "there is no study and no student nowhere" in capsys.readouterr().err


def write_training_s_student(folder):
    """The card of agglo_distill, as far as a release reads it."""
    facts = {"teachers": TEACHERS, "data": {"licences": {"phantom": "CC0-1.0 (synthetic)"}}, "random": False}
    facts |= {"method": {"balancer": "equal", "projector": "mlp", "hidden": None}}
    return write_student(folder / "s.safetensors", StudentEncoder("lcnet_050", 8), facts)


def test_a_training_s_student(bundle):
    ship_student(write_training_s_student(bundle), bundle)
    card = read_student(bundle / "models" / "student.safetensors")[1]
    assert card["method"] == "balancer equal, projector mlp" and card["images"][0]["name"] == "phantom"


def test_the_distillation_s_own_bundle_gets_it_as_its_model(bundle):
    own = bundle.parent / "agglo_distill"
    shutil.copytree(bundle / "configs", own / "configs")
    written = ship_student(write_training_s_student(bundle), bundle)
    assert own / "models" / "model.pt" in written
    one, other = (load_student(folder).state_dict() for folder in (own, bundle))
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    assert (own / "models" / "student.json").read_bytes() == (bundle / "models" / "student.json").read_bytes()


def test_a_released_student_is_written_anew_with_the_same_facts(bundle):
    """Safetensors writes its header in any order: the file's hash may differ, that of the tensors may not."""
    ship_student(write_training_s_student(bundle), bundle)
    path = bundle / "models" / "student.safetensors"
    first = read_student(path)[1]
    ship_student(path, bundle)
    assert {**read_student(path)[1], "weights_sha256": ""} == {**first, "weights_sha256": ""}


def test_the_shipped_page_is_its_card_s():
    folder = ROOT / "bundles" / "vfss_seg"
    if not (folder / "models" / "student.safetensors").is_file():
        pytest.skip("no student is shipped yet: python -m monai_agglo ship-student STUDY")
    _, card = read_student(folder / "models" / "student.safetensors")
    assert (folder / "docs" / "student.md").read_text(encoding="utf-8") == student_page(card)
    assert card["random"] is False and card["retention"] and card["probes"]


def test_the_pages_quote_the_shipped_card_and_the_study():
    """Figures in docs/explanation/study.md are those of the card and of the report."""
    text = " ".join((ROOT / "docs" / "explanation" / "study.md").read_text(encoding="utf-8").split())
    quoted = re.search(r"Its mean Dice on the real tasks is (0\.\d{3}) instead of (0\.\d{3})", text)
    page = (ROOT / "bundles" / "vfss_seg" / "docs" / "student.md").read_text(encoding="utf-8")
    report = (ROOT / "docs" / "results" / "agglo_study.md").read_text(encoding="utf-8")
    now = re.search(r"Mean over the 8 real tasks, each over its columns: (0\.\d{3})", page)
    before = re.search(r"CC0, CC BY or drawn: mean Dice (0\.\d{3})", report)
    assert quoted and now and before and quoted.groups() == (now[1], before[1])
    card = json.loads((ROOT / "bundles" / "vfss_seg" / "models" / "student.json").read_text(encoding="utf-8"))
    assert page == student_page(card)

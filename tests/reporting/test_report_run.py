"""``report``: output files, agreement of page and tables, corrections, edited masks."""

import csv
import json
import re
import shutil

import nibabel as nib
import numpy as np
import pydicom
import pytest
from app_samples import write_cine

from monai_agglo.__main__ import main
from monai_agglo.cine.cine import open_cine
from monai_agglo.reporting import report
from monai_agglo.swallow import STRUCTURES, TARGET_NAMES, flatten

FILES = {"report.html", "measurements.json", "measurements.csv", "events.csv", "frames.csv"}


def data_in(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.DOTALL)[1])


def content_in(folder):
    return json.loads((folder / "measurements.json").read_text(encoding="utf-8"))


def rows_in(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def value(content, name, swallow=0):
    return next(m["value"] for m in content["swallows"][swallow]["measures"] if m["name"] == name)


@pytest.fixture()
def copy(reported, tmp_path):
    """A writable copy of the results."""
    return shutil.copytree(reported.output, tmp_path / "copy", copy_function=shutil.copy2)


def test_output_files(reported):
    assert {path.name for path in reported.output.iterdir()} >= FILES | {"masks.nii.gz", "predict.json"}
    assert reported.exit_code == 0 and "1 swallow" in str(reported)
    page = reported.cases[0].page
    assert page.stat().st_size < 600_000
    data, content = data_in(page), content_in(reported.output)
    assert data["measures"] == content == reported.cases[0].content
    assert content["masks"]["origin"] == "edited by a reader" and len(content["masks"]["sha256"]) == 64
    assert "Research use only" in page.read_text(encoding="utf-8") and content["intended_use"].startswith("Research")


def test_tables_agree_with_the_page(reported):
    content = content_in(reported.output)
    measures = rows_in(reported.output / "measurements.csv")
    assert len(measures) == sum(len(s["measures"]) for s in content["swallows"]) > 20
    for row, item in zip(measures, content["swallows"][0]["measures"]):
        assert (row["measure"], row["reason"]) == (item["name"], item["reason"])
        assert (float(row["value"]) if row["value"] else None) == item["value"]
    events = rows_in(reported.output / "events.csv")
    found = {row["event"]: row["frame_index"] for row in events}
    assert found == {k: str(v["frame_index"]) for k, v in content["swallows"][0]["events"].items()}
    frames = rows_in(reported.output / "frames.csv")
    assert len(frames) == 40 and frames[7]["frame_number"] == "8"
    area = [float(row["bolus_area_pct"]) for row in frames]
    assert area == pytest.approx(content["curves"]["bolus_area_pct"], abs=1e-4)


def test_uncertainty_and_reference_ranges(reported):
    measures = content_in(reported.output)["swallows"][0]["measures"]
    assert sum(m["uncertainty"] is not None for m in measures) >= 10
    assert {m["outside"] for m in measures} & {True, False}


def corrections(content, path, **changes):
    swallow = {"iddsi": 0, "volume_ml": 5, "events_frame_index": changes}
    body = {"kind": "monai_agglo.corrections", "format_version": 1, "swallows": [swallow]}
    body |= {"pseudonym": content["source"]["pseudonym"], "frames": content["frames"]["count"]}
    path.write_text(json.dumps(body))
    return path


def test_corrected_events_recompute_the_measures(study, copy, random_bundle, own_key, tmp_path):
    before = content_in(copy)
    opens = before["swallows"][0]["events"]["ueso"]["frame_index"]
    path = corrections(before, tmp_path / "c.json", ueso=opens - 1, lvc=None)
    made = (copy / "predict.json").stat().st_mtime_ns
    command = ["report", str(study.cine), "--output", str(copy), "--bundle", str(random_bundle), "--events", str(path)]
    command += ["--masks", str(study.masks), "--view", "lateral", "--repeats", "0"]
    assert main(command) == 0
    assert (copy / "predict.json").stat().st_mtime_ns == made, "the masks are reused"
    after = content_in(copy)
    times = after["frames"]["times_s"]
    longer = times[opens] - times[opens - 1]
    change = value(after, "ues_open_duration") - value(before, "ues_open_duration")
    assert change == pytest.approx(longer, abs=1e-4)
    swallow = after["swallows"][0]
    assert (swallow["corrected_events"], swallow["iddsi"], swallow["volume_ml"]) == (["lvc", "ueso"], 0, 5)
    assert swallow["automatic_events_frame_index"]["ueso"] == opens
    assert value(after, "lvc_duration") is None and "thin" in json.dumps(swallow["measures"])
    origin = {row["event"]: row["origin"] for row in rows_in(copy / "events.csv")}
    assert origin["ueso"] == "reader" and origin["uesc"] == "automatic"
    assert rows_in(copy / "measurements.csv")[0]["volume_ml"] == "5.0"


@pytest.mark.parametrize(
    ("change", "words"),
    [({"ueso": 39}, "ueso .frame 40. must come before"), ({"bpm": 40}, "frame index 0 to 39")],
)
def test_impossible_events_are_refused(study, copy, random_bundle, own_key, tmp_path, change, words):
    path = corrections(content_in(copy), tmp_path / "c.json", **change)
    page = (copy / "report.html").read_bytes()
    with pytest.raises(ValueError, match=words):
        report(study.cine, copy, random_bundle, events=path, masks=study.masks, view="lateral", repeats=0)
    assert (copy / "report.html").read_bytes() == page, "the former report is kept"


def test_edited_label_map_is_measured(study, copy, random_bundle, own_key, tmp_path):
    """An unedited map gives the measures of the predicted masks; with the bolus erased there is no swallow."""
    image = nib.load(copy / "masks.nii.gz")
    truth = np.asarray(nib.load(study.masks).dataobj)[..., : len(TARGET_NAMES)]
    nib.save(nib.Nifti1Image(truth, image.affine), copy / "masks.nii.gz")  # perfect predictions
    options = {"view": "lateral", "repeats": 0}
    plain = report(study.cine, copy, random_bundle, **options).cases[0].content
    assert plain["masks"] == {"origin": "network", "sha256": None} and len(plain["swallows"]) == 1
    labels = flatten(truth, axis=-1)
    edited = tmp_path / "edited.nii.gz"
    nib.save(nib.Nifti1Image(labels, image.affine), edited)
    again = report(study.cine, copy, random_bundle, masks=edited, **options).cases[0].content
    assert again["swallows"] == plain["swallows"] and again["curves"] == plain["curves"]
    bolus = next(s.id for s in STRUCTURES if s.name == "bolus")
    nib.save(nib.Nifti1Image(np.where(labels == bolus, 0, labels).astype(np.uint8), image.affine), edited)
    without = report(study.cine, copy, random_bundle, masks=edited, **options).cases[0].content
    assert without["swallows"] == [] and "no bolus" in without["reason"]


def test_invalid_arguments(study, tmp_path, random_bundle, own_key):
    with pytest.raises(ValueError, match=r"nothing\.json: there is no such file"):
        report(study.cine, tmp_path / "o", random_bundle, events=tmp_path / "nothing.json")
    with pytest.raises(ValueError, match="lateral or ap"):
        report(study.cine, tmp_path / "o", random_bundle, view="sideways")
    assert not (tmp_path / "o").exists()


def test_unknown_and_frontal_views(tmp_path, random_bundle, own_key):
    """Without a view check (random weights) nothing is measured unless the user states a lateral view."""
    source = write_cine(tmp_path / "Zaphodson^Trillian.dcm", frames=2, SeriesDescription="swallow")
    done = report(source, tmp_path / "o", random_bundle, repeats=0)
    assert done.cases[0].content["verdict"]["kind"] == "unknown" and "Not confirmed" in str(done)
    assert done.cases[0].content["swallows"] == []
    done = report(source, tmp_path / "o", random_bundle, view="ap", repeats=0)
    assert done.cases[0].content["verdict"]["kind"] == "ap" and data_in(done.cases[0].page)["structures"] == []


def test_no_identity_and_no_markup_in_the_output(tmp_path, random_bundle, own_key):
    evil = "<script>alert(1)</script>"
    source = write_cine(tmp_path / "Zaphodson^Trillian.dcm", frames=2, PatientName=evil, PatientID=evil, Modality="XA")
    ds = pydicom.dcmread(source)
    ds.SeriesDescription = ds.StudyDescription = ds.InstitutionName = evil
    ds.save_as(source)
    done = report(source, tmp_path / "o", random_bundle, repeats=0)
    for name in FILES:
        content = (done.output / name).read_bytes()
        for word in (b"alert(1)", b"Zaphodson", b"Trillian", b"ID4711", b"19500101", str(tmp_path).encode()):
            assert word not in content, (name, word)


def test_index_of_several_cines(tmp_path, random_bundle, own_key):
    (tmp_path / "in").mkdir()
    for seed in range(2):
        write_cine(tmp_path / "in" / f"Zaphodson{seed}.dcm", frames=2, seed=seed)
    (tmp_path / "in" / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM broken")
    done = report(tmp_path / "in", tmp_path / "out", random_bundle, repeats=0)
    assert done.exit_code == 1 and done.index == tmp_path / "out" / "index.html"
    text = done.index.read_text(encoding="utf-8")
    names = [open_cine(tmp_path / "in" / f"Zaphodson{k}.dcm").meta["pseudonym"] for k in range(2)]
    assert all(f'href="{name}/report.html"' in text for name in names)
    assert "3 cines" in text and "1 failed" in text and "Zaphodson" not in text and "broken.dcm" not in text
    with pytest.raises(ValueError, match="belong to one"):
        report(tmp_path / "in", tmp_path / "out", random_bundle, events=tmp_path / "in" / "Zaphodson0.dcm")

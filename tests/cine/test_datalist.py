"""Datalist: pairing of cines and masks, split by patient, preserved edits."""

import json

import nibabel
import numpy as np
import pytest
from monai.transforms import LoadImaged
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, XRayAngiographicImageStorage, generate_uid

from monai_agglo import __main__ as cli
from monai_agglo.cine.datalist import PARTS, make_datalist, split_by_patient
from monai_agglo.data import CineReader, LoadCineMasksd, load_datalist

SHAPE = (12, 16, 3)


def write_cine(path, patient, series=None, instance=1, frames=SHAPE[2]):
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = XRayAngiographicImageStorage, generate_uid()
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID, dataset.InstanceNumber = series or generate_uid(), instance
    dataset.PatientID, dataset.PatientName, dataset.Modality = patient, f"{patient}^Name", "XA"
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = *SHAPE[:2], frames
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.FrameTime = 7, "66.7"
    dataset.PixelData = np.random.default_rng(instance).integers(0, 255, (frames, *SHAPE[:2])).astype("u1").tobytes()
    dataset.save_as(path)


def write_masks(path, frames=(1,), shape=SHAPE):
    """Write a label map (rows, columns, frames) with a bolus in the given frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = np.zeros(shape, np.uint8)
    labels[2:5, 3:9, list(frames)] = 12
    nibabel.save(nibabel.Nifti1Image(labels, None), path)


def items_of(folder):
    content = json.loads((folder / "datalist.json").read_text(encoding="utf-8"))
    return {item["image"]: {**item, "part": part} for part in PARTS for item in content[part]}


def test_pairing_in_all_layouts(tmp_path):
    write_cine(tmp_path / "a" / "one.dcm", "P1")
    write_masks(tmp_path / "a" / "one_masks.nii.gz")
    write_cine(tmp_path / "a" / "two.dcm", "P1")
    write_masks(tmp_path / "a" / "two.dcm.seg.nii")
    write_cine(tmp_path / "b" / "cine.dcm", "P2")
    write_masks(tmp_path / "b" / "masks.nii.gz")
    write_cine(tmp_path / "imagesTr" / "x.dcm", "P3")
    write_masks(tmp_path / "labelsTr" / "x.nii.gz")
    write_cine(tmp_path / "served" / "y.dcm", "P4")
    write_masks(tmp_path / "served" / "labels" / "final" / "y.nii.gz")
    series = generate_uid()
    for number in range(1, SHAPE[2] + 1):
        write_cine(tmp_path / "series" / f"I{number}", "P5", series, number, frames=1)
    write_masks(tmp_path / "series" / "label.nii.gz")
    report = make_datalist(tmp_path)
    assert report.left_out == []
    items = items_of(tmp_path)
    assert {image: item["label"] for image, item in items.items()} == {
        "a/one.dcm": "a/one_masks.nii.gz",
        "a/two.dcm": "a/two.dcm.seg.nii",
        "b/cine.dcm": "b/masks.nii.gz",
        "imagesTr/x.dcm": "labelsTr/x.nii.gz",
        "served/y.dcm": "served/labels/final/y.nii.gz",
        "series": "series/label.nii.gz",
    }
    assert items["a/one.dcm"]["patient_id"] == items["a/two.dcm"]["patient_id"]
    assert len({item["patient_id"] for item in items.values()}) == 5
    assert {item["part"] for item in items.values()} == set(PARTS)
    for part in PARTS:  # as read by the training
        assert len(load_datalist(tmp_path, part)) == report.cases[part]
    text = (tmp_path / "datalist.json").read_text(encoding="utf-8")
    assert "Name" not in text and '"P1"' not in text


def test_reasons_of_excluded_files(tmp_path):
    write_cine(tmp_path / "good.dcm", "P1")
    write_masks(tmp_path / "good_mask.nii.gz")
    write_cine(tmp_path / "bare.dcm", "P2")
    write_cine(tmp_path / "other.dcm", "P3")
    write_masks(tmp_path / "other_mask.nii.gz", shape=(12, 16, 4))
    write_masks(tmp_path / "orphan_mask.nii.gz")
    (tmp_path / "broken.avi").write_bytes(b"nothing of the kind")
    report = make_datalist(tmp_path)
    assert list(items_of(tmp_path)) == ["good.dcm"]
    reasons = {shown.rsplit("/", 1)[-1]: why for shown, why in report.left_out}
    assert reasons["bare.dcm"] == "has no mask file"
    assert reasons["broken.avi"] == "has no mask file"
    assert reasons["other.dcm"] == "other_mask.nii.gz has 12 x 16 x 4 values, the cine 12 x 16 pixels and 3 frames"
    assert reasons["orphan_mask.nii.gz"] == "masks without a cine of that name"
    assert "needs a validation patient" in str(report)


def write_png(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array.astype(np.uint8)).save(path)


def test_stills_with_png_masks(tmp_path):
    """Annotated stills: one structure in black and white, or a label map."""
    still, drawn = np.random.default_rng(0).integers(0, 255, (20, 20)), np.zeros((20, 20))
    drawn[3:9, 2:5] = 1
    for name in ("a", "b"):
        write_png(tmp_path / "white" / "images" / f"{name}.png", still)
        write_png(tmp_path / "white" / "masks" / f"{name}.png", 255 * drawn)
    with pytest.raises(ValueError, match="a.png: .*give its name as the only structure"):
        make_datalist(tmp_path / "white")
    make_datalist(tmp_path / "white", (0, 0, 1), structures=["bolus"])
    items = items_of(tmp_path / "white")
    assert list(items) == ["images/a.png", "images/b.png"] and items["images/a.png"]["label"] == "masks/a.png"
    (case, _) = load_datalist(tmp_path / "white", "test")
    loaded = LoadCineMasksd("label")(LoadImaged("image", reader=CineReader(), ensure_channel_first=True)(case))
    np.testing.assert_array_equal(loaded["label"][11, :, :, 0], drawn)
    assert (loaded["label"][:11] == 255).all()
    write_png(tmp_path / "ids" / "p1" / "still.png", still)
    write_png(tmp_path / "ids" / "p1" / "still_mask.png", 12 * drawn)
    write_png(tmp_path / "ids" / "p2" / "still.png", still)
    write_png(tmp_path / "ids" / "p2" / "still_mask.png", 40 * drawn)
    report = make_datalist(tmp_path / "ids", drawn_frames=True)
    assert items_of(tmp_path / "ids")["p1/still.png"]["labelled_frames"] == [0]
    assert "label value 40 is not a structure id" in dict(report.left_out)[str(tmp_path / "ids" / "p2" / "still.png")]


def test_preview_image_beside_masks_is_ignored(tmp_path):
    write_cine(tmp_path / "x.dcm", "P1")
    write_masks(tmp_path / "labels" / "x.nii.gz")
    write_png(tmp_path / "labels" / "x.png", np.zeros((12, 16)))
    make_datalist(tmp_path)
    assert items_of(tmp_path)["x.dcm"]["label"] == "labels/x.nii.gz"


def test_ambiguous_masks_are_refused(tmp_path):
    for name in ("a", "b"):
        write_cine(tmp_path / f"{name}.dcm", name)
    write_masks(tmp_path / "masks.nii.gz")
    with pytest.raises(ValueError, match="several cines beside masks.nii.gz; name it after its cine"):
        make_datalist(tmp_path)
    assert not (tmp_path / "datalist.json").exists()


def test_partial_labels(tmp_path):
    write_cine(tmp_path / "cine.dcm", "P1")
    write_masks(tmp_path / "masks.nii.gz", frames=(0, 2))
    make_datalist(tmp_path, structures=["bolus"], drawn_frames=True)
    item = items_of(tmp_path)["cine.dcm"]
    assert item["labelled_structures"] == ["bolus"] and item["labelled_frames"] == [0, 2]
    with pytest.raises(ValueError, match="unknown structure 'tongue'"):
        make_datalist(tmp_path, structures=["tongue"])


def test_update_keeps_edits_and_parts(tmp_path):
    for number in range(4):
        write_cine(tmp_path / f"s{number}" / "cine.dcm", f"P{number}")
        write_masks(tmp_path / f"s{number}" / "masks.nii.gz")
    make_datalist(tmp_path)
    path = tmp_path / "datalist.json"
    content = json.loads(path.read_text())
    moved = content["training"].pop()
    moved["labelled_frames"], moved["note"] = [1], "checked"
    content["test"].append(moved)
    path.write_text(json.dumps(content))
    before = items_of(tmp_path)
    for number in range(4, 9):
        write_cine(tmp_path / f"s{number}" / "cine.dcm", f"P{number}")
        write_masks(tmp_path / f"s{number}" / "masks.nii.gz")
    make_datalist(tmp_path)
    after = items_of(tmp_path)
    assert len(after) == 9
    assert {image: after[image] for image in before} == before
    path.write_text("{")
    with pytest.raises(ValueError, match="is not a datalist"):
        make_datalist(tmp_path)


def test_split_by_patient():
    patients = [f"p{i % 40}" for i in range(100)]
    part_of = split_by_patient(patients, (0.7, 0.15, 0.15), seed=3)
    counts = [list(part_of.values()).count(part) for part in PARTS]
    assert counts == [28, 6, 6]
    assert part_of == split_by_patient(patients[::-1], (0.7, 0.15, 0.15), seed=3)
    assert part_of != split_by_patient(patients, (0.7, 0.15, 0.15), seed=4)
    assert split_by_patient(["a"], (0.7, 0.15, 0.15)) == {"a": "training"}
    assert set(split_by_patient(["a", "b"], (0.9, 0.1, 0.0)).values()) == {"training", "validation"}


def test_command(tmp_path, capsys):
    assert cli.main(["datalist", str(tmp_path / "absent")]) == 2
    assert "is not a folder" in capsys.readouterr().err
    for number in range(2):
        write_cine(tmp_path / f"s{number}" / "cine.dcm", f"P{number}")
        write_masks(tmp_path / f"s{number}" / "masks.nii.gz")
    assert cli.main(["datalist", str(tmp_path), "--splits", "0.5", "0.5", "0"]) == 0
    out = capsys.readouterr().out
    assert "training      1 cases of 1 patients" in out and "validation    1 cases of 1 patients" in out
    assert cli.main(["datalist", str(tmp_path), "--splits", "0.5", "0.1", "0"]) == 2
    assert "fractions that sum to 1" in capsys.readouterr().err

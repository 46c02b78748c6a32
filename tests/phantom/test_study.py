"""A study's three files agree with the phantom and with each other, and the cine is a valid XRF object."""

import json
import shutil
import subprocess

import nibabel as nib
import numpy as np
import pydicom
import pytest

from monai_agglo.cine.cine import open_cine
from monai_agglo.phantom import PhantomSpec, PhantomStudy, SwallowSpec, choose_frames, write_study
from monai_agglo.phantom.truth import TRUTH_SCHEMA
from monai_agglo.swallow import NAMES

SMALL = {"rows": 72, "cols": 88, "n_frames": 5}


def small(seed=3, **changes):
    return PhantomSpec.sample(seed, **{**SMALL, "recorded_rate": 15.0, "frame_rate": 15.0, **changes})


def short_swallow(**changes):
    """A whole swallow in 12 frames."""
    return small(n_frames=12, frame_rate=7.5, recorded_rate=7.5, swallows=(SwallowSpec(onset_s=0.4),), **changes)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    spec = short_swallow(bits_stored=10, photometric="MONOCHROME2", field="both", burnt_in_text="R")
    return spec, PhantomStudy(spec), write_study(spec, tmp_path_factory.mktemp("study"))


def test_pixels_are_the_phantoms(written):
    _, study, paths = written
    pixels = pydicom.dcmread(paths.cine).pixel_array
    for t in (0, 7, 11):
        np.testing.assert_array_equal(pixels[t], study.frame(t)[0])


def test_masks_are_the_phantoms_and_lie_on_the_cine(written):
    spec, study, paths = written
    image = nib.load(paths.masks)
    masks = np.asarray(image.dataobj)
    assert masks.dtype == np.uint8 and masks.shape == (spec.rows, spec.cols, 12, len(NAMES))
    for t in (0, 7, 11):
        np.testing.assert_array_equal(masks[:, :, t], np.moveaxis(study.frame(t)[1], 0, -1))
    assert masks[..., NAMES.index("c3")].any() and masks.max() == 1
    cine = open_cine(paths.cine)
    assert cine.shape == masks.shape[:3]
    np.testing.assert_allclose(image.affine, cine.meta["affine"], atol=1e-5)
    assert np.count_nonzero(np.diag(image.affine)) == 2, "rows go down, columns across: the affine swaps them"


def test_the_reader_gets_the_phantoms_facts(written):
    spec, study, paths = written
    meta = open_cine(paths.cine).meta
    np.testing.assert_allclose(meta["frame_times_ms"], study.frame_times_ms, atol=1e-2)
    assert meta["time_source"] == "FrameTime" and not meta["time_assumed"]
    np.testing.assert_allclose(meta["spacing_mm"], spec.pixel_spacing_mm / spec.magnification, rtol=1e-6)
    # the affine of the patient's plane: one atlas millimetre is posture_scale pixels
    np.testing.assert_allclose(meta["spacing_mm"][0] * study.posture_scale, 1, rtol=1e-6)
    assert meta["view"] == "lateral" and meta["bits_stored"] == 10 and not meta["lossy"]


def test_truth(written):
    jsonschema = pytest.importorskip("jsonschema")
    spec, study, paths = written
    truth = json.loads(paths.truth.read_text())
    jsonschema.validate(truth, TRUTH_SCHEMA)
    assert PhantomSpec.from_dict(truth["spec"]) == spec
    masks = np.asarray(nib.load(paths.masks).dataobj)
    assert truth["area_px"] == {name: masks[..., i].sum((0, 1)).tolist() for i, name in enumerate(NAMES)}
    np.testing.assert_allclose(truth["frames"]["time_ms"], study.frame_times_ms, atol=1e-3)
    (swallow,) = truth["swallows"]
    hyb = swallow["events"]["hyb"]
    assert hyb["frame_index"] == study.events["hyb"] and hyb["frame_number"] == hyb["frame_index"] + 1
    # the burst is at 0.4 s; the first frame at or after it
    assert 400 <= hyb["time_ms"] < 400 + 1000 / 7.5
    assert swallow["quantities"]["volume_ml"] == 5.0


def test_schema_is_strict():
    jsonschema = pytest.importorskip("jsonschema")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"format": "monai-agglo/phantom-truth/1"}, TRUTH_SCHEMA)


def test_same_spec_same_bytes(tmp_path, written):
    spec, _, paths = written
    again = write_study(spec, tmp_path)
    for a, b in zip(paths, again):
        assert a.read_bytes() == b.read_bytes(), a.name
    other = write_study(spec.replace(seed=spec.seed + 1), tmp_path)
    assert pydicom.dcmread(other.cine).SOPInstanceUID != pydicom.dcmread(paths.cine).SOPInstanceUID
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cine.dcm", "masks.nii.gz", "truth.json"]


def test_uids_tell_studies_apart_and_nothing_else_is_invented(written):
    spec, _, paths = written
    ds = pydicom.dcmread(paths.cine)
    uids = [ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID]
    assert len(set(uids)) == 3 and all(u.startswith("2.25.") and len(u) <= 64 and u.is_valid for u in uids)
    assert str(ds.PatientName) == f"PHANTOM^SEED{spec.seed}" and ds.PatientID == spec.patient_id
    assert ds.PatientIdentityRemoved == "YES" and ds.ImageComments == "synthetic"
    assert ds.BurnedInAnnotation == "YES" and "ShutterShape" not in ds, "a shutter would hide the burnt-in text"
    assert ds.CollimatorShape == ["RECTANGULAR", "CIRCULAR"]


def test_burnt_in_annotation_is_true_to_fact(tmp_path):
    ds = pydicom.dcmread(write_study(small(n_frames=1, burnt_in_text=None, field="circle"), tmp_path).cine)
    assert ds.BurnedInAnnotation == "NO" and ds.ShutterShape == "CIRCULAR"


def test_part_of_a_study(tmp_path, written):
    spec, study, _ = written
    jsonschema = pytest.importorskip("jsonschema")
    paths = write_study(spec, tmp_path, frames=[2, 3, 9])
    ds = pydicom.dcmread(paths.cine)
    np.testing.assert_array_equal(ds.pixel_array[2], study.frame(9)[0])
    times = study.frame_times_ms[[2, 3, 9]]
    np.testing.assert_allclose(np.cumsum(ds.FrameTimeVector) + ds.FrameDelay, times, atol=1e-3)
    meta = open_cine(paths.cine).meta
    assert meta["time_source"] == "FrameTimeVector"
    np.testing.assert_allclose(np.diff(meta["frame_times_ms"]), np.diff(times), atol=1e-3)
    truth = json.loads(paths.truth.read_text())
    jsonschema.validate(truth, TRUTH_SCHEMA)
    assert truth["frames"]["study_index"] == [2, 3, 9] and truth["frames"]["study_count"] == 12
    events = truth["swallows"][0]["events"]
    for name, t in study.events.items():
        assert (events[name] is None) == (t is None)
        if t is not None:
            assert events[name]["study_index"] == t
            assert events[name]["frame_index"] == ([2, 3, 9].index(t) if t in (2, 3, 9) else None)


def test_repeated_frames(tmp_path):
    spec = small(frame_rate=15.0, recorded_rate=30.0, n_frames=3)
    paths = write_study(spec, tmp_path)
    cine = open_cine(paths.cine)
    assert cine.shape[2] == 6
    assert cine.scan()["repeated_frames"] == [1, 3, 5]
    np.testing.assert_allclose(np.diff(cine.meta["frame_times_ms"]), 1000 / 30, atol=1e-3)
    masks = np.asarray(nib.load(paths.masks).dataobj)
    np.testing.assert_array_equal(masks[:, :, 0::2], masks[:, :, 1::2])


def test_chosen_frames_cover_study_and_swallow():
    spec = small(1, n_frames=90, frame_rate=30.0, recorded_rate=30.0, swallows=(SwallowSpec(onset_s=1.0),))
    study = PhantomStudy(spec)
    chosen = choose_frames(study, 12)
    assert len(chosen) == 12 == len(set(chosen)) and chosen == sorted(chosen) == choose_frames(study, 12)
    known = [t for t in study.events.values() if t is not None]
    inside = [t for t in chosen if min(known) <= t <= max(known)]
    share = (max(known) - min(known)) / 90
    assert len(inside) / 12 > share + 0.1, "the swallow is drawn more often than by its length"
    assert chosen[0] < 20 and chosen[-1] > 70
    assert choose_frames(PhantomStudy(spec.replace(seed=2)), 12) != chosen
    assert choose_frames(study, 500) == list(range(90))


def test_chosen_frames_are_different_pulses():
    study = PhantomStudy(small(frame_rate=15.0, recorded_rate=30.0, n_frames=6, swallows=()))
    assert choose_frames(study, 6) == [0, 2, 4, 6, 8, 10]


def test_bad_frames(tmp_path):
    with pytest.raises(IndexError, match="study with 5 frames"):
        write_study(small(), tmp_path, frames=[1, 5])
    with pytest.raises(ValueError, match="rising order"):
        write_study(small(), tmp_path, frames=[2, 1])
    with pytest.raises(ValueError, match="at least 1, not 0"):
        write_study(small(), tmp_path, frames=0)
    with pytest.raises(ValueError, match="choose one of"):
        write_study(small(), tmp_path, transfer_syntax="mpeg")
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_no_study(tmp_path, monkeypatch):
    paths = write_study(small(n_frames=1), tmp_path)
    assert paths.truth.exists()

    def broken(self, t):
        raise MemoryError("no room")

    monkeypatch.setattr(PhantomStudy, "frame", broken)
    with pytest.raises(MemoryError):
        write_study(small(n_frames=1), tmp_path)
    assert not paths.truth.exists() and not list(tmp_path.glob(".*"))


def test_importing_the_phantom_does_not_import_monai():
    """Workers start fast because of it."""
    import sys

    code = "import sys, monai_agglo.phantom as p; print(p.write_study, {'monai', 'torch'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip().endswith("set()")


CASES = {
    "eight_bit_circle": ({"bits_stored": 8, "field": "circle", "burnt_in_text": None}, {}),
    "ten_bit_rectangle": ({"bits_stored": 10, "field": "rectangle", "burnt_in_text": "R"}, {"transfer_syntax": "rle"}),
    "twelve_bit_no_field": ({"bits_stored": 12, "field": "none"}, {"compress": False}),
    "one_frame": ({"n_frames": 1, "field": "both"}, {}),
    "some_frames": ({"n_frames": 9, "swallows": ()}, {"frames": [0, 1, 5]}),
    "one_of_many": ({"n_frames": 9}, {"frames": [4]}),
    "ap_facing_right": ({"view": "ap", "facing": "right"}, {}),
    "monochrome1": ({"photometric": "MONOCHROME1"}, {}),
}


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not installed (Debian package dicom3tools)")
@pytest.mark.parametrize("case", CASES)
def test_dciodvfy_finds_no_error(tmp_path, case):
    changes, options = CASES[case]
    paths = write_study(small(**{"photometric": "MONOCHROME2", **changes}), tmp_path, **options)
    result = subprocess.run(["dciodvfy", paths.cine], capture_output=True, text=True)
    found = [line for line in (result.stdout + result.stderr).splitlines() if line.startswith(("Error", "Warning"))]
    if case == "monochrome1":
        # PS3.3 C.8.7.1 allows XRF only MONOCHROME2; devices write MONOCHROME1 all the same, and readers must cope
        assert len(found) == 1 and "<MONOCHROME1>" in found.pop()
    assert not found

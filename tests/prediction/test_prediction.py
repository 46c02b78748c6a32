"""predict: what is written, that it is what the network says, and that nothing else is touched."""

import json
import shutil

import av
import nibabel as nib
import numpy as np
import pytest
import torch
from app_samples import write_cine
from monai.bundle import ConfigParser
from monai.transforms import Invertd
from PIL import Image

from monai_agglo.__main__ import main
from monai_agglo.cine.cine import open_cine
from monai_agglo.cine.errors import CineReadError
from monai_agglo.cine.search import find_cases
from monai_agglo.prediction import run as prediction
from monai_agglo.prediction.run import predict
from monai_agglo.prediction.segmenter import Segmenter
from monai_agglo.swallow import TARGET_NAMES

FILES = ["contact_sheet.png", "masks.nii.gz", "overlay.mp4", "predict.json"]
NAMES = (b"Zaphodson", b"Trillian", b"ID4711", b"19500101")


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def masks_in(folder):
    return np.asarray(nib.load(folder / "masks.nii.gz").dataobj)


def record_in(folder):
    return json.loads((folder / "predict.json").read_text(encoding="utf-8"))


def by_monai(path, bundle):
    """Masks as MONAI makes them from the same config: the whole cine through transforms, inferer and Invertd."""
    parser = ConfigParser(ConfigParser.load_config_files([str(bundle / "configs" / "inference.json")]))
    parser.parse()
    chain, inferer = parser.get_parsed_content("preprocessing"), parser.get_parsed_content("inferer")
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(bundle / "models" / "model.pt", weights_only=True))
    data = chain({"image": str(path)})
    with torch.inference_mode():
        data["pred"] = inferer(data["image"][None], network)[0]
    inverted = Invertd("pred", chain, orig_keys="image", nearest_interp=False, to_tensor=True)(data)
    return np.moveaxis(np.asarray(inverted["pred"]) != 0, 0, -1)


@pytest.fixture(scope="module")
def done(random_bundle, tmp_path_factory):
    """A cine, and its results."""
    folder = tmp_path_factory.mktemp("done")
    source = write_cine(folder / "Zaphodson^Trillian.dcm", frames=8)
    report = predict(source, folder / "out", random_bundle)
    return source, folder / "out", report


def test_four_files_and_nothing_else(done):
    source, folder, report = done
    assert names_in(folder) == FILES and report.exit_code == 0
    assert names_in(folder.parent) == ["Zaphodson^Trillian.dcm", "out"]
    image = nib.load(folder / "masks.nii.gz")
    assert image.shape == (60, 80, 8, 12) and image.get_data_dtype() == np.uint8
    masks = masks_in(folder)
    assert set(np.unique(masks)) == {0, 1}
    np.testing.assert_allclose(image.affine, open_cine(source).meta["affine"])
    record = record_in(folder)
    assert [s["name"] for s in record["structures"]] == list(TARGET_NAMES)
    assert [s["channel"] for s in record["structures"]] == list(range(12))
    for channel, name in enumerate(TARGET_NAMES):
        assert record["area_px"][name] == masks[..., channel].sum(axis=(0, 1)).tolist()
    assert record == report.cases[0].record
    with av.open(str(folder / "overlay.mp4")) as video:
        times = [float(frame.time) for frame in video.decode(video=0)]
    assert times == pytest.approx([0.0333 * i for i in range(8)], abs=1e-3)
    assert Image.open(folder / "contact_sheet.png").size[0] > 600


def test_the_record_says_what_was_read_and_with_what(done, random_bundle):
    import hashlib

    record = record_in(done[1])
    assert record["frames"]["frame_times_ms"] == pytest.approx([33.3 * i for i in range(8)])
    assert record["frames"]["time_source"] == "FrameTime" and record["frames"]["time_assumed"] is False
    assert record["frames"]["effective_fps"] == pytest.approx(30.03, abs=0.01)
    assert record["spacing"] == {"spacing_mm": None, "spacing_known": False, "spacing_source": "none"}
    digest = hashlib.sha256((random_bundle / "models" / "model.pt").read_bytes()).hexdigest()
    assert record["model"]["weights_sha256"] == digest and "RANDOM" in record["model"]["bundle"]
    assert record["view"] is None and any("no view check" in text for text in record["warnings"])
    assert any("pixels only" in text for text in record["warnings"])


def test_no_name_no_id_no_path_in_any_file(done):
    source, folder, _ = done
    uids = [str(open_uid).encode() for open_uid in _uids(source)]
    for path in folder.iterdir():
        content = path.read_bytes()
        if path.name == "masks.nii.gz":
            content = nib.load(path).header.binaryblock
        for word in (*NAMES, *uids, str(folder.parent).encode()):
            assert word not in content, (path.name, word)


def _uids(source):
    import pydicom

    ds = pydicom.dcmread(source)
    return ds.SOPInstanceUID, ds.SeriesInstanceUID, ds.StudyInstanceUID


@pytest.mark.parametrize(("frames", "rows", "columns"), [(1, 40, 33), (5, 60, 80), (37, 90, 50)])
def test_masks_are_those_of_the_bundle(tmp_path, random_bundle, frames, rows, columns):
    """Streaming in windows changes no pixel against the whole cine at once, at any size and length."""
    source = write_cine(tmp_path / "c.dcm", frames, rows, columns, seed=frames)
    predict(source, tmp_path / "out", random_bundle)
    wanted = by_monai(source, random_bundle)
    assert wanted.shape == (rows, columns, frames, 12) and 0.01 < wanted.mean() < 0.95
    np.testing.assert_array_equal(masks_in(tmp_path / "out"), wanted)


def test_series_of_single_frames_is_one_cine_in_its_order(tmp_path, random_bundle):
    folder = tmp_path / "Zaphodson series"
    folder.mkdir()
    for number, name in enumerate(["z", "m", "a"]):
        write_cine(folder / f"{name}.dcm", 1, seed=number, series="1.2.3.4", number=number + 1)
    predict(folder, tmp_path / "out", random_bundle)
    masks = masks_in(tmp_path / "out")
    assert masks.shape == (60, 80, 3, 12)
    np.testing.assert_array_equal(masks, by_monai(folder, random_bundle))
    assert (masks[:, :, 0] != masks[:, :, 2]).any()
    assert "frames only, no seconds" in " ".join(record_in(tmp_path / "out")["warnings"])


@pytest.fixture
def mixed_folder(tmp_path):
    folder = tmp_path / "Zaphodson study"
    (folder / "sub").mkdir(parents=True)
    write_cine(folder / "a.dcm", 4)
    shutil.copy(folder / "a.dcm", folder / "copy of a.dcm")
    write_cine(folder / "ct.dcm", 1, Modality="CT")
    write_cine(folder / "sub" / "cut.dcm", 4)
    content = (folder / "sub" / "cut.dcm").read_bytes()
    (folder / "sub" / "cut.dcm").write_bytes(content[:-9000])
    Image.fromarray(np.arange(600, dtype=np.uint8).reshape(20, 30)).save(folder / "sub" / "still.png")
    (folder / "notes.txt").write_text("not a cine")
    return folder


def test_a_folder_goes_on_after_a_failure(mixed_folder, tmp_path, random_bundle, capsys):
    report = predict(mixed_folder, tmp_path / "out", random_bundle, progress=True)
    assert report.exit_code == 1 and len(report.cases) == 5
    failed = {case.shown.rsplit("/", 1)[-1]: case.error for case in report.cases if case.error}
    assert set(failed) == {"ct.dcm", "cut.dcm"}
    assert "not a projection cine" in failed["ct.dcm"] and "cut off" in failed["cut.dcm"]
    printed = capsys.readouterr().out
    assert printed.count(" ok ") == 3 and printed.count("FAILED") == 2
    own = open_cine(mixed_folder / "a.dcm").meta["pseudonym"]
    folders = [path for path in (tmp_path / "out").iterdir() if path.is_dir()]
    assert len(folders) == 3 and {own, f"{own}-2"} <= {path.name for path in folders}
    assert all(names_in(path) == FILES for path in folders)
    summary = (tmp_path / "out" / "summary.json").read_text()
    assert [case["error"] is None for case in json.loads(summary)["cases"]].count(True) == 3
    for word in ("Zaphodson", "ct.dcm", "cut", str(tmp_path)):
        assert word not in summary.replace("cut off", "")
    assert not list((tmp_path / "out").rglob("*.part"))


def test_a_second_run_over_a_folder_replaces_the_first(mixed_folder, random_bundle):
    """Also with the results inside of the source folder: they are not taken for sources."""
    output = mixed_folder / "results"
    first = predict(mixed_folder, output, random_bundle)
    names = sorted(path.relative_to(output) for path in output.rglob("*"))
    masks = {path: path.read_bytes() for path in output.rglob("masks.nii.gz")}
    second = predict(mixed_folder, output, random_bundle)
    assert [case.shown for case in second.cases] == [case.shown for case in first.cases]
    assert sorted(path.relative_to(output) for path in output.rglob("*")) == names
    assert {path: path.read_bytes() for path in output.rglob("masks.nii.gz")} == masks
    assert not [case for case in find_cases(mixed_folder) if "results" in case.shown]


def test_stills_of_one_series_that_make_no_cine_are_taken_one_by_one(tmp_path, random_bundle):
    folder = tmp_path / "s"
    folder.mkdir()
    write_cine(folder / "a.dcm", 1, 40, 40, series="1.2.3.5", number=1)
    write_cine(folder / "b.dcm", 1, 50, 40, series="1.2.3.5", number=2)
    report = predict(folder, tmp_path / "out", random_bundle)
    assert report.exit_code == 0 and len(report.cases) == 2
    assert any("read as a still" in text for text in report.cases[0].record["warnings"])


def test_png_nifti_and_video(tmp_path, random_bundle):
    rng = np.random.default_rng(0)
    stack = rng.integers(0, 255, (48, 64, 6)).astype(np.uint8)
    Image.fromarray(stack[..., 0]).save(tmp_path / "still.png")
    predict(tmp_path / "still.png", tmp_path / "png", random_bundle)
    assert masks_in(tmp_path / "png").shape == (48, 64, 1, 12)

    # NIfTI as ITK and MONAI Label write a cine: columns first
    affine = np.diag([-0.4, -0.3, 1, 1])
    nib.save(nib.Nifti1Image(stack.transpose(1, 0, 2), affine), tmp_path / "cine.nii.gz")
    predict(tmp_path / "cine.nii.gz", tmp_path / "nii", random_bundle)
    assert masks_in(tmp_path / "nii").shape == (48, 64, 6, 12)
    # some processors round otherwise for another number of frames, and random weights say 0.5 of many pixels
    assert (masks_in(tmp_path / "nii") != by_monai(tmp_path / "cine.nii.gz", random_bundle)).mean() < 1e-4
    # A viewer puts pixel (row 5, column 9) of mask and cine at the same place.
    placed = nib.load(tmp_path / "nii" / "masks.nii.gz").affine @ [5, 9, 2, 1]
    np.testing.assert_allclose(placed, affine @ [9, 5, 2, 1], atol=1e-5)

    with av.open(str(tmp_path / "v.avi"), "w") as video:
        stream = video.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "gray"
        for t in range(6):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(stack[..., t]), format="gray")
            video.mux(stream.encode(frame))
        video.mux(stream.encode(None))
    predict(tmp_path / "v.avi", tmp_path / "avi", random_bundle)
    assert masks_in(tmp_path / "avi").shape == (48, 64, 6, 12)
    times = record_in(tmp_path / "avi")["frames"]["frame_times_ms"]
    assert times == pytest.approx([100 * t for t in range(6)], abs=1)
    np.testing.assert_array_equal(masks_in(tmp_path / "avi"), masks_in(tmp_path / "nii"))


def test_what_the_user_knows_better(done, tmp_path, random_bundle):
    predict(done[0], tmp_path / "out", random_bundle, fps=10, spacing_mm=0.25)
    record = record_in(tmp_path / "out")
    assert record["frames"]["frame_times_ms"][3] == 300 and record["frames"]["time_source"] == "given by the user"
    assert record["spacing"]["spacing_mm"] == [0.25, 0.25] and record["spacing"]["spacing_known"] is True
    np.testing.assert_array_equal(
        nib.load(tmp_path / "out" / "masks.nii.gz").affine, nib.load(done[1] / "masks.nii.gz").affine
    )
    for wrong in ({"fps": 0}, {"fps": float("nan")}, {"spacing_mm": -1}, {"spacing_mm": [1, 2, 3]}, {"batch": 0}):
        with pytest.raises(ValueError, match="not"):
            predict(done[0], tmp_path / "no", random_bundle, **wrong)
    assert not (tmp_path / "no").exists()


def test_size_of_the_network_s_view_can_be_changed(done, tmp_path, random_bundle):
    predict(done[0], tmp_path / "out", random_bundle, size=96)
    assert masks_in(tmp_path / "out").shape == masks_in(done[1]).shape
    assert (masks_in(tmp_path / "out") != masks_in(done[1])).any()


def test_repeated_frames_are_reported(tmp_path, random_bundle):
    import pydicom

    source = write_cine(tmp_path / "c.dcm", 8)
    ds = pydicom.dcmread(source)
    pixels = ds.pixel_array[::2].repeat(2, axis=0)
    ds.PixelData = pixels.tobytes()
    ds.save_as(source)
    predict(source, tmp_path / "out", random_bundle)
    record = record_in(tmp_path / "out")
    assert record["frames"]["repeated_frames"] == [1, 3, 5, 7]
    assert record["frames"]["effective_fps"] == pytest.approx(15, abs=0.1)
    assert any("4 frames repeat" in text for text in record["warnings"])


def test_a_constant_image_is_no_error(tmp_path, random_bundle):
    Image.fromarray(np.full((30, 40), 7, np.uint8)).save(tmp_path / "flat.png")
    assert predict(tmp_path / "flat.png", tmp_path / "out", random_bundle).exit_code == 0


def test_bad_sources_write_nothing(tmp_path, random_bundle):
    (tmp_path / "junk.dcm").write_bytes(b"not a DICOM file" * 99)
    (tmp_path / "empty").mkdir()
    cut = write_cine(tmp_path / "cut.dcm", 4)
    cut.write_bytes(cut.read_bytes()[:-100])
    before = names_in(tmp_path)
    for source, error, words in (
        (tmp_path / "absent.dcm", ValueError, "no such file"),
        (tmp_path / "empty", ValueError, "no DICOM file, video"),
        (tmp_path / "junk.dcm", CineReadError, "junk.dcm"),
        (cut, CineReadError, "cut off"),
    ):
        with pytest.raises(error, match=words):
            predict(source, tmp_path / "out", random_bundle)
        assert names_in(tmp_path) == before


def test_an_interrupted_run_leaves_nothing(done, tmp_path, random_bundle, monkeypatch):
    whole = Segmenter.run

    def broken(self, *args):
        for item in whole(self, *args):
            if item.index == 5:
                raise KeyboardInterrupt
            yield item

    monkeypatch.setattr(Segmenter, "run", broken)
    with pytest.raises(KeyboardInterrupt):
        predict(done[0], tmp_path / "out", random_bundle)
    assert not list(tmp_path.iterdir())


def test_foreign_output_is_refused_before_any_work(done, tmp_path):
    (tmp_path / "thesis.doc").write_text("x")
    with pytest.raises(ValueError, match="--overwrite"):
        predict(done[0], tmp_path, tmp_path / "no bundle")
    assert names_in(tmp_path) == ["thesis.doc"]


def test_command_line(done, mixed_folder, random_bundle, tmp_path, capsys):
    arguments = ["--bundle", str(random_bundle), "--output"]
    assert main(["predict", str(done[0]), *arguments, str(tmp_path / "one")]) == 0
    assert str(tmp_path / "one") in capsys.readouterr().out
    assert main(["predict", str(mixed_folder), *arguments, str(tmp_path / "many")]) == 1
    assert main(["predict", str(mixed_folder / "ct.dcm"), *arguments, str(tmp_path / "two")]) == 2
    error = capsys.readouterr().err
    assert "not a projection cine" in error and "Traceback" not in error
    assert names_in(tmp_path / "one") == FILES and not (tmp_path / "two").exists()


def test_text_outside_the_exposed_field_is_in_no_picture(tmp_path, random_bundle, monkeypatch):
    """A name burnt into the dark border must not leave with overlay and contact sheet."""
    frames = np.full((3, 96, 96), 4, np.uint8)
    y, x = np.mgrid[:96, :96]
    frames[:, (y - 48) ** 2 + (x - 48) ** 2 < 34**2] = 120
    frames[:, 4:8, 4:30] = 250  # the name
    source = tmp_path / "stack.nii.gz"
    nib.save(nib.Nifti1Image(np.transpose(frames, (2, 1, 0)), np.eye(4)), source)
    shown = []

    class Spy(prediction.OverlayVideo):
        def add(self, frame, *rest):
            shown.append(np.array(frame))
            super().add(frame, *rest)

    def sheet(path, pictures, *args, **options):
        pictures = list(pictures)
        shown.extend(pictures)
        write_contact_sheet(path, pictures, *args, **options)

    write_contact_sheet = prediction.write_contact_sheet
    monkeypatch.setattr(prediction, "OverlayVideo", Spy)
    monkeypatch.setattr(prediction, "write_contact_sheet", sheet)
    predict(source, tmp_path / "out", random_bundle)
    assert len(shown) == 6
    for frame in shown:
        assert frame.max() == 120 and frame[48, 48] == 120 and (frame == 120).sum() == (frames[0] == 120).sum()

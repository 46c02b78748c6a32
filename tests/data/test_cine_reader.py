"""The readers through MONAI, the folder, lazy frames, and the front door."""

import copy
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from dicom_factory import SOP, encode_rle, moving_disc, write_cine, write_series
from monai.data import DataLoader, Dataset
from monai.transforms import Compose, Invertd, LoadImage, LoadImaged, SaveImaged

from monai_agglo.cine.cine import open_cine
from monai_agglo.cine.errors import CineReadError
from monai_agglo.data import CineDicomReader, CineReader, CineVideoReader, PseudonymizeMetad

READER = "monai_agglo.data.CineReader"


def load(path, reader=READER, **options):
    return LoadImaged("image", reader=reader, **options)({"image": str(path)})["image"]


PROJECTIONS = [kind for kind in SOP if kind not in ("CT", "NM", "MFSCRGB", "EnhancedXA", "EnhancedXRF")]


@pytest.mark.parametrize("kind", [*PROJECTIONS, "EnhancedXA", "EnhancedXRF"])
def test_projection_classes_are_read(tmp_path, kind):
    frames = moving_disc(bits=12)
    image = load(write_cine(tmp_path / "x", frames, kind=kind, bits=12), ensure_channel_first=True)
    assert image.shape == (1, 48, 64, 6) and image.dtype == torch.float32
    np.testing.assert_array_equal(image[0].numpy(), frames.transpose(1, 2, 0))
    assert image.meta["modality"] == SOP[kind][1]
    assert image.pixdim.tolist() == [1, 1, 1]


@pytest.mark.parametrize("kind", ["CT", "NM"])
@pytest.mark.parametrize("reader", [READER, "monai_agglo.data.CineDicomReader"])
def test_other_modalities_are_refused(tmp_path, kind, reader):
    path = write_cine(tmp_path / "x.dcm", moving_disc(), kind=kind)
    with pytest.raises(CineReadError, match="not a projection cine") as caught:
        load(path, reader)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
    assert load(path, CineReader(any_modality=True)).shape == (48, 64, 6)


def test_a_secondary_capture_of_a_ct_is_no_cine(tmp_path):
    with pytest.raises(CineReadError, match="not a projection cine"):
        open_cine(write_cine(tmp_path / "x.dcm", moving_disc(), kind="SC", tags={"Modality": "CT"}))


def test_one_frame_still_has_the_frame_axis(tmp_path):
    single = {"NumberOfFrames": None, "FrameTime": None, "FrameIncrementPointer": None}
    frames = moving_disc(frames=1)
    assert load(write_cine(tmp_path / "x.dcm", frames, kind="DX", tags=single)).shape == (48, 64, 1)
    assert load(write_cine(tmp_path / "y.dcm", frames, kind="XRF")).shape == (48, 64, 1)


def bad_files(folder):
    whole = write_cine(folder / "good.dcm", moving_disc(), "sv1").read_bytes()
    (folder / "empty.dcm").touch()
    (folder / "garbage.dcm").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "text.txt").write_text("Zaphodson, Trillian")
    (folder / "cut.dcm").write_bytes(whole[: len(whole) * 2 // 3])
    (folder / "preamble.dcm").write_bytes(b"\0" * 128 + b"DICM")
    (folder / "fake.nii.gz").write_bytes(b"\x1f\x8b" + b"\0" * 300)
    (folder / "fake.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 300)
    (folder / "fake.jpg").write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 300)
    (folder / "fake.mp4").write_bytes(b"\0\0\0\x18ftypisom" + b"\0" * 300)
    (folder / "fake.avi").write_bytes(b"RIFF\0\0\0\0AVI LIST" + b"\0" * 300)
    (folder / "fake.nrrd").write_bytes(b"NRRD0004\ntype: bogus\n\n")
    (folder / "zip.zip").write_bytes(b"PK\x03\x04" + b"\0" * 300)
    (folder / "folder").mkdir()
    return [*(item for item in folder.iterdir() if item.name != "good.dcm"), folder / "missing.dcm", folder / "a" / "b"]


@pytest.mark.parametrize("reader", [READER, "monai_agglo.data.CineDicomReader", "monai_agglo.data.CineVideoReader"])
def test_what_is_wrong_reaches_the_user(tmp_path, reader):
    for path in bad_files(tmp_path):
        with pytest.raises(CineReadError) as caught:
            load(path, reader)
        message = str(caught.value)
        assert message.startswith(f"{path}: ") and "\n" not in message and len(message) < 400, message
        with pytest.raises(RuntimeError) as caught:  # MONAI wraps it, and keeps it as the cause
            Compose([LoadImaged("image", reader=reader)])({"image": str(path)})
        assert isinstance(caught.value.__cause__, CineReadError)


def test_each_reader_takes_its_own_kind(tmp_path):
    path = write_cine(tmp_path / "x.dcm", moving_disc())
    with pytest.raises(CineReadError, match="dicom file"):
        load(path, CineVideoReader())
    assert load(path, CineDicomReader()).shape == (48, 64, 6)
    assert CineReader().verify_suffix("anything") is True


def test_options_by_dotted_name_and_at_call_time(tmp_path):
    frames = moving_disc(bits=12)
    path = write_cine(tmp_path / "x.dcm", frames, bits=12, tags={"RescaleSlope": "2", "RescaleIntercept": "1"})
    image = load(path, READER, rescale=True, frames=slice(1, 5, 2))
    np.testing.assert_array_equal(image.numpy(), (frames[1:5:2] * 2.0 + 1).transpose(1, 2, 0))
    assert image.meta["frame_times_ms"] == pytest.approx([33.333, 99.999])
    assert image.meta["spatial_shape"].tolist() == [48, 64, 2]
    reader = CineReader()
    array, meta = reader.get_data(reader.read(str(path), frames=[0, 3]))
    assert array.dtype == np.uint16 and array.shape == (48, 64, 2) and len(meta["frame_times_ms"]) == 2


def test_lazy_frames_decode_only_what_is_asked_for(tmp_path, monkeypatch):
    from monai_agglo.cine import decode as cine_decode
    from monai_agglo.cine import frames as cine_frames

    frames = moving_disc(frames=20)
    path = write_cine(tmp_path / "x.dcm", frames, "jpegls")
    decoded = []
    syntax = cine_decode.SYNTAXES["1.2.840.10008.1.2.4.80"]

    def counting(data, form):
        decoded.append(1)
        return syntax.decode(data, form)

    table = {**cine_decode.SYNTAXES, "1.2.840.10008.1.2.4.80": cine_decode.Syntax("counted", "frames", counting)}
    monkeypatch.setattr(cine_frames, "SYNTAXES", table)
    cine = open_cine(path)
    assert decoded == []
    np.testing.assert_array_equal(cine.read(slice(5, 8)), frames[5:8].transpose(1, 2, 0))
    assert len(decoded) == 3
    iterator = cine.frames()
    np.testing.assert_array_equal(next(iterator), frames[0])
    assert len(decoded) == 4
    assert len(list(cine)) == len(cine) == 20


def test_choosing_frames(tmp_path):
    frames = moving_disc(frames=10)
    cine = open_cine(write_cine(tmp_path / "x.dcm", frames))
    np.testing.assert_array_equal(cine.read(slice(-3, None)), frames[-3:].transpose(1, 2, 0))
    np.testing.assert_array_equal(cine.read([2, 7]), frames[[2, 7]].transpose(1, 2, 0))
    for bad in (slice(20, 30), [3, 2], [10], [-1], [], slice(None, None, -1)):
        with pytest.raises(CineReadError):
            cine.read(bad)


def test_frames_belong_to_the_caller(tmp_path):
    for syntax in ("explicit", "rle", "jpegls", "j2k", "deflated"):
        cine = open_cine(write_cine(tmp_path / f"{syntax}.dcm", moving_disc(), syntax))
        first = cine.read()
        for frame in cine.frames():
            assert frame.flags.writeable and frame.shape == (48, 64)
            frame[:] = 0
        np.testing.assert_array_equal(cine.read(), first)


def test_folder_of_instances_in_order(tmp_path):
    frames = moving_disc(frames=7)
    folder = write_series(tmp_path / "s", frames, kind="SC")
    (folder / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (folder / "notes.txt").write_text("x")
    np.testing.assert_array_equal(load(folder).numpy(), frames.transpose(1, 2, 0))
    paths = [str(item) for item in folder.iterdir() if item.name.startswith("im")]
    np.testing.assert_array_equal(LoadImage(reader=READER)(paths).numpy(), frames.transpose(1, 2, 0))
    assert open_cine(folder).meta["pseudonym"] != open_cine(paths[0]).meta["pseudonym"]


def test_folder_ordered_by_time_where_numbers_do_not_tell(tmp_path):
    frames = moving_disc(frames=5)

    def each(number):
        return {"InstanceNumber": 1, "ContentDate": "20240131", "ContentTime": f"10150{number}"}

    np.testing.assert_array_equal(open_cine(write_series(tmp_path / "s", frames, each=each)).read()[..., 3], frames[3])
    with pytest.raises(CineReadError, match="cannot be ordered"):
        open_cine(write_series(tmp_path / "t", frames, each=lambda number: {"InstanceNumber": 1}))


def test_copies_of_an_instance_count_once(tmp_path):
    frames = moving_disc(frames=4)
    folder = write_series(tmp_path / "s", frames)
    (folder / "copy").write_bytes((folder / "im0002").read_bytes())
    np.testing.assert_array_equal(open_cine(folder).read(), frames.transpose(1, 2, 0))


def test_mixed_folder_is_one_sentence_or_a_choice(tmp_path):
    write_series(tmp_path / "a", moving_disc(frames=3))
    write_series(tmp_path / "b", moving_disc(frames=4, seed=1))
    folder = tmp_path / "mixed"
    folder.mkdir()
    for part in "ab":
        for item in (tmp_path / part).iterdir():
            (folder / f"{part}{item.name}").write_bytes(item.read_bytes())
    write_cine(folder / "c.dcm", moving_disc(frames=5, seed=2))
    with pytest.raises(CineReadError, match="it contains 3 series or cines"):
        load(folder)
    assert [open_cine(folder, series=number).shape[2] for number in range(3)] == [3, 4, 5]
    with pytest.raises(CineReadError, match="series 3 does not exist"):
        open_cine(folder, series=3)


def test_folders_in_a_folder(tmp_path):
    frames = moving_disc(frames=3)
    write_series(tmp_path / "disc" / "IMAGES" / "S1", frames)
    (tmp_path / "disc" / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    np.testing.assert_array_equal(open_cine(tmp_path / "disc").read(), frames.transpose(1, 2, 0))


def test_folder_with_one_multiframe_file(tmp_path):
    frames = moving_disc()
    write_cine(tmp_path / "s" / "x", frames)
    np.testing.assert_array_equal(load(tmp_path / "s").numpy(), frames.transpose(1, 2, 0))


def test_instances_of_different_size(tmp_path):
    folder = write_series(tmp_path / "s", moving_disc(frames=3), each=lambda n: {"SeriesInstanceUID": "1.2.3"})
    write_series(tmp_path / "t", moving_disc(frames=2, rows=20), each=lambda n: {"SeriesInstanceUID": "1.2.3"})
    for item in (tmp_path / "t").iterdir():
        (folder / f"t{item.name}").write_bytes(item.read_bytes())
    with pytest.raises(CineReadError, match=r"differ in size|cannot be ordered"):
        open_cine(folder)


def test_batches_and_workers(tmp_path):
    paths = [{"image": str(write_cine(tmp_path / f"{n}.dcm", moving_disc(seed=n), tags=t))}
             for n, t in enumerate([{}, {"FrameTime": None}, {"PixelSpacing": [0.3, 0.3]}, {}])]  # fmt: skip
    transform = Compose([
        LoadImaged("image", reader=READER, ensure_channel_first=True),
        PseudonymizeMetad("image", drop=("frame_times_ms", "repeated_frames")),
    ])  # fmt: skip
    batches = list(DataLoader(Dataset(paths, transform), batch_size=2, num_workers=1))
    assert [batch["image"].shape for batch in batches] == [(2, 1, 48, 64, 6)] * 2
    one = next(iter(DataLoader(Dataset(paths[:1], Compose([LoadImaged("image", reader=READER)])), batch_size=1)))
    assert torch.stack(one["image"].meta["frame_times_ms"]).ravel().tolist()[1] == pytest.approx(33.333)


def test_saved_under_the_pseudonym_and_invertible(tmp_path):
    from monai.transforms import Resized

    path = write_cine(tmp_path / "Zaphodson_Trillian.dcm", moving_disc())
    transform = Compose([
        LoadImaged("image", reader=READER, ensure_channel_first=True),
        PseudonymizeMetad("image"),
        Resized("image", (24, 32, -1)),
    ])  # fmt: skip
    data = transform({"image": str(path)})
    inverted = Invertd("image", transform, orig_keys="image", nearest_interp=False)({"image": data["image"]})
    assert inverted["image"].shape == (1, 48, 64, 6)
    SaveImaged("image", output_dir=tmp_path / "out", output_postfix="x", resample=False, print_log=False)(data)
    (saved,) = (tmp_path / "out").rglob("*.nii.gz")
    assert saved.name == f"{data['image'].meta['pseudonym']}_x.nii.gz"


def test_readers_travel_to_other_processes(tmp_path):
    reader = pickle.loads(pickle.dumps(CineReader(frames=slice(0, 2))))
    path = str(write_cine(tmp_path / "x.dcm", moving_disc()))
    assert copy.deepcopy(reader).get_data(reader.read(path))[0].shape == (48, 64, 2)
    assert pickle.loads(pickle.dumps(open_cine(path))).read().shape == (48, 64, 6)
    error = pickle.loads(pickle.dumps(CineReadError("x: y")))
    assert str(error) == "x: y"


def test_view(tmp_path):
    cases = [
        ({"ViewPosition": "LL"}, "lateral"), ({"ViewPosition": "AP"}, "ap"),
        ({"PatientOrientation": ["A", "F"]}, "lateral"),
        ({"PatientOrientation": ["L", "F"]}, "ap"), ({"SeriesDescription": "VFSS LATERAL thin"}, "lateral"),
        ({"SeriesDescription": "VFSS a.p. view"}, None), ({"SeriesDescription": "AP view"}, "ap"), ({}, None),
    ]  # fmt: skip
    for tags, view in cases:
        assert open_cine(write_cine(tmp_path / "x.dcm", moving_disc(), tags=tags)).meta["view"] == view


def test_rescale_and_voi_give_float32_of_everything(tmp_path):
    from PIL import Image

    Image.fromarray(moving_disc(frames=1)[0]).save(tmp_path / "x.png")
    rgb = np.repeat(moving_disc()[..., None], 3, axis=-1)
    for path in (tmp_path / "x.png", write_cine(tmp_path / "x.dcm", rgb, kind="MFSCRGB")):
        for options in ({"rescale": True}, {"voi": True}):
            cine = open_cine(path, **options)
            assert cine.dtype == np.float32 and cine.read().dtype == np.float32 and next(iter(cine)).dtype == np.float32
        assert open_cine(path).read().dtype == np.uint8


def test_provenance(tmp_path, caplog):
    from pydicom.dataset import Dataset as Item
    from pydicom.sequence import Sequence as Items

    tags = {"LossyImageCompression": "01", "MaskSubtractionSequence": Items([Item()]), "PixelAspectRatio": ["4", "3"]}
    with caplog.at_level("WARNING"):
        meta = open_cine(write_cine(tmp_path / "x.dcm", moving_disc(bits=10), bits=10, tags=tags)).meta
    assert "mask subtraction" in caplog.text and str(tmp_path) not in caplog.text
    assert meta["nominal_fps"] == pytest.approx(30.0, abs=0.01)
    assert meta["lossy"] and meta["mask_subtraction"] and meta["bits_stored"] == 10
    assert meta["pixel_aspect"] == pytest.approx(4 / 3)
    assert meta["photometric"] == "MONOCHROME2" and meta["space"] == "RAS"


def test_unknown_option():
    with pytest.raises(TypeError, match="rescale"):
        open_cine("x.dcm", rescal=True)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads its memory from /proc")
@pytest.mark.parametrize(
    ("syntax", "count", "size"),
    [("explicit", 3000, 112), ("rle", 3000, 112), ("deflated", 1000, 192), ("h264", 1000, 192)],
)
def test_long_cines_in_constant_memory(tmp_path, syntax, count, size):
    some = moving_disc(frames=10, rows=size, cols=size)
    coded = [encode_rle(frame) for frame in some] * (count // 10) if syntax == "rle" else None
    path = write_cine(tmp_path / "x.dcm", np.concatenate([some] * (count // 10)), syntax, coded=coded)
    code = f"""
        import numpy as np
        from monai_agglo.cine import open_cine
        def peak():
            return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) // 1024
        import imagecodecs, av
        for frame in open_cine(r"{path}").frames(slice(0, 50)): pass
        before = peak()
        count = sum(1 for frame in open_cine(r"{path}").frames())
        print(count, peak() - before)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    found, grown = map(int, run.stdout.split())
    assert found == count
    assert grown < 20, f"{grown} MB more for a cine of {count * size * size >> 20} MB"

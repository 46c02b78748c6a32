"""NIfTI, NRRD and stills."""

import gzip
import struct
import zlib

import nibabel
import numpy as np
import pytest
from dicom_factory import moving_disc, write_cine
from monai.transforms import LoadImaged, SaveImaged

from monai_agglo.cine.cine import open_cine
from monai_agglo.cine.errors import CineReadError

FRAMES = moving_disc(frames=5)  # (T, H, W)
ROWS_FIRST = FRAMES.transpose(1, 2, 0)


def load(path):
    return LoadImaged("image", reader="monai_agglo.data.CineReader")({"image": str(path)})["image"]


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz", "x.nrrd", "noname"])
def test_volumes_written_by_itk(tmp_path, name):
    sitk = pytest.importorskip("SimpleITK")
    source = write_cine(tmp_path / "a.dcm", FRAMES, tags={"ImagerPixelSpacing": [0.4, 0.5], "FrameTime": None})
    image = sitk.ReadImage(str(source))
    path = tmp_path / (name if "." in name else "x.nii.gz")
    sitk.WriteImage(image, str(path), name.endswith(("gz", "nrrd")))
    if "." not in name:
        path = path.rename(tmp_path / name)
    ours, theirs = open_cine(source), open_cine(path)
    np.testing.assert_array_equal(theirs.read(), ours.read())
    np.testing.assert_allclose(theirs.meta["affine"], ours.meta["affine"], atol=1e-6)
    assert theirs.dtype == np.uint8 and theirs.shape == (48, 64, 5)
    np.testing.assert_array_equal(load(path).numpy(), ROWS_FIRST)


def test_volumes_written_by_saveimage(tmp_path):
    source = write_cine(tmp_path / "a.dcm", FRAMES, tags={"PixelSpacing": [0.3, 0.2]})
    data = LoadImaged("image", reader="monai_agglo.data.CineReader", ensure_channel_first=True)({"image": str(source)})
    SaveImaged("image", output_dir=tmp_path / "out", separate_folder=False, resample=False, print_log=False)(data)
    (path,) = (tmp_path / "out").glob("*.nii.gz")
    assert nibabel.load(path).shape == (48, 64, 5)
    cine = open_cine(path)
    np.testing.assert_array_equal(cine.read(), ROWS_FIRST)
    np.testing.assert_allclose(cine.meta["affine"], open_cine(source).meta["affine"], atol=1e-6)


def test_spacing_of_an_affine_is_not_calibrated(tmp_path):
    """ITK stores the spacing at the detector in a NIfTI file without stating it."""
    affine = open_cine(write_cine(tmp_path / "a.dcm", FRAMES, tags={"ImagerPixelSpacing": [0.4, 0.5]})).meta["affine"]
    nibabel.save(nibabel.Nifti1Image(ROWS_FIRST, affine), tmp_path / "x.nii")
    meta = open_cine(tmp_path / "x.nii").meta
    assert meta["spacing_mm"] is None and not meta["spacing_known"] and "does not say" in meta["spacing_source"]
    np.testing.assert_allclose(meta["affine"], affine, atol=1e-6)


def test_our_volumes_align_in_itk(tmp_path):
    """ITK places the pixels of our NIfTI file (rows first) as those of the DICOM file."""
    sitk = pytest.importorskip("SimpleITK")
    source = write_cine(tmp_path / "a.dcm", FRAMES, tags={"ImagerPixelSpacing": [0.4, 0.5], "FrameTime": None})
    cine = open_cine(source)
    nibabel.save(nibabel.Nifti1Image(cine.read(), cine.meta["affine"]), tmp_path / "x.nii.gz")
    theirs, ours = sitk.ReadImage(str(source)), sitk.ReadImage(str(tmp_path / "x.nii.gz"))
    moved = sitk.Resample(ours, theirs, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(moved), FRAMES)


def test_slices_of_a_volume(tmp_path):
    nibabel.save(nibabel.Nifti1Image(FRAMES.transpose(2, 1, 0), np.eye(4)), tmp_path / "x.nii.gz")
    cine = open_cine(tmp_path / "x.nii.gz")
    np.testing.assert_array_equal(cine.read(slice(1, 5, 2)), ROWS_FIRST[..., 1:5:2])
    assert cine.meta["spacing_known"] is False and cine.meta["frame_times_ms"] is None


def test_axes_and_scaling(tmp_path):
    image = FRAMES.transpose(2, 1, 0)
    nibabel.save(nibabel.Nifti1Image(image[..., 0], np.eye(4)), tmp_path / "still.nii")
    assert open_cine(tmp_path / "still.nii").read().shape == (48, 64, 1)
    timed = nibabel.Nifti1Image(image[:, :, None, :], np.eye(4))
    timed.header.set_xyzt_units("mm", "sec")
    timed.header["pixdim"][4] = 0.04
    nibabel.save(timed, tmp_path / "timed.nii.gz")
    cine = open_cine(tmp_path / "timed.nii.gz")
    np.testing.assert_array_equal(cine.read(), ROWS_FIRST)
    assert cine.meta["frame_times_ms"] == pytest.approx([0, 40, 80, 120, 160], rel=1e-5)
    scaled = nibabel.Nifti1Image(image.astype(np.int16), np.eye(4))
    scaled.header.set_slope_inter(2, -100)
    nibabel.save(scaled, tmp_path / "scaled.nii")
    expected = nibabel.load(tmp_path / "scaled.nii").get_fdata().transpose(1, 0, 2)
    np.testing.assert_allclose(open_cine(tmp_path / "scaled.nii").read(), expected, atol=0.01)
    many = nibabel.Nifti1Image(np.zeros((4, 4, 2, 3), np.uint8), np.eye(4))
    nibabel.save(many, tmp_path / "many.nii")
    with pytest.raises(CineReadError, match="4 axes"):
        open_cine(tmp_path / "many.nii")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_data_types_and_big_endian(tmp_path, dtype):
    sitk = pytest.importorskip("SimpleITK")
    frames = (FRAMES.astype(np.float64) * 3 - (0 if np.dtype(dtype).kind == "u" else 100)).astype(dtype)
    if dtype == np.uint8:
        frames = FRAMES
    for name in ("x.nii.gz", "x.nrrd"):
        sitk.WriteImage(sitk.GetImageFromArray(frames), str(tmp_path / name))
        array = open_cine(tmp_path / name).read()
        assert array.dtype == dtype
        np.testing.assert_array_equal(array, frames.transpose(1, 2, 0))
    big = nibabel.Nifti1Image(frames.transpose(2, 1, 0), np.eye(4), nibabel.Nifti1Header(endianness=">"))
    nibabel.save(big, tmp_path / "big.nii")
    np.testing.assert_array_equal(open_cine(tmp_path / "big.nii").read(), frames.transpose(1, 2, 0))


def test_colour_volumes(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    rgb = np.repeat(FRAMES[..., None], 3, axis=-1)
    sitk.WriteImage(sitk.GetImageFromArray(rgb, isVector=True), str(tmp_path / "x.nrrd"))
    np.testing.assert_array_equal(open_cine(tmp_path / "x.nrrd").read(), ROWS_FIRST)


def test_damaged_files(tmp_path):
    good = tmp_path / "x.nii"
    nibabel.save(nibabel.Nifti1Image(FRAMES.transpose(2, 1, 0), np.eye(4)), good)
    data = bytearray(good.read_bytes())
    bad = tmp_path / "bad.nii"
    bad.write_bytes(data[: len(data) // 2])
    with pytest.raises(CineReadError, match="cut off in frame"):
        open_cine(bad)
    bad.write_bytes(gzip.compress(bytes(data))[:-2000])
    with pytest.raises(CineReadError, match="cut off|damaged"):
        open_cine(bad).read()
    for place, value in (
        (42, b"\xff\x7f"),
        (70, b"\x63\x00"),
        (108, b"\x00\x00\xc0\xff"),
        (42, b"\x00\x00"),
        (40, b"\x09\x00"),
    ):
        mutant = data.copy()
        mutant[place : place + len(value)] = value
        bad.write_bytes(mutant)
        with pytest.raises(CineReadError):
            open_cine(bad).read()
    generator = np.random.default_rng(0)
    for _ in range(150):
        mutant = data.copy()
        for _ in range(4):
            mutant[int(generator.integers(344))] = int(generator.integers(256))
        bad.write_bytes(mutant)
        try:
            cine = open_cine(bad)
            assert cine.read().shape == cine.shape
        except CineReadError as error:
            assert "\n" not in str(error)
    header = b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4096 4096 20000\nencoding: gzip\n\n"
    bad.write_bytes(header + gzip.compress(bytes(1 << 20)))
    with pytest.raises(CineReadError, match="cannot hold"):
        open_cine(bad)
    for text in ("sizes: -4 4 4", "sizes: 4 4 4\nencoding: ascii", "sizes: 4 4 4\ndata file: /etc/passwd", "sizes: a"):
        bad.write_bytes(b"NRRD0004\ntype: uint8\n" + text.encode() + b"\n\n" + bytes(64))
        with pytest.raises(CineReadError):
            open_cine(bad).read()


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.bmp", "x.tif"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "I;16"])
def test_stills(tmp_path, name, mode):
    from PIL import Image

    grey = FRAMES[0]
    image = Image.fromarray(grey.astype(np.uint16) * 256) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    if (name.endswith(("jpg", "bmp")) and mode in ("RGBA", "I;16")) or (name == "x.jpg" and mode in ("P", "1")):
        pytest.skip(f"{name} has no mode {mode}")
    image.save(tmp_path / name, **({"quality": 95} if name == "x.jpg" else {}))
    array = load(tmp_path / name)
    assert array.shape == (48, 64, 1)
    expected = grey.astype(float) * (256 if mode == "I;16" else 1)
    if mode == "1":
        assert set(np.unique(array.numpy())) <= {0, 255}
    else:
        assert np.abs(array.numpy()[..., 0] - expected).mean() < 2
    assert array.meta["source_format"] == "still" and "frame_times_ms" not in array.meta


def test_large_stills_are_refused_before_decoding(tmp_path):
    from PIL import Image

    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    data = bytearray((tmp_path / "x.png").read_bytes())
    for size in (5_000, 60_000):
        data[16:24] = struct.pack(">2L", size, size)
        data[29:33] = struct.pack(">L", zlib.crc32(bytes(data[12:29])))
        (tmp_path / "x.png").write_bytes(data)
        with pytest.raises(CineReadError, match="more than"):
            open_cine(tmp_path / "x.png")


@pytest.mark.parametrize("name", ["x.nii.gz", "x.nrrd"])
def test_frame_time_stored_as_spacing(tmp_path, name):
    """Volumes of MONAI Label's DICOMweb store: (W, H, T) without tags, frame spacing in mm = frame time in ms."""
    sitk = pytest.importorskip("SimpleITK")
    source = write_cine(tmp_path / "a.dcm", FRAMES, tags={"ImagerPixelSpacing": [0.4, 0.5], "FrameTime": "33.3"})
    path = tmp_path / name
    sitk.WriteImage(sitk.ReadImage(str(source)), str(path))
    ours, theirs = open_cine(source, itk_frame_step=True), open_cine(path, itk_frame_step=True)
    np.testing.assert_array_equal(theirs.read(), ours.read())
    assert theirs.meta["frame_times_ms"] == pytest.approx(ours.meta["frame_times_ms"], rel=1e-5)
    assert theirs.meta["time_assumed"] and "ITK" in theirs.meta["time_source"]
    np.testing.assert_allclose(theirs.meta["affine"], ours.meta["affine"], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(theirs.meta["affine"][:3, :3], axis=0), [0.4, 0.5, 33.3], rtol=1e-5)
    plain = open_cine(path).meta["affine"]
    np.testing.assert_allclose(np.linalg.norm(plain[:3, :3], axis=0), [0.4, 0.5, 1], rtol=1e-5)


def test_implausible_frame_times_are_ignored(tmp_path):
    for step in (1.0, 5.0, 2000.0):
        nibabel.save(nibabel.Nifti1Image(FRAMES.transpose(2, 1, 0), np.diag([1, 1, step, 1])), tmp_path / "x.nii")
        assert open_cine(tmp_path / "x.nii").meta["frame_times_ms"] is None

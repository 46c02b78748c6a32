"""Greyscale conversion: rescale, VOI, lookup tables, palettes."""

import struct

import numpy as np
import pytest
from dicom_factory import moving_disc, write_cine
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from monai_agglo.cine.cine import open_cine
from monai_agglo.cine.errors import CineReadError
from monai_agglo.cine.palette import expand_segments


def table(first, values, bits=16):
    item = Dataset()
    item.LUTDescriptor = [len(values), first, bits]
    item.LUTData = struct.pack(f"<{len(values)}H", *values)
    item["LUTData"].VR = "OW"
    return Items([item])


def read(path, **options):
    return open_cine(path, **options).read().transpose(2, 0, 1)


def test_rescale(tmp_path):
    frames = moving_disc(bits=12)
    path = write_cine(tmp_path / "a.dcm", frames, bits=12, tags={"RescaleSlope": "2", "RescaleIntercept": "-1000"})
    assert read(path).dtype == np.uint16
    scaled = read(path, rescale=True)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, frames * 2.0 - 1000)


def test_window(tmp_path):
    frames = moving_disc(bits=12)
    tags = {"WindowCenter": "2048", "WindowWidth": "1000"}
    out = read(write_cine(tmp_path / "a.dcm", frames, bits=12, tags=tags), voi=True)
    expected = np.clip((frames - 2047.5) / 999 + 0.5, 0, 1) * 4095
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, expected, atol=0.01)
    tags["VOILUTFunction"] = "SIGMOID"
    out = read(write_cine(tmp_path / "b.dcm", frames, bits=12, tags=tags), voi=True)
    np.testing.assert_allclose(out, 4095 / (1 + np.exp(-4 * (frames - 2048.0) / 1000)), rtol=1e-4)
    tags["VOILUTFunction"] = "LINEAR_EXACT"
    out = read(write_cine(tmp_path / "c.dcm", frames, bits=12, tags=tags), voi=True)
    np.testing.assert_allclose(out, np.clip((frames - 2048.0) / 1000 + 0.5, 0, 1) * 4095, atol=0.01)


def test_monochrome1_is_inverted_after_the_window(tmp_path):
    frames = moving_disc(bits=12)
    tags = {"WindowCenter": "2048", "WindowWidth": "1000"}
    plain = read(write_cine(tmp_path / "a.dcm", frames, bits=12, tags=tags), voi=True)
    inverted = read(write_cine(tmp_path / "b.dcm", frames, bits=12, photometric="MONOCHROME1", tags=tags), voi=True)
    np.testing.assert_allclose(inverted, 4095 - plain, atol=0.01)


def test_modality_and_voi_tables(tmp_path):
    frames = moving_disc(bits=8)
    square = [int(v) ** 2 for v in range(256)]
    path = write_cine(tmp_path / "a.dcm", frames, tags={"ModalityLUTSequence": table(0, square)})
    np.testing.assert_array_equal(read(path, rescale=True), frames.astype(np.float32) ** 2)
    path = write_cine(tmp_path / "b.dcm", frames, tags={"VOILUTSequence": table(0, square)})
    np.testing.assert_allclose(read(path, voi=True), frames.astype(np.float64) ** 2 * 255 / 65535, rtol=1e-5)


def test_voi_without_a_window_in_the_file(tmp_path):
    frames = moving_disc(bits=12)
    np.testing.assert_allclose(read(write_cine(tmp_path / "a.dcm", frames, bits=12), voi=True), frames, rtol=1e-5)


def palette_tags(lut, bits=16):
    tags = {}
    for name, values in zip(("Red", "Green", "Blue"), lut.T):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [len(values), 0, bits]
        code = "H" if bits == 16 else "B"
        tags[f"{name}PaletteColorLookupTableData"] = struct.pack(f"<{len(values)}{code}", *values.tolist())
    return tags


@pytest.mark.parametrize("syntax", ["explicit", "rle"])
def test_palette(tmp_path, syntax):
    frames = moving_disc(bits=8)
    lut = np.random.default_rng(0).integers(0, 65536, (256, 3))
    path = write_cine(
        tmp_path / "a.dcm", frames, syntax, kind="US", photometric="PALETTE COLOR", tags=palette_tags(lut)
    )
    expected = np.rint(lut @ np.array([0.299, 0.587, 0.114])).astype(np.uint16)
    np.testing.assert_array_equal(read(path), expected[frames])


def test_palette_of_8_bits_stays_8_bits(tmp_path):
    frames = moving_disc(bits=8)
    lut = np.random.default_rng(0).integers(0, 256, (256, 3))
    expected = np.rint(lut @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    for name, tags in (("high byte", palette_tags(lut * 256)), ("8 bit", palette_tags(lut, 8))):
        out = read(write_cine(tmp_path / name, frames, kind="US", photometric="PALETTE COLOR", tags=tags))
        assert out.dtype == np.uint8
        np.testing.assert_array_equal(out, expected[frames])


def test_missing_palette(tmp_path):
    path = write_cine(tmp_path / "a.dcm", moving_disc(), kind="US", photometric="PALETTE COLOR")
    with pytest.raises(CineReadError, match="palette is missing"):
        open_cine(path)


def test_segmented_palette():
    # discrete 10, 20; linear to 60 in 4 steps; indirect: the first two segments again
    words = struct.pack("<12H", 0, 2, 10, 20, 1, 4, 60, 2, 2, 0, 0, 0)
    assert expand_segments(words, 12, 16).tolist() == [10, 20, 30, 40, 50, 60, 10, 20, 30, 40, 50, 60]
    bomb = struct.pack("<4H", 0, 1, 7, 0) + struct.pack("<3H", 1, 65535, 9) * 1000
    assert len(expand_segments(bomb, 256, 16)) <= 256 + 65535


def test_overlay_planes_and_shutters_are_not_applied(tmp_path):
    frames = moving_disc(bits=12)
    path = write_cine(tmp_path / "a.dcm", frames, bits=12)
    import pydicom

    dataset = pydicom.dcmread(path)
    dataset.add_new(0x60000010, "US", 48)
    dataset.add_new(0x60000011, "US", 64)
    dataset.add_new(0x60000022, "LO", "Zaphodson^Trillian")
    dataset.add_new(0x60003000, "OW", b"\xff" * (48 * 64 // 8))
    dataset.add_new(0x00181600, "CS", "RECTANGULAR")
    dataset.save_as(path)
    np.testing.assert_array_equal(read(path), frames)

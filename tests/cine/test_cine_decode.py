"""Decoding of all transfer syntaxes and pixel formats."""

import numpy as np
import pytest
from dicom_factory import EXACT, SYNTAX, encode, encode_rle, moving_disc, write_cine
from pydicom.dataset import Dataset

from monai_agglo.cine.cine import open_cine
from monai_agglo.cine.decode import SYNTAXES


def read(path, **options):
    """(frames, rows, columns), the axis order of the factory."""
    return open_cine(path, **options).read().transpose(2, 0, 1)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("syntax", EXACT)
def test_lossless_syntaxes_are_exact(tmp_path, syntax, bits):
    frames = moving_disc(bits=bits, rows=37, cols=51)
    cine = open_cine(write_cine(tmp_path / "a.dcm", frames, syntax, bits=bits))
    assert cine.shape == (37, 51, 6) and cine.dtype == frames.dtype
    array = cine.read()
    assert array.shape == (37, 51, 6) and array.dtype == frames.dtype
    np.testing.assert_array_equal(array, frames.transpose(1, 2, 0))
    assert not cine.meta["lossy"]


@pytest.mark.parametrize(
    ("syntax", "bits", "worst", "mean"),
    [
        ("jpeg", 8, 14, 2.5), ("jpeg12", 12, 14, 2.5), ("jpegls_near", 8, 2, 1.5), ("jpegls_near", 12, 2, 1.5),
        ("j2k_lossy", 8, 12, 2.0), ("htj2k_lossy", 8, 4, 1.0), ("htj2k_rpcl", 12, 0, 0.0),
        ("mpeg2", 8, 24, 4.0), ("h264", 8, 12, 2.0), ("hevc", 8, 24, 4.0),
    ],
)  # fmt: skip
def test_lossy_syntaxes_are_close(tmp_path, syntax, bits, worst, mean):
    frames = moving_disc(bits=bits)
    cine = open_cine(write_cine(tmp_path / "a.dcm", frames, syntax, bits=bits))
    difference = np.abs(cine.read().transpose(2, 0, 1).astype(int) - frames)
    assert difference.max() <= worst and difference.mean() <= mean
    assert cine.meta["lossy"] == (syntax not in ("htj2k_rpcl", "j2k_lossy", "htj2k_lossy"))


def test_syntax_table():
    assert set(SYNTAX.values()) <= set(SYNTAXES)
    for syntax in SYNTAXES.values():
        assert (syntax.decode is None) == (syntax.kind == "video")


@pytest.mark.parametrize("syntax", EXACT)
def test_signed_pixels(tmp_path, syntax):
    frames = moving_disc(bits=12).astype(np.int16) - 2048
    np.testing.assert_array_equal(read(write_cine(tmp_path / "a.dcm", frames, syntax, bits=12)), frames)


@pytest.mark.parametrize("syntax", ["explicit", "rle", "sv1", "j2k"])
@pytest.mark.parametrize("signed", [False, True])
def test_monochrome1_is_inverted_within_bits_stored(tmp_path, syntax, signed):
    frames = moving_disc(bits=10)
    frames = frames.astype(np.int16) - 512 if signed else frames
    inverted = read(write_cine(tmp_path / "a.dcm", frames, syntax, bits=10, photometric="MONOCHROME1"))
    expected = -1 - frames if signed else 1023 - frames
    np.testing.assert_array_equal(inverted, expected)
    assert inverted.dtype == frames.dtype


@pytest.mark.parametrize("syntax", ["explicit", "big", "rle", "encapsulated"])
def test_overlay_in_unused_bits_is_removed(tmp_path, syntax):
    frames = moving_disc(bits=12)
    overlaid = frames | np.uint16(0x9000)
    np.testing.assert_array_equal(read(write_cine(tmp_path / "a.dcm", overlaid, syntax, bits=12)), frames)


def test_samples_in_the_high_bits(tmp_path):
    frames = moving_disc(bits=10)
    path = write_cine(tmp_path / "a.dcm", frames << 6 | 5, bits=10, tags={"HighBit": 15})
    np.testing.assert_array_equal(read(path), frames)


def test_32_bits_and_8_bits_in_16(tmp_path):
    wide = moving_disc(bits=16).astype(np.uint32) * 65537
    np.testing.assert_array_equal(read(write_cine(tmp_path / "a.dcm", wide, "rle")), wide)
    narrow = moving_disc(bits=8).astype(np.uint16)
    for syntax in ("jpegls", "j2k", "sv1"):
        coded = [encode(frame.astype(np.uint8), syntax, _bits(8)) for frame in narrow]
        path = write_cine(tmp_path / f"{syntax}.dcm", narrow, syntax, bits=8, coded=coded)
        array = read(path)
        assert array.dtype == np.uint16
        np.testing.assert_array_equal(array, narrow)


def test_8_bit_frames_of_odd_size_in_big_endian_words(tmp_path):
    frames = moving_disc(frames=4, rows=5, cols=7)
    data = np.frombuffer(frames.tobytes(), "u2").byteswap().tobytes()
    path = write_cine(
        tmp_path / "a.dcm", frames.astype(np.uint16), "big", bits=8, pixel_data=data, tags={"BitsAllocated": 8}
    )
    np.testing.assert_array_equal(read(path), frames)


def test_odd_number_of_bytes(tmp_path):
    frames = moving_disc(frames=3, rows=5, cols=7)
    for syntax in ("explicit", "encapsulated", "deflated"):
        np.testing.assert_array_equal(read(write_cine(tmp_path / f"{syntax}.dcm", frames, syntax)), frames)


def _bits(stored):
    dataset = Dataset()
    dataset.BitsStored, dataset.PhotometricInterpretation = stored, "MONOCHROME2"
    return dataset


def colour_cine(bits=8):
    red, green, blue = (moving_disc(bits=bits, seed=seed) for seed in (1, 2, 3))
    return np.stack([red, green[:, ::-1], blue[:, :, ::-1]], axis=-1)


def luminance(rgb):
    return np.rint(rgb @ np.array([0.299, 0.587, 0.114])).astype(int)


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big", "deflated", "rle", "sv1", "jpegls", "j2k", "htj2k"])
def test_luminance_of_rgb(tmp_path, syntax, planar):
    rgb = colour_cine()
    grey = read(
        write_cine(tmp_path / "a.dcm", rgb, syntax, kind="MFSCRGB", planar=planar and syntax in ("explicit", "big"))
    )
    assert grey.dtype == np.uint8
    assert np.abs(grey - luminance(rgb)).max() <= 1


def test_16_bit_rgb(tmp_path):
    rgb = colour_cine(bits=16)
    for syntax in ("explicit", "rle"):
        grey = read(write_cine(tmp_path / f"{syntax}.dcm", rgb, syntax, kind="SC"))
        assert grey.dtype == np.uint16 and np.abs(grey.astype(int) - luminance(rgb)).max() <= 1


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_jpeg_colour_spaces(tmp_path, photometric):
    y, x = np.mgrid[:64, :64]
    rgb = np.stack([4 * x, 4 * y, 255 - 4 * x], axis=-1).astype(np.uint8)[None]
    grey = read(write_cine(tmp_path / "a.dcm", rgb, "jpeg", kind="MFSCRGB", photometric=photometric))
    assert np.abs(grey - luminance(rgb)).mean() < 1.5


def to_ybr(rgb):
    matrix = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    return np.clip(np.rint(rgb @ matrix.T + [0, 128, 128]), 0, 255).astype(np.uint8)


def test_uncompressed_ybr(tmp_path):
    rgb = colour_cine()
    ybr = to_ybr(rgb)
    for syntax in ("explicit", "rle", "sv1", "jpegls"):
        path = write_cine(tmp_path / f"{syntax}.dcm", ybr, syntax, kind="US", photometric="YBR_FULL")
        np.testing.assert_array_equal(read(path), ybr[..., 0])


def test_uncompressed_422(tmp_path):
    ybr = to_ybr(colour_cine())
    shared = ybr[:, :, ::2, 1:]
    data = np.stack([ybr[:, :, ::2, 0], ybr[:, :, 1::2, 0], shared[..., 0], shared[..., 1]], axis=-1).tobytes()
    path = write_cine(tmp_path / "a.dcm", ybr, kind="US", photometric="YBR_FULL_422", pixel_data=data)
    np.testing.assert_array_equal(read(path), ybr[..., 0])


@pytest.mark.parametrize("offsets", [True, False])
@pytest.mark.parametrize("fragments", [1, 3])
@pytest.mark.parametrize("syntax", ["jpeg", "jpegls", "j2k"])
def test_fragments_with_and_without_offset_table(tmp_path, syntax, fragments, offsets):
    frames = moving_disc(rows=64, cols=96)
    whole = read(write_cine(tmp_path / "whole.dcm", frames, syntax))
    path = write_cine(tmp_path / "a.dcm", frames, syntax, fragments=fragments, offsets=offsets)
    np.testing.assert_array_equal(read(path), whole)


def test_extended_offset_table(tmp_path):
    frames = moving_disc()
    coded = [encode_rle(frame) for frame in frames]
    starts = np.cumsum([0, *(len(code) + 8 for code in coded)])[:-1]
    tags = {
        "ExtendedOffsetTable": starts.astype("<u8").tobytes(),
        "ExtendedOffsetTableLengths": np.array([len(code) for code in coded], "<u8").tobytes(),
    }
    path = write_cine(tmp_path / "a.dcm", frames, "rle", offsets=False, coded=coded, tags=tags)
    np.testing.assert_array_equal(read(path), frames)


def test_gdcm_is_never_imported(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "gdcm", None)
    monkeypatch.setitem(sys.modules, "pylibjpeg", None)
    frames = moving_disc(bits=12)
    for syntax in ("sv1", "jpegls", "j2k", "rle"):
        np.testing.assert_array_equal(read(write_cine(tmp_path / f"{syntax}.dcm", frames, syntax, bits=12)), frames)


def test_broadcast_range_is_stretched(tmp_path):
    ybr = np.full((2, 4, 6, 3), 128, np.uint8)
    ybr[0, ..., 0], ybr[1, ..., 0] = 16, 235
    path = write_cine(tmp_path / "a.dcm", ybr, "rle", kind="US", photometric="YBR_PARTIAL_420")
    assert np.unique(read(path)[0]).tolist() == [0] and np.unique(read(path)[1]).tolist() == [255]

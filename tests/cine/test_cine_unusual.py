"""Rare and non-conformant files of real writers."""

import imagecodecs
import numpy as np
import pydicom
import pytest
from dicom_factory import encode_rle, moving_disc, write_cine
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from monai_agglo.cine.cine import open_cine
from monai_agglo.cine.errors import CineReadError
from monai_agglo.cine.header import is_dicom

FRAMES = moving_disc(frames=4)
BIT = {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}


def read(path):
    return open_cine(path).read().transpose(2, 0, 1)


def elements(path, syntax):
    """Encoded data set of a file, without preamble and meta group."""
    source = pydicom.dcmread(path)
    dataset = pydicom.Dataset()
    dataset.update({element.tag: element for element in source})
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = syntax != "big", syntax == "implicit"
    write_dataset(stream, dataset)
    return stream.getvalue()


@pytest.mark.parametrize("opening", [b"", b"\0" * 128 + b"DICM"])
@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big"])
def test_without_a_meta_group(tmp_path, syntax, opening):
    path = write_cine(tmp_path / "a", FRAMES.astype(np.uint16) * 200, syntax)
    path.write_bytes(opening + elements(path, syntax))
    assert is_dicom(path)
    np.testing.assert_array_equal(read(path), FRAMES.astype(np.uint16) * 200)


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big", "deflated", "rle"])
def test_without_a_preamble(tmp_path, syntax):
    path = write_cine(tmp_path / "a", FRAMES, syntax)
    path.write_bytes(path.read_bytes()[132:])
    np.testing.assert_array_equal(read(path), FRAMES)


def test_series_without_preambles(tmp_path):
    for number, frame in enumerate(FRAMES):
        tags = {"InstanceNumber": number, "SeriesInstanceUID": "1.2.3", "NumberOfFrames": None}
        path = write_cine(tmp_path / f"{9 - number}", frame[None], kind="SC", tags=tags)
        path.write_bytes(elements(path, "explicit"))
    np.testing.assert_array_equal(read(tmp_path), FRAMES)


@pytest.mark.parametrize(
    "data", [b"\x08\0", b"\x08\0\x05\0" * 300, b"\0\x08" * 600, b"\x02\0\0\0UL", b"\x08\0\x16\0UI\x04\0"]
)
def test_files_that_resemble_dicom(tmp_path, data):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(CineReadError, match="DICOM|no pixel data|transfer syntax"):
        open_cine(tmp_path / "a")


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "deflated"])
def test_single_bit_frames_are_packed_without_padding(tmp_path, syntax):
    frames = np.random.default_rng(0).integers(0, 2, (5, 7, 9)).astype(np.uint8)  # 63 pixels, not a multiple of 8
    packed = np.packbits(frames.reshape(-1), bitorder="little").tobytes()
    path = write_cine(tmp_path / "a", frames, syntax, kind="MFSC8", tags=BIT, pixel_data=packed)
    np.testing.assert_array_equal(read(path), frames)
    np.testing.assert_array_equal(open_cine(path).read([1, 4]).transpose(2, 0, 1), frames[[1, 4]])
    path = write_cine(tmp_path / "b", frames, syntax, "MFSC8", photometric="MONOCHROME1", tags=BIT, pixel_data=packed)
    np.testing.assert_array_equal(read(path), 1 - frames)
    path = write_cine(tmp_path / "c", frames, syntax, kind="MFSC8", tags=BIT, pixel_data=packed[:20])
    with pytest.raises(CineReadError, match="NumberOfFrames is 5 but the pixel data hold 2"):
        open_cine(path)


def test_422_decompressed_to_full_size(tmp_path):
    colour = np.stack([FRAMES, 255 - FRAMES, FRAMES // 2], axis=-1)
    path = write_cine(tmp_path / "a", colour, kind="MFSCRGB", photometric="YBR_FULL_422")
    np.testing.assert_array_equal(read(path), FRAMES)


def test_jfif_is_ybr_despite_the_header(tmp_path):
    colour = np.stack([FRAMES, FRAMES // 2, 255 - FRAMES], axis=-1)
    coded = [imagecodecs.jpeg8_encode(frame, level=95, colorspace="RGB", outcolorspace="YCBCR") for frame in colour]
    assert all(b"JFIF" in code for code in coded)
    path = write_cine(tmp_path / "a", colour, "jpeg", kind="MFSCRGB", photometric="RGB", coded=coded)
    difference = np.abs(read(path) - colour @ np.array([0.299, 0.587, 0.114]))
    assert difference.mean() < 2 and difference.max() < 12  # JPEG loss; 99 if read as RGB


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("padding", [1, 2, 10, 5000])
def test_rle_padded_by_more_than_a_byte(tmp_path, bits, padding):
    frames = moving_disc(frames=2, bits=bits)
    coded = [encode_rle(frame) + b"\0" * padding for frame in frames]
    np.testing.assert_array_equal(read(write_cine(tmp_path / "a", frames, "rle", bits=bits, coded=coded)), frames)


def test_jpeg_padded_to_a_block(tmp_path):
    code = imagecodecs.jpeg8_encode(FRAMES[0], level=95)
    plain = read(write_cine(tmp_path / "a", FRAMES[:1], "jpeg", coded=[code]))
    padded = read(write_cine(tmp_path / "b", FRAMES[:1], "jpeg", coded=[code + b"\0" * (4096 - len(code) % 4096)]))
    np.testing.assert_array_equal(plain, padded)

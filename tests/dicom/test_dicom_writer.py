"""Round trip of the frame-by-frame writer in all transfer syntaxes."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from monai_agglo.dicom.multi_frame_writer import TRANSFER_SYNTAXES, MultiFrameWriter, transfer_syntax_uid


def header(frames, bits, rows=13, columns=11):
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.12.2", "2.25.1"
    ds.Rows, ds.Columns, ds.NumberOfFrames = rows, columns, frames
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = (8 if bits <= 8 else 16), bits, bits - 1
    ds.SamplesPerPixel, ds.PixelRepresentation, ds.PhotometricInterpretation = 1, 0, "MONOCHROME2"
    return ds


def write(path, frames, bits, syntax):
    with MultiFrameWriter(path, header(len(frames), bits), syntax) as writer:
        for frame in frames:
            writer.append(writer.encode(frame))


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
def test_round_trip(tmp_path, syntax, bits):
    # an odd number of pixels: native data and compressed frames need padding
    frames = np.random.default_rng(bits).integers(0, 1 << bits, (3, 13, 11)).astype(np.uint16)
    write(tmp_path / "a.dcm", frames, bits, syntax)
    ds = pydicom.dcmread(tmp_path / "a.dcm")
    assert ds.file_meta.TransferSyntaxUID == TRANSFER_SYNTAXES[syntax]
    np.testing.assert_array_equal(ds.pixel_array, frames)


@pytest.mark.parametrize("syntax", ["jpegls", "rle"])
def test_offset_table(tmp_path, syntax):
    frames = np.random.default_rng(0).integers(0, 255, (4, 13, 11)).astype(np.uint8)
    write(tmp_path / "a.dcm", frames, 8, syntax)
    data = pydicom.dcmread(tmp_path / "a.dcm").PixelData
    assert len(data) % 2 == 0
    offsets = np.frombuffer(data[8:24], "<u4")
    for offset in offsets:
        assert data[24 + offset : 28 + offset] == b"\xfe\xff\x00\xe0"  # an item starts there
    lengths = [int.from_bytes(data[28 + o : 32 + o], "little") for o in offsets]
    np.testing.assert_array_equal(np.diff(offsets), np.array(lengths[:-1]) + 8)


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
def test_precision_matches_the_header(tmp_path, syntax):
    """A dark 12-bit frame is not encoded with fewer bits than BitsStored."""
    write(tmp_path / "a.dcm", np.full((1, 13, 11), 5, np.uint16), 12, syntax)
    data = pydicom.dcmread(tmp_path / "a.dcm").PixelData
    if syntax == "jpegls":
        assert data[data.index(b"\xff\xf7") + 4] == 12
    else:
        assert pydicom.dcmread(tmp_path / "a.dcm").pixel_array.max() == 5


def test_output_is_reproducible(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (2, 13, 11)).astype(np.uint8)
    for name in "ab":
        write(tmp_path / name, frames, 8, "jpegls")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_inconsistent_frames(tmp_path):
    with MultiFrameWriter(tmp_path / "a.dcm", header(1, 8), "none") as writer:
        with pytest.raises(ValueError, match="256 does not fit 8 bits"):
            writer.encode(np.full((13, 11), 256, np.uint16))
        with pytest.raises(ValueError, match="12 x 11"):
            writer.encode(np.zeros((12, 11), np.uint8))
        writer.append(writer.encode(np.zeros((13, 11), np.uint8)))
    with (
        pytest.raises(ValueError, match="1 frames were written, but NumberOfFrames is 2"),
        MultiFrameWriter(tmp_path / "b.dcm", header(2, 8), "rle") as writer,
    ):
        writer.append(writer.encode(np.zeros((13, 11), np.uint8)))
    with pytest.raises(ValueError, match="4 GiB"):
        MultiFrameWriter(tmp_path / "c.dcm", header(9000, 12, 512, 512), "none")


def test_transfer_syntax_by_name_or_uid():
    assert transfer_syntax_uid("rle") == transfer_syntax_uid(TRANSFER_SYNTAXES["rle"]) == "1.2.840.10008.1.2.5"
    with pytest.raises(ValueError, match="choose one of jpegls, rle, none"):
        transfer_syntax_uid("h264")

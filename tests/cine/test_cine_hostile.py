"""Inconsistent, damaged and malicious files: a one-line error in bounded time and memory."""

import contextlib
import struct
import zlib

import numpy as np
import pytest
from dicom_factory import BASE, EXACT, SYNTAX, encode, encode_rle, moving_disc, write_cine

from monai_agglo.cine.cine import open_cine
from monai_agglo.cine.errors import CineReadError

LIMIT_MB = 300


@pytest.fixture(autouse=True)
def bounded():
    """Limit each test to 30 s of processor time and 300 MB of additional memory."""
    import time

    resource = pytest.importorskip("resource")
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - start < 30
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < LIMIT_MB


def refused(path, match, **options):
    with pytest.raises(CineReadError, match=match) as caught:
        open_cine(path, **options).read()
    message = str(caught.value)
    assert "\n" not in message and len(message) < 400
    return message


FRAMES = moving_disc(frames=4)
ENCAPSULATED = ("rle", "jpeg", "sv1", "jpegls", "j2k", "htj2k", "encapsulated")


@pytest.mark.parametrize("stated", [1, 2, 3, 5, 40, 20_000])
@pytest.mark.parametrize("offsets", [True, False])
@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big", "deflated", *ENCAPSULATED])
def test_wrong_number_of_frames(tmp_path, syntax, offsets, stated):
    path = write_cine(tmp_path / "x.dcm", FRAMES, syntax, tags={"NumberOfFrames": stated}, offsets=offsets)
    message = refused(path, "NumberOfFrames|cut off|has .* bytes")
    assert str(stated) in message


@pytest.mark.parametrize("syntax", ["jpeg", "jpegls"])
@pytest.mark.parametrize("stated", [1, 2, 8])
def test_wrong_number_of_frames_with_fragments(tmp_path, syntax, stated):
    path = write_cine(tmp_path / "x.dcm", FRAMES, syntax, fragments=2, offsets=False, tags={"NumberOfFrames": stated})
    if stated == 8:  # eight fragments look like eight frames until decoded
        refused(path, "damaged|NumberOfFrames")
    else:
        refused(path, "pixel data hold 4")


@pytest.mark.parametrize("syntax", ["mpeg2", "h264", "hevc"])
@pytest.mark.parametrize("stated", [2, 9])
def test_wrong_number_of_frames_of_a_video(tmp_path, syntax, stated):
    path = write_cine(tmp_path / "x.dcm", FRAMES, syntax, tags={"NumberOfFrames": stated})
    refused(path, f"NumberOfFrames is {stated} but the video holds 4")


@pytest.mark.parametrize("stated", [0, -3, 10**9, "1A", "2.5", "nan"])
def test_invalid_number_of_frames(tmp_path, stated):
    path = write_cine(tmp_path / "x.dcm", FRAMES, tags={"NumberOfFrames": None})
    raw = str(stated).encode()
    raw += b" " * (len(raw) % 2)
    data = path.read_bytes()
    element = struct.pack("<HH2sH", 0x0028, 0x0008, b"IS", len(raw)) + raw
    place = data.index(struct.pack("<HH", 0x0028, 0x0009))
    path.write_bytes(data[:place] + element + data[place:])
    refused(path, "NumberOfFrames|frames")


@pytest.mark.parametrize("tags", [
    {"Rows": 0}, {"Columns": 0}, {"Rows": None}, {"Rows": 65535, "Columns": 65535}, {"Rows": 65535, "Columns": 300},
    {"BitsAllocated": 12}, {"BitsAllocated": 1}, {"BitsAllocated": 64}, {"BitsAllocated": None}, {"BitsStored": 17},
    {"BitsStored": 0}, {"HighBit": 3}, {"SamplesPerPixel": 4}, {"SamplesPerPixel": 3}, {"SamplesPerPixel": 0},
    {"PhotometricInterpretation": "CMYK"}, {"PhotometricInterpretation": "RGB"}, {"Columns": 63}, {"Columns": 640},
])  # fmt: skip
@pytest.mark.parametrize("syntax", ["explicit", "rle", "jpeg", "jpegls", "j2k"])
def test_inconsistent_headers(tmp_path, syntax, tags):
    path = write_cine(tmp_path / "x.dcm", FRAMES, syntax, tags=tags)
    if syntax == "explicit" and tags == {"Columns": 63}:  # trailing bytes are padding
        assert open_cine(path).shape == (48, 63, 4)
    else:
        refused(path, ".")


@pytest.mark.parametrize("syntax", ["rle", "jpeg", "sv1", "jpegls", "j2k", "htj2k", "explicit", "deflated", "h264"])
def test_large_dimensions_in_a_small_file(tmp_path, syntax):
    for rows, cols in ((4096, 4096), (65535, 65535), (4096, 4000)):
        path = write_cine(tmp_path / "x.dcm", FRAMES[:2], syntax, tags={"Rows": rows, "Columns": cols})
        refused(path, ".")


def test_large_codestreams_are_refused_before_decoding(tmp_path):
    """Header and codestream agree on a size above the limit."""
    for syntax in ("jpeg", "jpegls", "j2k"):
        code = bytearray(encode(FRAMES[0], syntax, _dataset()))
        if syntax == "j2k":
            at = code.index(b"\xff\x51") + 6
            code[at : at + 8] = struct.pack(">2L", 60000, 60000)
        else:
            at = code.index(b"\xff\xc0" if syntax == "jpeg" else b"\xff\xf7") + 5
            code[at : at + 4] = struct.pack(">2H", 60000, 60000)
        tags = {"Rows": 60000, "Columns": 60000, "NumberOfFrames": 1}
        refused(write_cine(tmp_path / "x.dcm", FRAMES[:1], syntax, coded=[bytes(code)], tags=tags), "more than")


@pytest.mark.parametrize("syntax", [*EXACT, "jpeg", "h264", "mpeg2", "hevc"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_truncated_files(tmp_path, syntax, part):
    path = write_cine(tmp_path / "x.dcm", FRAMES, syntax)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    refused(path, ".")


def test_frames_before_a_damaged_one_are_read(tmp_path):
    path = write_cine(tmp_path / "x.dcm", FRAMES, "rle", coded=[*map(encode_rle, FRAMES[:3]), b"\0" * 64])
    iterator = open_cine(path).frames()
    for frame in FRAMES[:3]:
        np.testing.assert_array_equal(next(iterator), frame)
    with pytest.raises(CineReadError, match="frame 4 of 4 is damaged"):
        next(iterator)


def test_unsupported_syntaxes(tmp_path):
    for uid in (f"{BASE}.4.94", "1.2.840.113619.5.2", "9.9.9", f"{BASE}.4.93"):
        path = write_cine(tmp_path / "x.dcm", FRAMES, uid, coded=[b"\0" * 64])
        refused(path, "transfer syntax is not supported")


def test_without_transfer_syntax_or_pixel_data(tmp_path):
    path = write_cine(tmp_path / "x.dcm", FRAMES, "jpeg")
    data = path.read_bytes()
    path.write_bytes(data.replace(SYNTAX["jpeg"].encode(), b"\0" * len(SYNTAX["jpeg"]), 1))
    refused(path, "compressed, but the file does not state its transfer syntax")
    path.write_bytes(data[: data.index(struct.pack("<HH", 0x0008, 0x0016))])
    refused(path, "transfer syntax|no pixel data")
    data = write_cine(path, FRAMES).read_bytes()
    place = data.index(struct.pack("<HH", 0x7FE0, 0x0010))
    path.write_bytes(data[:place])
    refused(path, "no pixel data")
    path.write_bytes(data[: place + 6])
    refused(path, "no pixel data")


def test_uncompressed_syntax_with_compressed_pixels(tmp_path):
    path = write_cine(tmp_path / "x.dcm", FRAMES, "jpeg")
    data = path.read_bytes()
    old = SYNTAX["jpeg"].encode() + b"\0" * (len(SYNTAX["jpeg"]) % 2)
    new = SYNTAX["explicit"].encode().ljust(len(old), b"\0")
    path.write_bytes(data.replace(old, new, 1))
    refused(path, "transfer syntax is uncompressed")


def deflated(header_extra=b"", pixels=b"", zeros=(0, 0), rows=512, frames=1):
    """A handmade deflated file with runs of zeros (in MB) before and in its pixel data."""

    def element(group, number, vr, value):
        if vr in (b"OB", b"OW", b"UN", b"UT"):
            return struct.pack("<HH2sHL", group, number, vr, 0, len(value)) + value
        value += b" " * (len(value) % 2)
        return struct.pack("<HH2sH", group, number, vr, len(value)) + value

    body = element(8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.12.2\0") + element(8, 0x60, b"CS", b"RF")
    body += element(0x28, 2, b"US", struct.pack("<H", 1)) + element(0x28, 4, b"CS", b"MONOCHROME2")
    body += element(0x28, 8, b"IS", str(frames).encode())
    for number, value in ((0x10, rows), (0x11, rows), (0x100, 8), (0x101, 8), (0x102, 7), (0x103, 0)):
        body += element(0x28, number, b"US", struct.pack("<H", value))
    last = struct.pack("<HH2sHL", 0x7FE0, 0x10, b"OB", 0, min(rows * rows * frames, 0xFFFFFFFE)) + pixels
    meta = element(2, 0x10, b"UI", SYNTAX["deflated"].encode())
    meta = element(2, 0, b"UL", struct.pack("<L", len(meta))) + meta
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    parts = [packer.compress(header_extra), *(packer.compress(bytes(1 << 20)) for _ in range(zeros[0]))]
    parts += [packer.compress(body + last), *(packer.compress(bytes(1 << 20)) for _ in range(zeros[1])), packer.flush()]
    return b"\0" * 128 + b"DICM" + meta + b"".join(parts)


def test_deflate_bombs(tmp_path):
    path = tmp_path / "x.dcm"
    data = deflated(struct.pack("<HH2sHL", 7, 0x1010, b"OB", 0, 300 << 20), zeros=(300, 0))
    assert len(data) < 1 << 20
    path.write_bytes(data)
    refused(path, "deflate bomb")
    path.write_bytes(deflated(zeros=(0, 256), rows=512, frames=1024))
    refused(path, "deflate bomb")
    path.write_bytes(deflated(zeros=(0, 1), frames=20_000))
    refused(path, "deflate bomb|cut off|has .* bytes|NumberOfFrames")


def test_damaged_deflated_files(tmp_path):
    frame = moving_disc(frames=1, rows=512, cols=512)[0]
    data = deflated(pixels=frame.tobytes())
    path = tmp_path / "x.dcm"
    path.write_bytes(data)
    np.testing.assert_array_equal(open_cine(path).read()[..., 0], frame)
    path.write_bytes(data[:-20_000])
    refused(path, "cut off|damaged")
    middle = len(data) // 2
    path.write_bytes(data[:middle] + bytes(50) + data[middle + 50 :])
    with contextlib.suppress(CineReadError):  # raw deflate has no checksum: damage may decode to another image
        assert open_cine(path).read().shape == (512, 512, 1)
    path.write_bytes(data[:600] + bytes(10) + data[610:])
    with contextlib.suppress(CineReadError):
        assert open_cine(path).read().shape == (512, 512, 1)


def test_header_elements_of_four_gigabytes(tmp_path):
    path = write_cine(tmp_path / "x.dcm", FRAMES)
    data = path.read_bytes()
    place = data.index(struct.pack("<HH", 0x0028, 0x0002))
    for tag in ((0x0020, 0x4000), (0x0021, 0x1010), (0x0008, 0x2218)):
        huge = struct.pack("<HH2sHL", *tag, b"UN", 0, 0xFFFFFFF0)
        path.write_bytes(data[:place] + huge + data[place:])
        refused(path, ".")


def test_deep_nesting(tmp_path):
    path = write_cine(tmp_path / "x.dcm", FRAMES)
    data = path.read_bytes()
    place = data.index(struct.pack("<HH", 0x0028, 0x0002))
    level = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    path.write_bytes(data[:place] + level * 20_000 + data[place:])
    refused(path, ".")


def test_a_million_fragments(tmp_path):
    path = write_cine(tmp_path / "x.dcm", FRAMES, "rle")
    data = path.read_bytes()
    place = data.index(struct.pack("<HH", 0x7FE0, 0x0010)) + 12
    path.write_bytes(data[:place] + struct.pack("<HHL", 0xFFFE, 0xE000, 0) * 1_000_000)
    refused(path, ".")
    path.write_bytes(data[:place] + (struct.pack("<HHL", 0xFFFE, 0xE000, 2) + b"ab") * 600_000)
    refused(path, "fragments")


def test_rle_bomb(tmp_path):
    segment = b"\x81\x00" * 1_000_000  # 128 zeros each: 128 MB
    bomb = struct.pack("<16L", 1, 64, *[0] * 14) + segment
    with contextlib.suppress(CineReadError):
        array = open_cine(write_cine(tmp_path / "x.dcm", FRAMES[:1], "rle", coded=[bomb])).read()
        assert array.shape == (48, 64, 1)


@pytest.mark.parametrize(
    "syntax", ["rle", "jpeg", "jpeg12", "sv1", "lossless", "jpegls", "j2k", "htj2k", "deflated", "explicit"]
)
def test_mutated_files(tmp_path, syntax):
    """Random mutations give an array of the stated shape or CineReadError."""
    bits = 12 if syntax in ("jpeg12", "sv1") else 8
    path = write_cine(tmp_path / "x.dcm", moving_disc(frames=2, rows=24, cols=32, bits=bits), syntax, bits=bits)
    data = path.read_bytes()
    generator = np.random.default_rng(7)
    outcomes = set()
    for _ in range(60):
        mutant = bytearray(data)
        for _ in range(int(generator.integers(1, 6))):
            mutant[int(generator.integers(132, len(mutant)))] = int(generator.integers(256))
        path.write_bytes(mutant)
        try:
            cine = open_cine(path)
            array = cine.read()
            assert array.shape == cine.shape and array.dtype == cine.dtype
            outcomes.add("array")
        except CineReadError as error:
            assert "\n" not in str(error)
            outcomes.add("error")
    assert outcomes == {"array", "error"} or syntax in ("explicit", "deflated")


def _dataset():
    from pydicom.dataset import Dataset

    dataset = Dataset()
    dataset.BitsStored, dataset.PhotometricInterpretation = 8, "MONOCHROME2"
    return dataset

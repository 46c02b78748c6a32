"""Reading speed relative to the bare decoder and to pydicom, measured in interleaved runs."""

import time

import numpy as np
import pytest
from dicom_factory import encode, encode_rle, moving_disc, write_cine

from monai_agglo.cine.cine import open_cine


def best(call, repeats=3):
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


@pytest.mark.parametrize(
    ("syntax", "bits"), [("jpeg", 8), ("jpeg12", 12), ("sv1", 12), ("jpegls", 12), ("j2k", 8), ("rle", 12)]
)
def test_overhead_over_the_decoder(tmp_path, syntax, bits):
    import imagecodecs
    from pydicom.dataset import Dataset

    dataset = Dataset()
    dataset.BitsStored, dataset.PhotometricInterpretation = bits, "MONOCHROME2"
    frames = moving_disc(frames=3, rows=512, cols=512, bits=bits)
    coded = [encode_rle(frame) if syntax == "rle" else encode(frame, syntax, dataset) for frame in frames]
    coded = coded * (1 if syntax == "j2k" else 3)
    path = write_cine(tmp_path / "x.dcm", np.concatenate([frames] * (len(coded) // 3)), syntax, bits=bits, coded=coded)
    decode = {
        "jpeg": imagecodecs.jpeg8_decode, "jpeg12": imagecodecs.jpeg8_decode, "sv1": imagecodecs.jpeg8_decode,
        "jpegls": imagecodecs.jpegls_decode, "j2k": imagecodecs.jpeg2k_decode,
        "rle": lambda code: imagecodecs.dicomrle_decode(code, "<u2"),
    }[syntax]  # fmt: skip
    for _ in range(8):  # repeat on a busy machine
        alone = best(lambda: [decode(code) for code in coded])
        ours = best(lambda: open_cine(path).read())
        if ours / alone < 1.2:
            break
    assert ours / alone < 2, (
        f"{syntax}: {ours / len(coded) * 1e3:.2f} ms per frame, decoder {alone / len(coded) * 1e3:.2f} ms"
    )


@pytest.mark.parametrize("syntax", ["explicit", "implicit"])
def test_uncompressed_frames_against_pydicom(tmp_path, syntax):
    import pydicom

    frames = np.concatenate([moving_disc(frames=2, rows=512, cols=512, bits=12)] * 30)
    path = write_cine(tmp_path / "x.dcm", frames, syntax, bits=12)
    for _ in range(4):
        theirs = best(lambda: pydicom.dcmread(path).pixel_array)
        ours = best(lambda: open_cine(path).read())
        if ours / theirs < 1.2:
            break
    assert ours / theirs < 1.5

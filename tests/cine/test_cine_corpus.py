"""Real DICOM files: each gives an array equal to pydicom's and ITK's, or a one-line error."""

import csv
import time
import warnings

import numpy as np
import pydicom
import pytest

from monai_agglo.cine.cine import open_cine
from monai_agglo.cine.errors import CineReadError
from monai_agglo.cine.palette import palette_to_grey

ACCEPTED = ("XA", "US", "OT", "DX", "CR", "RF")


@pytest.fixture(scope="module")
def manifest(shared_dicom):
    with open(shared_dicom / "MANIFEST.tsv") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) > 200
    return [(shared_dicom / row["path"], row) for row in rows]


def outcome(path, **options):
    """(cine, array), or (None, error message), within 10 s of processor time."""
    start = time.process_time()
    try:
        cine = open_cine(path, **options)
        found = cine, cine.read()
        assert found[1].shape == cine.shape and found[1].dtype == cine.dtype
    except CineReadError as error:
        message = str(error)
        assert message.startswith(f"{path}: ") and "\n" not in message and len(message) < len(str(path)) + 250
        found = None, message
    assert time.process_time() - start < 10
    return found


def decodable(row):
    return row["pydicom_decode"].startswith("OK")


def test_all_decodable_projection_files_are_read(manifest):
    read = 0
    for path, row in manifest:
        cine, result = outcome(path)
        if row["modality"] in ACCEPTED and decodable(row):
            assert cine is not None, result
            rows, cols = map(int, row["rows_x_cols"].split("x"))
            frames = int(row["frames"]) if row["frames"] != "-" else 1
            assert cine.shape == (rows, cols, frames), path
            read += 1
        elif row["modality"] not in (*ACCEPTED, "-"):
            assert cine is None, path
            if decodable(row):
                assert "not a projection cine" in result
    assert read >= 45


def test_other_modalities_are_read_on_request(manifest):
    for path, row in manifest:
        cine, result = outcome(path, any_modality=True)
        if decodable(row) and not row["bits_stored/alloc"].startswith("1/"):
            assert cine is not None, (path, result)
        elif row["pydicom_decode"] == "nopix":
            assert cine is None and ("pixel data" in result or "DICOM" in result), (path, result)


def as_grey(dataset, array):
    """Reference conversion of pydicom's array to greyscale."""
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        first, table = palette_to_grey(dataset, "")
        return table[np.clip(array.astype(int) - first, 0, len(table) - 1)]
    if dataset.SamplesPerPixel == 3:
        array = np.rint(array.astype(np.float64) @ np.array([0.299, 0.587, 0.114]))
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        array = (1 << dataset.BitsStored) - 1 - array
    return array


@pytest.mark.skipif(pydicom.__version__ < "3", reason="pydicom 2 does not convert YBR to RGB by itself")
def test_pixels_match_pydicom(manifest):
    compared = exact = 0
    for path, row in manifest:
        if not decodable(row) or row["bits_stored/alloc"].startswith("1/") or "1760" in row["rows_x_cols"]:
            continue  # 1760-pixel files take pydicom's decoder several seconds
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path)
            try:
                array = dataset.pixel_array
            except (RuntimeError, NotImplementedError, AttributeError):  # missing codec
                continue
        frames = int(dataset.get("NumberOfFrames", 1) or 1)
        array = array if frames > 1 else array[None]
        grey = as_grey(dataset, array)
        ours = open_cine(path, any_modality=True).read().transpose(2, 0, 1)
        difference = np.abs(ours.astype(np.float64) - grey)
        compared += 1
        exact += not difference.any()
        if dataset.SamplesPerPixel == 1:
            assert not difference.any(), path
        else:  # luminance of the codestream against that of pydicom's clipped RGB
            assert difference.mean() < 1.5, (path, difference.mean(), difference.max())
    assert compared >= 90 and exact >= 60


def test_pixels_match_itk(manifest):
    """JPEG lossless, for which pydicom has no codec here."""
    sitk = pytest.importorskip("SimpleITK")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    compared = 0
    for path, row in manifest:
        lossless = "Process 14" in row["transfer_syntax"]
        if not lossless or not decodable(row):
            continue
        cine = open_cine(path, any_modality=True)
        image = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(np.float64)
        if image.ndim == 4:
            image = np.rint(image @ np.array([0.299, 0.587, 0.114]))
        ours = cine.read().transpose(2, 0, 1)
        if row["modality"] == "CT":  # ITK rescales
            slope, intercept = np.polyfit(ours[0, ::16, ::16].ravel(), image[0, ::16, ::16].ravel(), 1)
            image = np.rint((image - intercept) / slope)
        assert np.abs(ours - image).max() <= 1, path
        compared += 1
    assert compared >= 4

"""Pixel spacing in the patient, and alignment of the affine with ITK."""

import numpy as np
import pytest
from dicom_factory import SOP, moving_disc, write_cine
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from monai_agglo.cine.cine import open_cine
from monai_agglo.cine.spacing import dicom_spacing


def header(**tags):
    dataset = Dataset()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


IMAGER = {"ImagerPixelSpacing": [0.4, 0.5]}
MAGNIFIED = {"EstimatedRadiographicMagnificationFactor": "1.25"}


@pytest.mark.parametrize(
    ("tags", "mm"),
    [
        ({"PixelSpacing": [0.3, 0.2]}, (0.3, 0.2)),
        ({"PixelSpacing": [0.3, 0.2], **IMAGER}, (0.3, 0.2)),
        ({"PixelSpacing": [0.3, 0.2], "PixelSpacingCalibrationType": "FIDUCIAL", **IMAGER, **MAGNIFIED}, (0.3, 0.2)),
        ({"PixelSpacing": [0.4, 0.5], **IMAGER}, None),
        ({"PixelSpacing": [0.4, 0.5], "PixelSpacingCalibrationType": "GEOMETRY", **IMAGER}, (0.4, 0.5)),
        ({"PixelSpacing": [0.4, 0.5], **IMAGER, **MAGNIFIED}, (0.32, 0.4)),
        ({**IMAGER, **MAGNIFIED}, (0.32, 0.4)),
        ({**IMAGER, "DistanceSourceToDetector": "1200", "DistanceSourceToPatient": "960"}, (0.32, 0.4)),
        ({**IMAGER, "EstimatedRadiographicMagnificationFactor": "0"}, None),
        (IMAGER, None),
        ({"NominalScannedPixelSpacing": [0.1, 0.1]}, None),
        ({}, None),
        ({"PixelSpacing": [0, 0.2]}, None),
        ({"PixelSpacing": [-0.3, 0.2]}, None),
    ],
)
def test_spacing_precedence(tags, mm):
    spacing = dicom_spacing(header(**tags))
    assert spacing.mm == (mm if mm is None else pytest.approx(mm))
    assert spacing.known == (mm is not None)
    if mm:
        assert spacing.nominal == spacing.mm


def test_ultrasound_regions():
    def region(**tags):
        return header(PhysicalUnitsXDirection=3, PhysicalUnitsYDirection=3, **tags)

    one = header(SequenceOfUltrasoundRegions=Items([region(PhysicalDeltaX=0.02, PhysicalDeltaY=0.03)]))
    assert dicom_spacing(one).mm == pytest.approx((0.3, 0.2))
    two = header(SequenceOfUltrasoundRegions=Items([
        region(PhysicalDeltaX=0.02, PhysicalDeltaY=0.03), region(PhysicalDeltaX=0.1, PhysicalDeltaY=0.1)
    ]))  # fmt: skip
    assert dicom_spacing(two).mm is None


def test_meta_of_the_file(tmp_path):
    tags = {**IMAGER, **MAGNIFIED}
    meta = open_cine(write_cine(tmp_path / "a.dcm", moving_disc(), tags=tags)).meta
    assert meta["spacing_mm"] == pytest.approx((0.32, 0.4)) and meta["spacing_known"]
    assert "Magnification" in meta["spacing_source"]
    meta = open_cine(write_cine(tmp_path / "b.dcm", moving_disc(), tags=IMAGER)).meta
    assert meta["spacing_mm"] is None and not meta["spacing_known"]
    assert "detector" in meta["spacing_source"]


PLACES = [  # SOP classes and tags with a correct spacing in ITK
    ("XRF", IMAGER), ("XA", IMAGER), ("XRF", {}), ("SC", {"PixelSpacing": [0.3, 0.2]}), ("MFSC8", {}), ("US", {}),
    ("SC", {"NominalScannedPixelSpacing": [0.1, 0.2]}), ("DX", IMAGER),
    # with an incorrect spacing in ITK; masks are aligned nevertheless
    ("XRF", {"PixelSpacing": [0.3, 0.2], **IMAGER}), ("XA", {"PixelSpacing": [0.3, 0.2]}),
    ("XRF", {**IMAGER, **MAGNIFIED}),
    ("US", {"PixelSpacing": [0.3, 0.2]}), ("MFSC8", {"PixelSpacing": [0.3, 0.2]}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "tags"), PLACES)
def test_pixel_positions_match_itk(tmp_path, kind, tags):
    sitk = pytest.importorskip("SimpleITK")
    frames = moving_disc(frames=1 if kind in ("SC", "DX") else 5)
    row, col, time = 10, 20, frames.shape[0] - 1
    frames[:] //= 2
    frames[time, row, col] = 255
    single = {"NumberOfFrames": None, "FrameTime": None, "FrameIncrementPointer": None}
    path = write_cine(tmp_path / "a.dcm", frames, kind=kind, tags={**tags, **(single if len(frames) == 1 else {})})
    image = sitk.ReadImage(str(path))
    assert sitk.GetArrayFromImage(image)[time, row, col] == 255
    physical = np.array(image.TransformIndexToPhysicalPoint((col, row, 0)))
    cine = open_cine(path)
    assert cine.read()[row, col, time] == 255
    ours = cine.meta["affine"] @ [row, col, 0, 1]
    np.testing.assert_allclose(ours[:3] * [-1, -1, 1], physical, atol=1e-6)  # RAS to LPS
    # the frame step is 1; ITK's is FrameTime in milliseconds
    np.testing.assert_array_equal(cine.meta["affine"][:3, 2], [0, 0, 1])


@pytest.mark.parametrize(("kind", "tags"), PLACES)
def test_masks_saved_with_our_affine_align_in_itk(tmp_path, kind, tags):
    sitk = pytest.importorskip("SimpleITK")
    import nibabel

    frames = moving_disc(frames=1 if kind in ("SC", "DX") else 5)
    single = {"NumberOfFrames": None, "FrameTime": None, "FrameIncrementPointer": None}
    path = write_cine(tmp_path / "a.dcm", frames, kind=kind, tags={**tags, **(single if len(frames) == 1 else {})})
    cine = open_cine(path)
    array = cine.read()
    mask = (array < 100).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(mask, cine.meta["affine"]), tmp_path / "mask.nii.gz")
    image, overlay = sitk.ReadImage(str(path)), sitk.ReadImage(str(tmp_path / "mask.nii.gz"))
    frame = 0
    for row, col in np.argwhere(mask[:, :, frame])[::17].tolist():
        point = image.TransformIndexToPhysicalPoint((col, row, frame))
        index = overlay.TransformPhysicalPointToIndex(point)
        assert overlay[index] == 1
        assert sitk.GetArrayViewFromImage(image)[frame, row, col] < 100
    # the mask, resampled onto the cine, equals the thresholded cine
    if len(frames) == 1:
        image = sitk.Extract(image, [*image.GetSize()[:2], 1])
    plane = sitk.Resample(overlay, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(plane)[0], mask[:, :, 0])


@pytest.mark.parametrize("kind", ["XRF", "XA", "SC", "MFSC8", "MFSC16", "US", "DX", "CR", "Video", "EnhancedXA"])
@pytest.mark.parametrize("tags", [
    {"ImagePositionPatient": [10, 20, 30]}, {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]},
    {"ImagePositionPatient": [10, 20, 30], "ImageOrientationPatient": [0.8, 0.6, 0, 0, 0, -1]},
    {"ImagePositionPatient": [10, 20, 30], "ImageOrientationPatient": [1, 0, 0, 1, 0, 0]},
])  # fmt: skip
def test_position_and_orientation_match_itk(tmp_path, kind, tags):
    sitk = pytest.importorskip("SimpleITK")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    path = write_cine(tmp_path / "a.dcm", moving_disc(frames=3), kind=kind, tags={**tags, **IMAGER, "FrameTime": None})
    image, affine = sitk.ReadImage(str(path)), open_cine(path).meta["affine"]
    if tags.get("ImageOrientationPatient") == [1, 0, 0, 1, 0, 0]:  # degenerate: ITK invents a third axis
        assert np.linalg.matrix_rank(affine) == 4
        return
    for row, col, frame in ((0, 0, 0), (10, 20, 0), (47, 63, 2)):
        physical = image.TransformContinuousIndexToPhysicalPoint((col, row, frame / image.GetSpacing()[2]))
        np.testing.assert_allclose((affine @ [row, col, frame, 1])[:3] * [-1, -1, 1], physical, atol=1e-5)


def test_itk_spacing_option(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    tags = {"PixelSpacing": [0.3, 0.2], "PixelSpacingCalibrationType": "FIDUCIAL", **IMAGER}
    path = write_cine(tmp_path / "a.dcm", moving_disc(), tags=tags)
    calibrated, itk = open_cine(path, itk_spacing=False).meta, open_cine(path).meta
    assert calibrated["spacing_mm"] == itk["spacing_mm"] == (0.3, 0.2)
    assert np.linalg.norm(calibrated["affine"][:3, :2], axis=0) == pytest.approx([0.3, 0.2])
    spacing = sitk.ReadImage(str(path)).GetSpacing()
    assert np.linalg.norm(itk["affine"][:3, :2], axis=0) == pytest.approx([spacing[1], spacing[0]])


@pytest.mark.parametrize(
    "kind", [kind for kind in SOP if kind not in ("CT", "NM", "Video", "EnhancedXA", "EnhancedXRF")]
)
def test_itk_spacing_of_every_sop_class(tmp_path, kind):
    sitk = pytest.importorskip("SimpleITK")
    tags = {"PixelSpacing": [0.3, 0.2], **IMAGER, "NominalScannedPixelSpacing": [0.1, 0.15]}
    frames = moving_disc(frames=2)
    rgb = np.repeat(frames[..., None], 3, axis=-1)
    path = write_cine(tmp_path / "a.dcm", rgb if kind == "MFSCRGB" else frames, kind=kind, tags=tags)
    affine = open_cine(path).meta["affine"]
    spacing = sitk.ReadImage(str(path)).GetSpacing()
    assert np.linalg.norm(affine[:3, :2], axis=0) == pytest.approx([spacing[1], spacing[0]])


@pytest.mark.parametrize("kind", ["XRF", "XA", "US", "MFSC8"])
@pytest.mark.parametrize(
    "tags",
    [
        {"FrameTime": "40"},
        {"FrameTime": "40", "FrameIncrementPointer": None},
        {"FrameTime": "25", "FrameTimeVector": [0, 30, 40], "FrameIncrementPointer": 0x00181065},
        {"FrameTime": None, "CineRate": "25"},
    ],
)
def test_itk_frame_step_option(tmp_path, kind, tags):
    sitk = pytest.importorskip("SimpleITK")
    path = write_cine(tmp_path / "a.dcm", moving_disc(frames=3), kind=kind, tags={**IMAGER, **tags})
    step = sitk.ReadImage(str(path)).GetSpacing()[2]
    cine = open_cine(path, itk_frame_step=True, any_modality=True)
    assert np.linalg.norm(cine.meta["affine"][:3, 2]) == pytest.approx(step)
    assert np.linalg.norm(open_cine(path, any_modality=True).meta["affine"][:3, 2]) == pytest.approx(1)
    if kind == "XRF" and tags == {"FrameTime": "40"}:
        assert step == 40

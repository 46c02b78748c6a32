"""De-identification of tags, sequences, private blocks, overlays, file meta, unused bits and the border."""

import numpy as np
import pydicom
import pytest
from app_samples import write_cine
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from monai_agglo import __main__ as cli
from monai_agglo.cine.cine import open_cine
from monai_agglo.dicom.deidentification import deidentify
from monai_agglo.dicom.deidentify_tags import KEPT_TEXT
from monai_agglo.dicom.deidentify_uid import remap_uid
from monai_agglo.dicom.result_source import ResultSource
from monai_agglo.phantom import PhantomSpec, PhantomStudy, write_study

TEXTS = ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UN", "UR", "UT", "OB", "OW")
DAY, NUMBER, ROOT = "19370413", "777888999", "1.2.826.0.1.777888999"
TECHNICAL = frozenset([
    *("SOPClassUID", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",),
    *("SamplesPerPixel", "Modality", "PixelData", "PhotometricInterpretation", "NumberOfFrames",),
    *("FrameTime", "FrameIncrementPointer", "SpecificCharacterSet", "FloatPixelData",),
    *("DoubleFloatPixelData", "ModalityLUTSequence", "VOILUTSequence", "SharedFunctionalGroupsSequence",),
    *("PerFrameFunctionalGroupsSequence", "RescaleSlope", "RescaleIntercept", "WindowCenter",),
    *("WindowWidth", "DataSetTrailingPadding", "ExtendedOffsetTable", "ExtendedOffsetTableLengths",),
    *("FrameTimeVector", "PixelDataProviderURL",),
])  # fmt: skip


def planted(word):
    """An identifying value for every VR with text."""
    return {
        **dict.fromkeys(TEXTS, word),
        **{vr: word.encode() for vr in ("UN", "OB", "OW")},
        **{"DA": DAY, "DT": DAY + "101010", "TM": "101010", "AS": "087Y", "UI": ROOT, "DS": NUMBER, "IS": NUMBER},
    }


def plant(ds, word):
    """Set identifying values in every attribute that can hold one, and in an item of every tenth sequence."""
    values = planted(word)
    sequences = 0
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        if not keyword or keyword in TECHNICAL or tag < 0x00080000 or tag >> 16 in (0x7FE0, 0xFFFA, 0xFFFC, 0xFFFE):
            continue
        vr = vr.split(" or ")[-1]
        if vr == "SQ":
            sequences += 1
            if sequences % 10:  # a tenth of 1200 sequences: pydicom takes 10 ms each
                continue
            item = Dataset()
            item.PatientName, item.TextValue, item.UID, item.CodeMeaning = word, word, ROOT, word
            item.PersonTelephoneNumbers = word
            item.add_new(0x00091001, "LO", word)
            item.PatientAddress = word
            inner = Dataset()
            inner.TextString, inner.Date = word, DAY
            item.ContentTemplateSequence = [inner]
            ds.add_new(tag, "SQ", [item])
        elif vr in values:
            ds.add_new(tag, vr, values[vr])
    block = ds.private_block(0x0029, "SOME VENDOR", create=True)
    block.add_new(1, "LO", word)
    block.add_new(2, "OB", word.encode())
    ds.add_new(0x60000010, "US", 8)
    ds.add_new(0x60000022, "LO", word)
    ds.add_new(0x60003000, "OW", word.encode() + b"\0" * (len(word) % 2))
    ds.add_new(0x60024000, "LT", word)
    ds.file_meta.SourceApplicationEntityTitle = word
    ds.file_meta.PrivateInformationCreatorUID = ROOT
    ds.file_meta.PrivateInformation = word.encode()
    ds.preamble = (word.encode() * 30)[:128]


@pytest.fixture
def quiet(monkeypatch):
    """Silence pydicom's validation."""
    monkeypatch.setattr(pydicom.config.settings, "writing_validation_mode", pydicom.config.IGNORE)
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("known", [True, False])
def test_no_identifying_value_remains(tmp_path, quiet, known):
    """With ``known`` the planted word is the patient's name; otherwise no tag marks it as a name."""
    source = pydicom.dcmread(write_cine(tmp_path / "in.dcm", frames=2))
    plant(source, "ZEBRA")
    source.PatientID = NUMBER
    if not known:
        for element in list(source.iterall()):
            if element.VR == "PN":
                element.value = "X"
        for keyword in ("InstitutionName", "StationName", "DeviceSerialNumber", "OtherPatientIDs", "AccessionNumber",
                        "PatientTelephoneNumbers", "PatientAddress", "MedicalRecordLocator"):  # fmt: skip
            setattr(source, keyword, "")
    source.save_as(tmp_path / "in.dcm")
    assert (tmp_path / "in.dcm").read_bytes().count(b"ZEBRA") > 1500
    report = deidentify(tmp_path / "in.dcm", tmp_path / "out")
    ((_, copy, _),) = report.done
    data = copy.read_bytes()
    ds = pydicom.dcmread(copy)
    words = {element.keyword for element in ds.iterall() if "ZEBRA" in str(element.value)}
    assert words <= (set() if known else KEPT_TEXT)
    if known:
        assert b"ZEBRA" not in data
    for trace in (DAY, NUMBER, ROOT, "087Y", "SOME VENDOR"):
        assert trace.encode() not in data, trace
        assert trace not in str(copy) and trace not in str(report).replace(str(tmp_path), "")
    assert not [
        element.tag for element in ds.iterall() if element.tag.is_private or element.tag.group & 0xFF00 == 0x6000
    ]
    assert ds.PatientIdentityRemoved == "YES" and ds.FrameTime == source.FrameTime
    np.testing.assert_array_equal(open_cine(copy).read(), open_cine(tmp_path / "in.dcm").read())


def test_burnt_in_text_outside_the_field(tmp_path):
    spec = PhantomSpec.sample(
        4, rows=128, cols=128, field="circle", burnt_in_text="DOE JANE 1950", photometric="MONOCHROME1"
    )
    paths = write_study(spec, tmp_path / "in", frames=4)
    ((_, copy, note),) = deidentify(tmp_path / "in", tmp_path / "out").done
    assert "was blanked" in note
    before, after = open_cine(paths.cine).read(), open_cine(copy).read()
    field = PhantomStudy(spec).field_mask
    text = before.max(axis=2) > 0.3 * before.max()
    text &= ~field
    assert text.sum() > 10
    assert np.ptp(after[text]) == 0 and after[text].max() < 0.05 * before.max()
    changed = np.abs(before.astype(int) - after) > 0.05 * before.max()
    assert changed[field].mean() < 0.01
    old, new = pydicom.dcmread(paths.cine), pydicom.dcmread(copy)
    assert new.PhotometricInterpretation == "MONOCHROME1" and new.BitsStored == old.BitsStored
    assert new.BurnedInAnnotation == "YES"  # the exposed field may contain text
    for keyword in ("FrameTime", "FrameTimeVector", "ImagerPixelSpacing", "KVP", "CollimatorShape", "WindowCenter"):
        if keyword in old:
            assert new[keyword].value == old[keyword].value


def test_overlay_in_unused_bits(tmp_path):
    path = write_cine(tmp_path / "in.dcm", frames=3)
    ds = pydicom.dcmread(path)
    clean = ds.pixel_array.copy()
    marked = clean.copy()
    marked[:, 5:9, 5:40] |= 0xF000
    ds.PixelData = marked.tobytes()
    ds.save_as(path)
    ((_, copy, _),) = deidentify(path, tmp_path / "out").done
    found = pydicom.dcmread(copy).pixel_array
    np.testing.assert_array_equal(found, clean)


@pytest.mark.parametrize("signed", [0, 1])
def test_single_frame_and_signed_values(tmp_path, signed):
    path = write_cine(tmp_path / "in.dcm", frames=1)
    ds = pydicom.dcmread(path)
    pixels = ds.pixel_array.astype(np.int16) - 2000 * signed
    ds.PixelRepresentation = signed
    ds.PixelData = pixels.tobytes()
    ds.save_as(path)
    ((_, copy, _),) = deidentify(path, tmp_path / "out").done
    new = pydicom.dcmread(copy)
    assert "NumberOfFrames" not in new
    np.testing.assert_array_equal(new.pixel_array, pixels)


def test_colour_is_converted_to_grey(tmp_path):
    ds = pydicom.dcmread(write_cine(tmp_path / "in.dcm", frames=2))
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7.4"
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    rgb = np.random.default_rng(0).integers(0, 255, (2, ds.Rows, ds.Columns, 3), np.uint8)
    ds.PixelData = rgb.tobytes()
    ds.save_as(tmp_path / "in.dcm")
    ((_, copy, _),) = deidentify(tmp_path / "in.dcm", tmp_path / "out").done
    new = pydicom.dcmread(copy)
    assert (new.SOPClassUID, new.PhotometricInterpretation) == ("1.2.840.10008.5.1.4.1.1.7.2", "MONOCHROME2")
    want = open_cine(tmp_path / "in.dcm", any_modality=True).read()
    np.testing.assert_array_equal(new.pixel_array.transpose(1, 2, 0), want)


def test_references_within_a_study_are_preserved(tmp_path):
    (tmp_path / "in").mkdir()
    first, second = (write_cine(tmp_path / "in" / f"{n}.dcm", frames=2, seed=n, series="1.2.3.4") for n in (1, 2))
    ds = pydicom.dcmread(second)
    ds.StudyInstanceUID = pydicom.dcmread(first).StudyInstanceUID
    reference = Dataset()
    reference.ReferencedSOPClassUID = ds.SOPClassUID
    reference.ReferencedSOPInstanceUID = pydicom.dcmread(first).SOPInstanceUID
    ds.ReferencedImageSequence = [reference]
    ds.save_as(second)
    report = deidentify(tmp_path / "in", tmp_path / "out")
    one, two = (pydicom.dcmread(copy) for _, copy, _ in report.done)
    assert one.StudyInstanceUID == two.StudyInstanceUID != ds.StudyInstanceUID
    assert one.SeriesInstanceUID == two.SeriesInstanceUID == remap_uid("1.2.3.4")
    assert two.ReferencedImageSequence[0].ReferencedSOPInstanceUID == one.SOPInstanceUID
    assert one.PatientID == two.PatientID and "ID4711" not in one.PatientID
    # de-identified results of predict refer to the copy
    assert ResultSource.read(first).instances == ((one.SOPClassUID, one.SOPInstanceUID),)
    assert ResultSource.read(first).header.PatientID == one.PatientID


def test_folder_with_skipped_and_failed_files(tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    write_cine(folder / "good.dcm", frames=2)
    bad = write_cine(folder / "bad.dcm", frames=2)
    bad.write_bytes(bad.read_bytes()[:-3000])
    (folder / "notes.txt").write_text("Zaphodson Trillian")
    report = Dataset()
    report.SOPClassUID, report.SOPInstanceUID, report.Modality = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.3", "SR"
    report.file_meta = FileMetaDataset()
    report.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    report.save_as(folder / "sr.dcm", enforce_file_format=True)
    assert cli.main(["deidentify", str(folder), "--output", str(tmp_path / "out")]) == 1
    out = capsys.readouterr().out
    assert "no pixel data" in out and "not DICOM" in out and "failed" in out and "1 written" in out
    assert len(list((tmp_path / "out").rglob("*.*"))) == 1
    assert cli.main(["deidentify", str(folder / "good.dcm"), "--output", str(tmp_path / "single")]) == 0


@pytest.mark.parametrize(
    ("source", "output", "words"),
    [("none", "out", "no such file"), ("in", "in/out", "is inside the source"), ("in", "in/notes.txt", "not a file"),
     ("in", "out", "no DICOM image"), ("in/notes.txt", "out", "not a DICOM file")],
)  # fmt: skip
def test_bad_arguments(tmp_path, source, output, words, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("hello")
    assert cli.main(["deidentify", str(tmp_path / source), "--output", str(tmp_path / output)]) == 2
    assert words in capsys.readouterr().err


def test_file_without_preamble_and_meta_group(tmp_path):
    source = write_cine(tmp_path / "doe.dcm")
    data = source.read_bytes()
    header = pydicom.dcmread(source, stop_before_pixels=True)
    body = 132 + 12 + header.file_meta.FileMetaInformationGroupLength
    before = open_cine(source).read()
    source.write_bytes(data[body:])
    report = deidentify(source, tmp_path / "out")
    copy = report.done[0][1]
    np.testing.assert_array_equal(open_cine(copy).read(), before)
    assert b"Zaphodson" in source.read_bytes() and b"Zaphodson" not in copy.read_bytes()
    assert ResultSource.read(source).header.StudyInstanceUID != header.StudyInstanceUID

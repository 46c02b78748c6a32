"""DICOM headers, parsed up to the pixel data.

Only the tags of :data:`TAGS` are parsed, so that names and birth dates are never loaded.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import Tag

from .bounded_file import BoundedFile, InflatingFile
from .errors import MAX_HEADER_BYTES, CineReadError, fail
from .start import DEFLATED, EXPLICIT_BIG, HEAD_BYTES, IMPLICIT_LITTLE, find_start, guess_syntax

_UNDEFINED = 0xFFFFFFFF

_KEYWORDS = """
SpecificCharacterSet ImageType SOPClassUID SOPInstanceUID StudyDate SeriesDate AcquisitionDate ContentDate
AcquisitionDateTime AcquisitionTime ContentTime Modality SeriesDescription ViewCodeSequence RecommendedDisplayFrameRate
PatientID IssuerOfPatientID ViewPosition CineRate FrameTime FrameTimeVector ActualFrameDuration
DistanceSourceToDetector DistanceSourceToPatient EstimatedRadiographicMagnificationFactor ImagerPixelSpacing
PositionerPrimaryAngle SequenceOfUltrasoundRegions NominalScannedPixelSpacing
SeriesInstanceUID InstanceNumber ImagePositionPatient ImageOrientationPatient PatientOrientation TemporalPositionIndex
SamplesPerPixel PhotometricInterpretation PlanarConfiguration NumberOfFrames FrameIncrementPointer Rows Columns
PixelSpacing PixelAspectRatio PixelSpacingCalibrationType BitsAllocated BitsStored HighBit PixelRepresentation
WindowCenter WindowWidth VOILUTFunction RescaleIntercept RescaleSlope ModalityLUTSequence VOILUTSequence
RedPaletteColorLookupTableDescriptor GreenPaletteColorLookupTableDescriptor BluePaletteColorLookupTableDescriptor
RedPaletteColorLookupTableData GreenPaletteColorLookupTableData BluePaletteColorLookupTableData
SegmentedRedPaletteColorLookupTableData SegmentedGreenPaletteColorLookupTableData
SegmentedBluePaletteColorLookupTableData LossyImageCompression MaskSubtractionSequence
SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence ExtendedOffsetTable ExtendedOffsetTableLengths
"""
TAGS = [Tag(tag) for keyword in _KEYWORDS.split() if (tag := tag_for_keyword(keyword)) is not None]

_parse_lock = threading.Lock()


@dataclass
class DicomHeader:
    """Header of a DICOM file.

    Args:
        path: the file.
        dataset: the parsed tags of :data:`TAGS`.
        syntax: transfer syntax UID.
        offset: offset of the value of PixelData in bytes (in the inflated stream if ``deflated``).
        length: length of PixelData in bytes, None if undefined (encapsulated).
        vr: value representation of PixelData, ``"OW"`` for implicit VR.
        file_size: size of the file in bytes.
        stream_start: offset of the deflated stream in the file in bytes.
    """

    path: str
    dataset: Dataset
    syntax: str
    offset: int
    length: int | None
    vr: str
    file_size: int
    stream_start: int = 0

    @property
    def deflated(self) -> bool:
        return self.syntax == DEFLATED

    @property
    def big_endian(self) -> bool:
        return self.syntax == EXPLICIT_BIG

    def open(self) -> Any:
        """Open the byte source that ``offset`` refers to; the caller closes it."""
        return InflatingFile(self.path, self.stream_start) if self.deflated else open(self.path, "rb")


def is_dicom(path: str | os.PathLike) -> bool:
    """Whether a file is DICOM: it has a preamble or begins with a data set (old exports)."""
    with open(path, "rb") as file:
        return find_start(file.read(HEAD_BYTES)) is not None


def read_header(path: str | os.PathLike, shown: object | None = None, pixels: bool = True) -> DicomHeader:
    """Parse a DICOM file up to its pixel data.

    Args:
        path: the file.
        shown: path shown in error messages; ``path`` by default.
        pixels: require pixel data.

    Returns:
        The header; ``offset`` is -1 without pixel data and ``pixels=False``.

    Raises:
        CineReadError: not DICOM, damaged, or without pixel data.
    """
    shown = path if shown is None else shown
    try:
        with _parse_lock, quiet_pydicom():
            return _parse(os.fspath(path), shown, pixels)
    except CineReadError:
        raise
    except (OSError, FileNotFoundError) as error:
        raise fail(shown, f"the file cannot be read ({type(error).__name__})") from None
    except (Exception, RecursionError) as error:  # a damaged header may raise any type
        # Only the type is shown, because pydicom's message may quote an identifying tag.
        raise fail(shown, f"the DICOM header is damaged ({type(error).__name__})") from None


@contextlib.contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Silence pydicom, whose warnings may quote identifying tag values."""
    logger = logging.getLogger("pydicom")
    thread = threading.get_ident()

    def drop(record: logging.LogRecord) -> bool:
        return record.thread != thread

    logger.addFilter(drop)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.removeFilter(drop)


def _parse(path: str, shown: object, pixels: bool) -> DicomHeader:
    size = os.path.getsize(path)
    with open(path, "rb") as raw:
        file: Any = BoundedFile(raw, size)
        start = find_start(file.read(HEAD_BYTES))
        if start is None:
            raise fail(shown, "this is not a DICOM file (it has no DICM preamble)")
        file.seek(start)
        syntax = "" if guess_syntax(_peek(file)) else _transfer_syntax(file)
        if syntax == DEFLATED:
            return _parse_deflated(path, shown, pixels, raw.tell(), size)
        named, syntax = bool(syntax), syntax or guess_syntax(_peek(file)) or ""
        if not syntax:
            raise fail(shown, "the file does not state its transfer syntax")
        dataset = _read_tags(file, syntax)
        offset, length, vr = _pixel_element(file, syntax == EXPLICIT_BIG, shown, pixels)
        if not named and offset >= 0 and length is None:
            raise fail(shown, "its pixels are compressed, but the file does not state its transfer syntax")
    return DicomHeader(path, dataset, syntax, offset, length, vr, size)


def _transfer_syntax(file: Any) -> str:
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag >= 0x00030000)
    return str(meta.get("TransferSyntaxUID", "") or "")


def _peek(file: Any) -> bytes:
    position = file.tell()
    head = file.read(HEAD_BYTES)
    file.seek(position)
    return head


def _parse_deflated(path: str, shown: object, pixels: bool, start: int, size: int) -> DicomHeader:
    for limit in (1 << 20, MAX_HEADER_BYTES):
        with InflatingFile(path, start) as stream:
            try:
                head = stream.read(limit)
            except zlib.error:
                raise fail(shown, "the deflated data are damaged") from None
        buffer = io.BytesIO(head)
        dataset = _read_tags(buffer, DEFLATED)
        if buffer.tell() + 12 <= len(head) or len(head) < limit:  # otherwise the header extends beyond ``limit``
            offset, length, vr = _pixel_element(buffer, False, shown, pixels)
            return DicomHeader(path, dataset, DEFLATED, offset, length, vr, size, start)
    raise fail(shown, f"the header inflates to more than {MAX_HEADER_BYTES >> 20} MB (deflate bomb?)")


def _read_tags(file: Any, syntax: str) -> Dataset:
    return read_dataset(
        file,
        syntax == IMPLICIT_LITTLE,
        syntax != EXPLICIT_BIG,
        stop_when=lambda tag, vr, length: tag in (0x7FE00008, 0x7FE00009, 0x7FE00010) or tag > 0x7FE00010,
        specific_tags=TAGS,
    )


def _pixel_element(file: Any, big_endian: bool, shown: object, required: bool) -> tuple[int, int | None, str]:
    """Read the element header at which parsing stopped: offset of the value, its length in bytes, its VR."""
    start = file.tell()
    head = file.read(12)
    order = ">" if big_endian else "<"
    tag = struct.unpack(order + "HH", head[:4]) if len(head) >= 8 else (0, 0)
    if tag in ((0x7FE0, 0x0008), (0x7FE0, 0x0009)) and required:
        raise fail(shown, "floating point pixel data are not supported")
    if tag != (0x7FE0, 0x0010):
        if required:
            raise fail(shown, "the file contains no pixel data, or is cut off before them")
        return -1, None, ""
    if head[4:6] in (b"OB", b"OW", b"UN", b"OF", b"OD"):
        offset, vr = start + 12, head[4:6].decode()
        length = struct.unpack(order + "L", head[8:12])[0] if len(head) == 12 else 0
    else:
        offset, vr, length = start + 8, "OW", struct.unpack(order + "L", head[4:8])[0]
    return offset, None if length == _UNDEFINED else length, vr


def value(dataset: Any, keyword: str) -> Any:
    """Value of a tag; None if it is absent, empty or unreadable."""
    with _parse_lock, quiet_pydicom():
        try:
            found = dataset.get(keyword)
        except Exception:
            return None
    return None if found is None or (isinstance(found, (str, bytes)) and not found) else found


def text(dataset: Any, keyword: str) -> str:
    """Value of a tag as stripped text; empty if there is none."""
    found = value(dataset, keyword)
    return "" if found is None else str(found).strip(" \0")


def number(dataset: Any, keyword: str) -> float | None:
    """First value of a tag as a finite number, otherwise None."""
    found = numbers(dataset, keyword)
    return found[0] if found else None


def numbers(dataset: Any, keyword: str) -> list[float]:
    """Values of a tag as finite numbers; empty if any of them is not finite or not a number."""
    found = value(dataset, keyword)
    if found is None:
        return []
    try:
        many = [found] if isinstance(found, (str, bytes, int, float)) else list(found)
        result = [float(item) for item in many]
    except (TypeError, ValueError):
        return []
    return result if all(abs(item) < 1e300 for item in result) else []


def items(dataset: Any, keyword: str) -> list[Dataset]:
    """Items of a sequence; empty if it is absent or not a sequence."""
    found = value(dataset, keyword)
    if found is None or isinstance(found, (str, bytes, int, float)):
        return []
    return [item for item in found if isinstance(item, Dataset)]


class FunctionalGroups:
    """Per-frame and shared functional groups of an Enhanced object.

    Args:
        dataset: the parsed header; may be without functional groups.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.frames = items(dataset, "PerFrameFunctionalGroupsSequence")
        self.shared = items(dataset, "SharedFunctionalGroupsSequence")[:1]

    def get(self, frame: int, keyword: str) -> Dataset | None:
        """First item of a group: per-frame, otherwise shared, otherwise None."""
        for holder in [*self.frames[frame : frame + 1], *self.shared]:
            found = items(holder, keyword)
            if found:
                return found[0]
        return None

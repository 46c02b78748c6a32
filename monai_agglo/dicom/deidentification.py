"""De-identified copies of DICOM cines: PS3.15 basic profile, pixels outside the exposed field blanked."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from monai_agglo.cine.cine import open_cine
from monai_agglo.cine.errors import CineReadError, fail
from monai_agglo.cine.exposed_field import dark_level, find_field
from monai_agglo.cine.frames import pixel_format
from monai_agglo.cine.grey import MONOCHROME
from monai_agglo.cine.header import is_dicom, quiet_pydicom, read_header, text
from monai_agglo.cine.identity import pseudonym
from monai_agglo.files import atomic_path

from .deidentify_tags import apply_basic_profile, repeats
from .multi_frame_writer import MultiFrameWriter

__all__ = ["DeidentifyReport", "deidentify", "deidentify_file"]

logger = logging.getLogger(__name__)

GREY_CAPTURE = {8: "1.2.840.10008.5.1.4.1.1.7.2", 16: "1.2.840.10008.5.1.4.1.1.7.3"}
"""Multi-frame grayscale secondary capture, by bits."""
_WORDS = ("AE", "AS", "DA", "DT", "LO", "LT", "OB", "OW", "PN", "SH", "ST", "TM", "UC", "UN", "UR", "UT")
_OURS = ("PatientID", "PatientName", "DeidentificationMethod", "CodeMeaning")
_COLOUR_ONLY = ("1.2.840.10008.5.1.4.1.1.7.4", "1.2.840.10008.5.1.4.1.1.77.")
_CHECK = "check the images for burnt-in text before sharing them"


@dataclass
class DeidentifyReport:
    """Result of a de-identification.

    Args:
        output: the folder of the copies.
        done: (file as given by the user, its copy, remark).
        left_out: (file, reason) of DICOM files without pixel data and other files.
        failed: (file, reason).
    """

    output: Path
    done: list[tuple[str, Path, str]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """1 if a file failed, otherwise 0."""
        return int(bool(self.failed))

    def __str__(self) -> str:
        lines = [f"{shown} -> {copy.relative_to(self.output)}: {note}" for shown, copy, note in self.done]
        lines += [f"left out: {shown}: {why}" for shown, why in self.left_out]
        lines += [f"failed: {why}" for _, why in self.failed]
        return "\n".join([*lines, f"{len(self.done)} written to {self.output}; {_CHECK}"])


def deidentify(source: str | os.PathLike, output: str | os.PathLike) -> DeidentifyReport:
    """Write de-identified copies of DICOM cines.

    The header follows the basic profile of PS3.15 (see :mod:`.deidentify_tags`); file meta information, preamble,
    private attributes and overlays are not copied. Pixels are decoded and losslessly encoded again, which removes data
    hidden in codestreams and unused bits; the area outside the exposed field is blanked and colour converted to grey.
    Text inside the exposed field is not detected and needs visual inspection.

    Args:
        source: a DICOM file, or a folder that is searched recursively; files without pixel data are skipped.
        output: folder of the copies, ``<patient>/<instance>.dcm`` (pseudonyms); must be outside of ``source``.

    Returns:
        The result per file.

    Raises:
        ValueError: the source contains no DICOM image, or the output is inside the source.
        CineReadError: a single source file cannot be read.
    """
    start, target = Path(source).expanduser(), Path(output).expanduser().absolute()
    if not start.exists():
        raise ValueError(f"{source}: there is no such file or folder")
    if target.exists() and not target.is_dir():
        raise ValueError(f"{output}: the output must be a folder, not a file")
    if start.is_dir() and target.resolve().is_relative_to(start.resolve()):
        raise ValueError(f"{output}: the output is inside the source; choose a folder elsewhere")
    report = DeidentifyReport(target)
    if not start.is_dir():
        copy, note = deidentify_file(start, target)
        report.done.append((str(source), copy, note))
        return report
    for file in sorted(path for path in start.rglob("*") if path.is_file()):
        try:
            if not is_dicom(file):
                report.left_out.append((str(file), "not DICOM"))
            elif read_header(file, pixels=False).offset < 0:
                report.left_out.append((str(file), "no pixel data"))
            else:
                report.done.append((str(file), *deidentify_file(file, target)))
        except Exception as error:  # continue with the other files
            logger.debug("a file failed", exc_info=True)
            words = str(error) if isinstance(error, (ValueError, OSError)) else f"unexpected {type(error).__name__}"
            report.failed.append((str(file), words if str(file) in words else f"{file}: {words}"))
    if not report.done and not report.failed:
        raise ValueError(f"{source}: the folder contains no DICOM image")
    return report


def deidentify_file(path: str | os.PathLike, folder: str | os.PathLike) -> tuple[Path, str]:
    """Write a de-identified copy of one file.

    Args:
        path: the DICOM file.
        folder: output folder; the copy is written to a sub-folder per patient.

    Returns:
        The copy, and a remark about its pixels.

    Raises:
        CineReadError: the file cannot be read, or the copy would contain an identifier.
    """
    if not is_dicom(path):
        raise fail(path, "this is not a DICOM file; only DICOM can be de-identified")
    parsed = read_header(path)
    cine = open_cine(path, any_modality=True)
    form, _ = pixel_format(parsed, path)
    try:
        with quiet_pydicom():
            header = dcmread(path, force=True, stop_before_pixels=True)
    except Exception as error:
        raise fail(path, f"the DICOM header is damaged ({type(error).__name__})") from None
    instance, burnt = text(header, "SOPInstanceUID"), text(header, "BurnedInAnnotation")
    known = apply_basic_profile(header)
    ds = Dataset()  # drops file meta information and preamble of the source
    ds.update({tag: header[tag] for tag in (element.tag for element in header) if tag.group > 2})
    exposed = find_field(cine)
    counted = "NumberOfFrames" in ds
    _pixel_module(ds, form, cine.shape, cine.dtype, cine.meta["lossy"])
    note = "no border outside an exposed field found: burnt-in text is kept"
    if exposed is not None:
        ds.DeidentificationMethod = [ds.DeidentificationMethod, "pixels outside the exposed field blanked"]
        note = f"{100 * (1 - exposed.mean()):.0f} % of the image is outside the exposed field and was blanked"
    # The exposed field may contain text although the border is blanked, so only the value of the source counts.
    ds.BurnedInAnnotation = "NO" if burnt == "NO" else "YES"
    name = pseudonym(instance) if instance else cine.meta["pseudonym"]
    target = Path(folder) / str(ds.PatientID) / f"{name}.dcm"
    with atomic_path(target) as partial:
        _write(partial, ds, cine, form, exposed, counted)
        _search(partial, known, path)
    return target, note


def _pixel_module(ds: Dataset, form: Any, shape: tuple[int, int, int], dtype: np.dtype, lossy: bool) -> None:
    """Update the attributes of the pixel module."""
    if dtype.itemsize > 2 or dtype.kind not in "ui":
        raise CineReadError(f"pixels of {8 * dtype.itemsize} bits are not supported (8 and 16 are)")
    grey = form.photometric in MONOCHROME
    if not grey:
        for tag in [element.tag for element in ds if 0x00281100 <= element.tag < 0x00281400]:  # palettes
            del ds[tag]
        if str(ds.SOPClassUID).startswith(_COLOUR_ONLY):
            ds.SOPClassUID, ds.ConversionType = GREY_CAPTURE[8 * dtype.itemsize], "WSD"
    for keyword in ("PlanarConfiguration", "SmallestImagePixelValue", "LargestImagePixelValue", "PixelPaddingValue"):
        if keyword in ds:
            del ds[keyword]
    stored = form.stored if grey else min(8 * dtype.itemsize, max(8, form.stored))
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, form.photometric if grey else "MONOCHROME2"
    ds.Rows, ds.Columns, ds.NumberOfFrames = shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8 * dtype.itemsize, stored, stored - 1
    ds.PixelRepresentation = int(dtype.kind == "i")
    if lossy:
        ds.LossyImageCompression = "01"


def _write(path: Path, ds: Dataset, cine: Any, form: Any, exposed: np.ndarray | None, counted: bool) -> None:
    signed = cine.dtype.kind == "i"
    writer = MultiFrameWriter(path, ds, "none" if signed else "jpegls")
    if not counted and cine.shape[2] == 1:
        del ds.NumberOfFrames  # absent in single-frame classes
    top = cine.dtype.type(-1 if signed else (1 << form.stored) - 1)
    level: Any = None
    with writer:
        for frame in cine.frames():
            if exposed is not None:
                level = cine.dtype.type(dark_level(frame)) if level is None else level
                frame = np.where(exposed, frame, level)
            if form.photometric == "MONOCHROME1":  # undo the inversion of the reader
                frame = frame ^ top
            writer.append(frame.astype(f"<i{frame.itemsize}").tobytes() if signed else writer.encode(frame))


def _search(path: Path, known: frozenset[str], shown: object) -> None:
    """Verify that the written header contains no known name or number of the patient."""
    with quiet_pydicom():
        written = dcmread(path, stop_before_pixels=True)
        for element in written.iterall():
            if element.VR in _WORDS and element.keyword not in _OURS and repeats(str(element.value), known):
                raise fail(shown, f"{element.keyword} would contain an identifier; no copy was written")

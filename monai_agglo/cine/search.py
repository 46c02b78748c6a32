"""Search for cines in files and folders."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from monai_agglo.outputs import RESULT_FILES, is_result

from .cine import open_cine
from .dicom import group_cines
from .errors import CineReadError
from .header import is_dicom

__all__ = ["Case", "find_cases"]

SUFFIXES = (
    *(".avi", ".mp4", ".mov", ".mkv", ".wmv", ".m4v", ".mpg", ".mpeg"),
    *(".nii", ".nii.gz", ".nrrd", ".png", ".jpg", ".jpeg"),
)
"""Suffixes of the other formats found in folders; DICOM is detected from the content."""
MAX_STILLS = 50
"""Largest series read as separate stills; a longer one is a cine of unknown order."""


@dataclass(frozen=True)
class Case:
    """One cine.

    Args:
        shown: the file, or the folder of its instances, as given by the user; for the terminal only.
        paths: the file, or the instances of the series.
        note: remark for the reader of the result; may be empty.
    """

    shown: str
    paths: tuple[Path, ...]
    note: str = ""


def find_cases(source: str | os.PathLike, leave_out: Path | None = None) -> list[Case]:
    """Find the cines in a file or folder.

    Args:
        source: a file, or a folder that is searched recursively. Single-frame DICOM instances of one series form one
            cine.
        leave_out: a folder within ``source`` to skip, such as the output folder.

    Returns:
        Cases sorted by path. A file always gives one case. DICOM files without an image are cases too, so that they
        are reported.

    Raises:
        ValueError: the source does not exist, or the folder contains no candidate file.
    """
    path = Path(source).expanduser()
    if not path.exists():
        raise ValueError(f"{source}: there is no such file or folder")
    if not path.is_dir():
        return [Case(str(source), (path,))]
    skip = leave_out.resolve() if leave_out is not None else None
    dicom: list[Path] = []
    cases: list[Case] = []
    for folder, subfolders, names in os.walk(path):
        here = Path(folder)
        subfolders[:] = sorted(
            name for name in subfolders if not name.startswith(".") and (here / name).resolve() != skip
        )
        result = is_result(here)
        for name in sorted(names):
            file = here / name
            if name.startswith(".") or not file.is_file() or (result and name in RESULT_FILES):
                continue
            if _is_dicom(file):
                dicom.append(file)
            elif name.lower().endswith(SUFFIXES):
                cases.append(Case(str(file), (file,)))
    grouped: set[Path] = set()
    for headers in group_cines(dicom, source):
        files = tuple(Path(header.path) for header in headers)
        grouped.update(files)
        cases += _series(files) if len(files) > 1 else [Case(str(files[0]), files)]
    cases += [Case(str(file), (file,)) for file in dicom if file not in grouped and file.name != "DICOMDIR"]
    if not cases:
        raise ValueError(f"{source}: there is no DICOM file, video, NIfTI, NRRD, PNG or JPEG in this folder")
    return sorted(cases, key=lambda case: case.paths)


def _series(files: tuple[Path, ...]) -> list[Case]:
    """One case for a series of single frames; one per instance for stills of different size or without an order."""
    try:
        open_cine(list(files))
    except CineReadError:
        try:
            open_cine(files[0])
        except CineReadError:
            pass  # the instances themselves are unreadable: one case, one error
        else:
            if len(files) <= MAX_STILLS:
                note = f"The {len(files)} instances of its series do not form one cine: each is read as a still."
                return [Case(str(file), (file,), note) for file in files]
    return [Case(f"{files[0].parent} ({len(files)} instances)", files)]


def _is_dicom(file: Path) -> bool:
    try:
        return is_dicom(file)
    except OSError:
        return False

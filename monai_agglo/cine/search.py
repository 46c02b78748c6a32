"""What there is to segment: one file, one series, or a whole folder of both."""

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
"""Files other than DICOM that are tried in a folder; DICOM is told from the content."""


STILLS = 50
"""A series with more instances than this is a cine that lost its order, not a handful of stills."""


@dataclass(frozen=True)
class Case:
    """One cine to segment.

    Args:
        shown: the file, or the folder of its instances, as the user knows it; for the terminal only.
        paths: its file, or the instances of its series.
        note: what a reader of the result should know about how it was found; empty when nothing.
    """

    shown: str
    paths: tuple[Path, ...]
    note: str = ""


def find_cases(source: str | os.PathLike, leave_out: Path | None = None) -> list[Case]:
    """Find the cines in a file or folder.

    Args:
        source: a file, or a folder that is searched with its sub-folders. DICOM files of one frame that share a series
            are one cine.
        leave_out: a folder within ``source`` that is not searched: where results go.

    Returns:
        The cases in order of their paths; a single file is always one case, whatever it holds. DICOM files without an
        image in them are cases too, so that they are reported rather than lost.

    Raises:
        ValueError: when the source does not exist, or a folder holds nothing that could be a cine.
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
    """One case for a series of single frames; stills of different size, or without any order, are a case each."""
    try:
        open_cine(list(files))
    except CineReadError:
        try:
            open_cine(files[0])
        except CineReadError:
            pass  # not the order but the kind is the fault: one sentence is enough
        else:
            if len(files) <= STILLS:
                note = f"Its series of {len(files)} instances does not make one cine: each is taken as a still."
                return [Case(str(file), (file,), note) for file in files]
    return [Case(f"{files[0].parent} ({len(files)} instances)", files)]


def _is_dicom(file: Path) -> bool:
    try:
        return is_dicom(file)
    except OSError:
        return False

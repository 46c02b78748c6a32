"""Result folders: checked before the run, filled atomically at its end."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monai_agglo.files import atomic_path

__all__ = ["RESULT_FILES", "check_output", "is_ours", "is_result", "keep_settings", "result_folder"]

RECORD, SUMMARY = "predict.json", "summary.json"
PICTURES = ("overlay.mp4", "contact_sheet.png", "seg.dcm", "overlay.dcm", "sr.dcm")
REPORT = ("report.html", "measurements.json", "measurements.csv", "events.csv", "frames.csv")
RESULT_FILES = ("masks.nii.gz", *PICTURES, *REPORT, RECORD)
KINDS = ("monai_agglo.predict", "monai_agglo.predict_batch")
DAY_S = 86_400


def is_result(folder: Path) -> bool:
    """Whether a folder contains the record of a finished ``predict`` run."""
    for name in (RECORD, SUMMARY):
        try:
            record = json.loads((folder / name).read_text(encoding="utf-8"))
            if isinstance(record, dict) and record.get("kind") in KINDS:
                return True
        except (OSError, ValueError):
            continue
    return False


def is_ours(folder: Path) -> bool:
    """Whether a folder contains the record of ``predict``, or only files that ``predict`` writes."""
    if is_result(folder):
        return True
    return all(
        is_ours(entry)
        if entry.is_dir()
        else entry.name in RESULT_FILES or entry.name.startswith(".") or entry.name == "Thumbs.db"
        for entry in folder.iterdir()
    )


def check_output(output: str | os.PathLike, overwrite: bool = False) -> Path:
    """Refuse an output folder that contains foreign files.

    Args:
        output: output folder; it may not exist yet.
        overwrite: accept a folder with foreign files; only files of the same name are replaced.

    Returns:
        The absolute path of the folder.

    Raises:
        ValueError: ``output`` is a file, or contains foreign files and ``overwrite`` is False.
    """
    folder = Path(output).expanduser().absolute()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{output}: the output must be a folder, not a file")
    if folder.is_dir() and not overwrite and not is_ours(folder):
        raise ValueError(f"{output}: contains files that are not results; choose another folder or add --overwrite")
    return folder


@contextmanager
def result_folder(output: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``output``; its files move there when the block succeeds.

    The old record (``predict.json``) is removed first and the new one moves last: a folder with a record is complete.

    Args:
        output: final folder, checked by :func:`check_output`.

    Yields:
        The folder to write to.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    for left in output.parent.glob(f".{output.name}.*.part"):  # left behind by a killed run
        if left.is_dir() and time.time() - left.stat().st_mtime > DAY_S:
            shutil.rmtree(left, ignore_errors=True)
    work = output.with_name(f".{output.name}.{secrets.token_hex(4)}.part")
    work.mkdir(mode=0o700)
    try:
        yield work
        if not output.exists():
            work.chmod(0o777 & ~_umask())
            work.rename(output)
            return
        for name in RESULT_FILES[::-1]:
            if name == RECORD or not (work / name).exists():
                (output / name).unlink(missing_ok=True)
        for name in RESULT_FILES:
            if (work / name).exists():
                os.replace(work / name, output / name)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def keep_settings(path: Path, settings: dict[str, Any], kind: str) -> None:
    """Write the settings of a long computation beside its results, and refuse other ones later.

    Args:
        path: JSON file in the folder of the results; processes that begin together take turns.
        settings: what the results depend on.
        kind: what the folder holds, for the message.

    Raises:
        ValueError: naming the settings that differ.
    """
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    now = json.loads(json.dumps(settings))
    with FileLock(path.with_suffix(".lock")):
        if not path.is_file():
            with atomic_path(path) as partial:
                partial.write_text(json.dumps(now, indent=1), encoding="utf-8")
            return
        kept = json.loads(path.read_text(encoding="utf-8"))
    other = sorted(name for name in {*kept, *now} if kept.get(name) != now.get(name))
    if other:
        raise ValueError(f"{path.parent} holds a {kind} with other {', '.join(other)}: choose another folder")

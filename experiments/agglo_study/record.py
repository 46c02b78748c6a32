"""A study's results without its students and features: small enough to publish, and a study can go on from them."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

from monai_agglo.files import atomic_path

__all__ = ["RECORD", "restore_record", "write_record"]

RECORD = "agglo_study_record.zip"
FACTS = {
    "settings.json": "settings.json",
    "choice.json": "choice.json",
    "features/built.json": "features/recorded.json",
}
"""Besides the results, by place in a study: the place in one that is restored. Its features are not there."""
MOST_BYTES = 256 << 20
_RESULT = re.compile(r"results/(?:[\w+-][\w.+-]*/)+[\w+-][\w.+-]*\.json", re.ASCII)
_EPOCH = (1980, 1, 1, 0, 0, 0)


def write_record(study: Path, path: Path) -> None:
    """Pack every result of a study, the scores of every image among them, with its settings and its choice.

    Args:
        study: folder of the study.
        path: of the archive; the same results give the same bytes.
    """
    files = {place: study / place for place in FACTS}
    if not files["features/built.json"].is_file():  # of a study that was restored itself
        files["features/built.json"] = study / FACTS["features/built.json"]
    files |= {found.relative_to(study).as_posix(): found for found in (study / "results").rglob("*.json")}
    with atomic_path(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for place in sorted(files):
            if files[place].is_file():
                text = json.dumps(json.loads(files[place].read_text(encoding="utf-8")), separators=(",", ":"))
                archive.writestr(zipfile.ZipInfo(place, _EPOCH), text, zipfile.ZIP_DEFLATED)


def restore_record(path: Path, study: Path) -> int:
    """Begin a study with recorded results; what is not among them is done as ever.

    Students are not in a record: one that has probes to come is distilled anew.

    Args:
        path: of the archive.
        study: folder to be made.

    Returns:
        How many results there are.

    Raises:
        ValueError: if the folder holds a study, or the archive is none of :func:`write_record`.
        FileNotFoundError: if there is no archive.
    """
    if (study / "settings.json").exists():
        raise ValueError(f"{study} holds a study already: choose another folder for the one in {path}")
    texts = _read(path)
    results = {name: text for name, text in texts.items() if name.startswith("results/")}
    places = {FACTS[name]: texts[name] for name in texts if name in FACTS}
    settings = places.pop("settings.json")
    # the settings come last: a folder that was not filled to the end is no study and is filled again
    for name, text in {**results, **places, "settings.json": settings}.items():
        with atomic_path(study / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return len(results)


def _read(path: Path) -> dict[str, str]:
    """Members of an archive that may come from anywhere, by name; checked before anything is written."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such record of a study")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > MOST_BYTES:
                raise ValueError("it is too large")
            for member in members:
                if member.filename not in FACTS and not _RESULT.fullmatch(member.filename):
                    raise ValueError(f"it holds {member.filename!r}")
            texts = {member.filename: archive.read(member).decode("utf-8") for member in members}
        for text in texts.values():
            json.loads(text)
        if "settings.json" not in texts:
            raise ValueError("it holds no settings")
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path} is no record of a study ({error})") from error
    return texts

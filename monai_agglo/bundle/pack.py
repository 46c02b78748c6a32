"""Pack a bundle into a self-contained folder with a copy of this package.

MONAI and MONAI Label put the folder of a bundle on the path, so its copy of ``monai_agglo`` is imported.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from monai_agglo import __version__
from monai_agglo.files import sha256
from monai_agglo.locate import find_bundle

__all__ = ["label_name", "pack", "source_hash"]

RECORD = "packed.json"
PACKAGE = "monai_agglo"
LEFT_OUT = ("eval", "data", "mlruns*", "__pycache__", "*.pyc", "*.part", ".*", RECORD)
"""Run outputs in a bundle's folder, not part of the bundle."""
PROMPTS = {"box", "points"}


def pack(
    bundle: str | os.PathLike[str] = "vfss_seg",
    output: str | os.PathLike[str] = "dist",
    name: str | None = None,
    label: bool = False,
) -> Path:
    """Copy a bundle and this package into one folder.

    The folder is written atomically. An existing one is replaced only if it was packed by this function and is
    unchanged since: weights trained in it are never lost.

    Args:
        bundle: a bundle's folder or name, see :func:`find_bundle`.
        output: folder that the packed bundle is put into; made when missing.
        name: of the packed folder; :func:`label_name` when None.
        label: for MONAI Label, which reads ``train.json`` and ``inference.json`` only and names no host: write
            ``label.json`` into the first and ``in_label`` into the second, so that nothing is guessed.

    Returns:
        The packed folder.

    Raises:
        FileNotFoundError: when there is no such bundle, or it has no weights yet.
        ValueError: when the name is no plain folder name, ``label.json`` sets what ``train.json`` does not have, the
            bundle brings code that would hide other code, or the folder exists and is not what was packed.
    """
    source = find_bundle(bundle).resolve()
    name = label_name(source) if name is None else name
    if not name or name != Path(name).name or name.startswith("."):
        raise ValueError(f"{name!r} is no name for a folder")
    if not any((source / "models" / f"model.{kind}").is_file() for kind in ("pt", "ts")):
        raise FileNotFoundError(
            f"{source} has no models/model.pt: train it, or get a teacher's with 'python -m monai_agglo weights'"
        )
    for hidden in ("scripts", "monai"):
        if (source / hidden).is_dir():
            raise ValueError(f"{source} holds a folder {hidden}, which other bundles' code would be mistaken for")
    folder = Path(output).expanduser().absolute() / name
    if folder.is_relative_to(source):
        raise ValueError(f"{folder} lies in the bundle itself; give another --output")
    _check_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = folder.with_name(f".{name}.{secrets.token_hex(4)}.part")
    try:
        shutil.copytree(source, work, ignore=shutil.ignore_patterns(*LEFT_OUT, PACKAGE))
        if label:
            _for_label(work / "configs")
        _copy_package(work / PACKAGE)
        record: dict[str, Any] = {"bundle": source.name, "monai_agglo": __version__}
        record["source_sha256"] = source_hash(work / PACKAGE)
        record["files"] = {path.relative_to(work).as_posix(): sha256(path) for path in _files(work)}
        (work / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        _move(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def _for_label(configs: Path) -> None:
    """Write into the two files that MONAI Label reads what it cannot be told otherwise."""
    train, overrides = configs / "train.json", configs / "label.json"
    if overrides.is_file():
        _set_ids(train, json.loads(overrides.read_text(encoding="utf-8")))
    if "in_label" in json.loads((configs / "inference.json").read_text(encoding="utf-8")):
        _set_ids(configs / "inference.json", {"in_label": True})


def _set_ids(path: Path, values: dict[str, Any]) -> None:
    """Set ids of a config."""
    config = json.loads(path.read_text(encoding="utf-8"))
    values = {key: value for key, value in values.items() if key != "_desc_"}
    if unknown := sorted(values.keys() - config.keys()):
        raise ValueError(f"label.json sets {', '.join(unknown)}, which {path.name} does not have")
    path.write_text(json.dumps({**config, **values}, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")


def label_name(bundle: str | os.PathLike[str]) -> str:
    """Folder name with the right model type in MONAI Label.

    MONAI Label derives the model type from the folder name; clients offer points for some types only.

    Args:
        bundle: a bundle's folder.

    Returns:
        ``litemedsam_deepgrow`` for ``litemedsam_teacher`` and for every other bundle that takes prompts; else the
        folder's own name.
    """
    folder = Path(bundle).resolve()
    metadata = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
    image = metadata.get("network_data_format", {}).get("inputs", {}).get("image", {})
    prompted = PROMPTS & set(image.get("channel_def", {}).values())
    return f"{folder.name.removesuffix('_teacher')}_deepgrow" if prompted else folder.name


def source_hash(package: str | os.PathLike[str] | None = None) -> str:
    """SHA-256 over file names and contents of this package.

    Args:
        package: the folder ``monai_agglo``; the imported one if None.

    Returns:
        64 hexadecimal digits; independent of the location.
    """
    folder = Path(__file__).resolve().parents[1] if package is None else Path(package)
    digest = hashlib.sha256()
    for path in _sources(folder):
        digest.update(f"{path.relative_to(folder).as_posix()} {sha256(path)}\n".encode())
    return digest.hexdigest()


def _sources(folder: Path) -> list[Path]:
    """Files of the package, without bytecode and without the bundle included in a wheel."""
    skip = {"__pycache__", "bundles"}
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return sorted(path for path in found if not skip & set(path.relative_to(folder).parts[:-1]))


def _copy_package(target: Path) -> None:
    source = Path(__file__).resolve().parents[1]
    for path in _sources(source):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _files(folder: Path) -> list[Path]:
    """All files of a packed folder except its record and bytecode."""
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sorted(path for path in found if path != folder / RECORD)


def _check_replaceable(folder: Path) -> None:
    if not folder.exists() and not folder.is_symlink():
        return
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        packed = dict(record["files"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(f"{folder} exists and was not packed by this command; give another --output") from None
    there = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    other = sorted(name for name, path in there.items() if name not in packed or sha256(path) != packed[name])
    if other:
        raise ValueError(
            f"{folder} has changed since it was packed ({other[0]} and {len(other) - 1} more files); move it away first"
            if len(other) > 1
            else f"{folder} has changed since it was packed ({other[0]}); move it away first"
        )


def _move(work: Path, folder: Path) -> None:
    """Replace the old folder by the new one; in between there is none, never a partial one."""
    old = work.with_suffix(".old")
    if folder.exists():
        os.replace(folder, old)
    try:
        os.replace(work, folder)
    except OSError:
        if old.exists():
            os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)

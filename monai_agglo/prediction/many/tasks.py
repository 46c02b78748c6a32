"""Tasks: one per cine of a folder or of a DICOMweb query, named in advance."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from monai_agglo.cine.search import Case
from monai_agglo.outputs import KINDS, RECORD
from monai_agglo.pacs.web import DicomWeb

__all__ = ["Task", "is_done", "name_tasks", "web_tasks"]

logger = logging.getLogger(__name__)

CINES = (
    "1.2.840.10008.5.1.4.1.1.12.1",
    "1.2.840.10008.5.1.4.1.1.12.1.1",
    "1.2.840.10008.5.1.4.1.1.12.2",
    "1.2.840.10008.5.1.4.1.1.12.2.1",
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.7.1",
    "1.2.840.10008.5.1.4.1.1.7.2",
    "1.2.840.10008.5.1.4.1.1.7.3",
    "1.2.840.10008.5.1.4.1.1.7.4",
)
"""What is fetched from a PACS: X-ray angiography and radiofluoroscopy, enhanced too, and secondary captures."""


@dataclass(frozen=True)
class Task:
    """A cine and where its results go. It travels to other processes as JSON.

    Args:
        shown: the cine as the user knows it; for the terminal only.
        pseudonym: of the cine.
        folder: of its results, in the output folder.
        paths: its files; empty for one that is fetched.
        note: see :class:`~monai_agglo.cine.search.Case`.
        study, series, instances: UIDs of what is fetched.
    """

    shown: str
    pseudonym: str
    folder: str
    paths: tuple[str, ...] = ()
    note: str = ""
    study: str = ""
    series: str = ""
    instances: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The task as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Task:
        """The inverse of :meth:`to_json`."""
        content = json.loads(text)
        lists = {name: tuple(content[name]) for name in ("paths", "instances")}
        return cls(**{**content, **lists})

    def case(self, paths: Sequence[Path] = ()) -> Case:
        """The cine as ``predict`` takes it.

        Args:
            paths: the fetched files.
        """
        return Case(self.shown, tuple(paths) or tuple(map(Path, self.paths)), self.note)


def name_tasks(found: Iterable[tuple[Case, str]]) -> list[Task]:
    """Give each cine a folder of its own, by its pseudonym, always the same for the same cines.

    Args:
        found: cines and their pseudonyms.
    """
    used: set[str] = set()
    tasks = []
    for case, own in found:
        name, number = own, 1
        while name in used:  # copies of one instance, or files that share a UID
            number += 1
            name = f"{own}-{number}"
        used.add(name)
        tasks.append(Task(case.shown, own, name, tuple(map(str, case.paths)), case.note))
    return tasks


def web_tasks(web: DicomWeb, filters: Mapping[str, str], progress: bool = False) -> list[Task]:
    """The cines of a DICOMweb query; nothing is fetched yet.

    Args:
        web: the server.
        filters: which studies, by keyword, such as ``StudyDate="20240101-20241231"``.
        progress: show a progress bar.

    Returns:
        One task per multi-frame instance, and one per series of single frames.

    Raises:
        ConnectionError: when the server cannot be reached or refuses.
    """
    from tqdm import tqdm

    from monai_agglo.cine.identity import pseudonym

    tasks = []
    for study in tqdm(web.studies(**filters), desc="asking", unit="study", disable=not progress, delay=2):
        groups: dict[tuple[str, str], list[str]] = {}
        for item in web.find(study):
            if _text(item, "00080016") not in CINES:
                continue
            series, instance = _text(item, "0020000E"), _text(item, "00080018")
            many = int(_text(item, "00280008") or 1) > 1
            groups.setdefault((series, instance if many else ""), []).append(instance)
        for (series, _), instances in sorted(groups.items()):
            own = pseudonym(instances[0] if len(instances) == 1 else series)
            tasks.append(Task(f"cine {own}", own, own, (), "", study, series, tuple(sorted(instances))))
    return tasks


def _text(item: Mapping[str, Any], tag: str) -> str:
    return str((item.get(tag, {}).get("Value") or [""])[0])


def is_done(folder: Path, task: Task, model: Mapping[str, Any], files: Sequence[str]) -> bool:
    """Whether a folder holds the complete result of a task, made with these weights.

    Args:
        folder: of its results; it may not exist.
        task: the task.
        model: the bundle's identity, see :meth:`.Segmenter.identity`.
        files: names of the files that a result has.
    """
    path = folder / RECORD
    try:
        made = path.stat().st_mtime
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["kind"] != KINDS[0] or record["source"]["pseudonym"] != task.pseudonym:
            return False
        if record["model"]["weights_sha256"] != model["weights_sha256"]:
            return False
        if any(Path(file).stat().st_mtime > made for file in task.paths):
            return False
        return all((folder / name).is_file() for name in files)
    except (OSError, ValueError, KeyError, TypeError):
        return False

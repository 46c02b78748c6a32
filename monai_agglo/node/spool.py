"""The queue on disk. Every step is a rename, so that a computer that stops at any moment loses nothing.

``receiving`` and ``work`` hold what is not finished and are emptied at the start. A cine goes from ``incoming`` to
``outgoing`` (a folder with its results) or to ``failed``; results that the peer will not have go to ``refused``.
``done`` remembers what was finished. Names of files are pseudonyms.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_agglo.cine.identity import pseudonym
from monai_agglo.files import atomic_path

__all__ = ["Spool", "SpoolFullError", "digest_of", "sync"]

FOLDERS = ("receiving", "incoming", "work", "outgoing", "failed", "refused", "done", "studies")
_CHUNK = 1 << 20


class SpoolFullError(OSError):
    """There is no room for another object."""


@dataclass(frozen=True)
class Job:
    """A cine that waits.

    Args:
        key: its pseudonym.
        path: its file.
        attempts: how often it was begun before.
        ae_title: who sent it.
    """

    key: str
    path: Path
    attempts: int
    ae_title: str


class Spool:
    """The folder of a node. One process at a time may have it.

    Args:
        root: the folder; made when missing, for its owner only.
        queue: cines that may wait.
        free_bytes: disk space that is left alone.

    Raises:
        ValueError: when another process has it.
    """

    def __init__(self, root: str | os.PathLike, queue: int, free_bytes: int) -> None:
        from filelock import FileLock, Timeout

        self.root, self.queue, self.free_bytes = Path(root), queue, free_bytes
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file_lock = FileLock(self.root / "lock")
        try:
            self._file_lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(f"{self.root}: another process serves from this folder") from None
        for name in FOLDERS:
            (self.root / name).mkdir(mode=0o700, exist_ok=True)
        self._lock = threading.Lock()
        self.arrived, self.finished = threading.Event(), threading.Event()
        self._recover()

    def close(self) -> None:
        """Let another process have the folder."""
        self._file_lock.release()

    def _recover(self) -> None:
        """Clear away what a process that was killed left half done."""
        for name in ("receiving", "work"):
            for entry in self._all(name):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        for entry in self._all("incoming"):
            key = entry.name.split(".")[0]
            if entry.suffix == ".json" and not entry.with_suffix(".dcm").exists():
                entry.unlink(missing_ok=True)
            elif entry.suffix == ".part":
                entry.unlink()
            elif entry.suffix == ".dcm" and ((self.root / "outgoing" / key).exists() or self._tombstone(key)):
                self._forget(key)  # it was finished, and only its removal was not
        for entry in self._all("outgoing"):
            if self._tombstone(entry.name):
                shutil.rmtree(entry)

    def _all(self, name: str) -> list[Path]:
        return sorted((self.root / name).iterdir())

    def counts(self) -> dict[str, int]:
        """How many objects wait, and how many need a person."""
        count = {name: len(list((self.root / name).glob("*"))) for name in ("outgoing", "refused")}
        return count | {name: len(list((self.root / name).glob("*.dcm"))) for name in ("incoming", "failed")}

    # ---- receiving

    def check_room(self) -> None:
        """Refuse an object that cannot be kept.

        Raises:
            SpoolFullError: when the queue or the disk is full.
        """
        waiting = sum(1 for _ in (self.root / "incoming").glob("*.dcm"))
        if waiting >= self.queue:
            raise SpoolFullError(f"the queue is full ({waiting} cines wait)")
        if shutil.disk_usage(self.root).free < self.free_bytes:
            raise SpoolFullError(f"less than {self.free_bytes >> 20} MB are free on the disk of the queue")

    def add(self, part: Path, uid: str, ae_title: str) -> str:
        """Take a file that was received and is on disk.

        Args:
            part: the file, in ``receiving``; it is gone afterwards.
            uid: its SOP Instance UID.
            ae_title: who sent it.

        Returns:
            ``queued``; ``duplicate`` when the same object is known already; ``conflict`` when another object is known
            under the same UID. Only the first was kept in the queue.

        Raises:
            SpoolFullError: when there is no room.
            OSError: when the disk fails.
        """
        key = pseudonym(uid)
        place = self.root / "incoming" / f"{key}.dcm"
        with self._lock:
            if (known := self._digest(key)) is not None:
                same = known == digest_of(part)
                part.unlink()
                return "duplicate" if same else "conflict"
            self.check_room()
            write_json(place.with_suffix(".json"), {"ae": ae_title, "attempts": 0})
            os.replace(part, place)
            sync(place.parent)
        self._drop("failed", key)  # a new copy of what could not be read
        self.arrived.set()
        return "queued"

    def _digest(self, key: str) -> str | None:
        """Digest of a known object that did not fail."""
        place = self.root / "incoming" / f"{key}.dcm"
        if place.exists():
            return digest_of(place)
        for name in (f"done/{key}.json", f"outgoing/{key}/job.json", f"refused/{key}/job.json"):
            if (self.root / name).exists():
                return read_json(self.root / name).get("digest", "")
        return None

    # ---- segmenting

    def jobs(self) -> list[Job]:
        """The cines that wait, those begun least often first, then the oldest."""
        found = []
        for path in (self.root / "incoming").glob("*.dcm"):
            state = read_json(path.with_suffix(".json"))
            with contextlib.suppress(FileNotFoundError):
                order = (int(state.get("attempts", 0)), path.stat().st_mtime_ns)
                found.append((order, Job(path.stem, path, order[0], str(state.get("ae", "")))))
        return [job for _, job in sorted(found, key=lambda item: item[0])]

    def begin(self, job: Job, attempts: int) -> Path:
        """Note that a cine is begun, before it can do harm.

        Args:
            job: the cine.
            attempts: how often it will have been begun then.

        Returns:
            An empty folder for its results.
        """
        write_json(job.path.with_suffix(".json"), {"ae": job.ae_title, "attempts": attempts})
        folder = self.root / "work" / job.key
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        return folder

    def finish(self, job: Job, folder: Path, files: list[str]) -> None:
        """Hand the results of a cine over to the sender.

        Args:
            job: the cine.
            folder: from :meth:`begin`.
            files: the files in it to send; others are dropped.
        """
        for entry in folder.iterdir():
            if entry.name not in files:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        for name in files:
            sync(folder / name)
        write_json(folder / "job.json", {"ae": job.ae_title, "digest": digest_of(job.path)})
        sync(folder)
        os.replace(folder, self.root / "outgoing" / job.key)
        sync(self.root / "outgoing")
        self._forget(job.key)
        self.finished.set()

    def fail(self, job: Job, reason: str) -> None:
        """Put a cine aside that cannot be segmented, for a person to look at.

        Args:
            job: the cine.
            reason: one sentence.
        """
        shutil.rmtree(self.root / "work" / job.key, ignore_errors=True)
        place = self.root / "failed" / f"{job.key}.dcm"
        write_json(place.with_suffix(".json"), {"ae": job.ae_title, "reason": reason})
        os.replace(job.path, place)
        sync(place.parent)
        self._forget(job.key)

    def patient_of(self, study: str, patient: str) -> str:
        """Remember whose study it is.

        Args:
            study: pseudonym of the study.
            patient: pseudonym of the patient.

        Returns:
            Pseudonym of the patient that the study belonged to first.
        """
        place = self.root / "studies" / f"{study}.json"
        if not place.exists():
            write_json(place, {"patient": patient})
        return str(read_json(place).get("patient", patient))

    def _forget(self, key: str) -> None:
        for suffix in (".dcm", ".json"):
            (self.root / "incoming" / f"{key}{suffix}").unlink(missing_ok=True)

    def _drop(self, name: str, key: str) -> None:
        for suffix in (".dcm", ".json"):
            (self.root / name / f"{key}{suffix}").unlink(missing_ok=True)

    # ---- sending

    def results(self) -> list[Path]:
        """Folders whose files are to be sent, the oldest first."""
        folders = [folder for folder in (self.root / "outgoing").iterdir() if folder.is_dir()]
        return sorted(folders, key=lambda folder: folder.stat().st_mtime_ns)

    def sent(self, folder: Path) -> None:
        """All files of a folder are with the peer."""
        job = read_json(folder / "job.json")
        write_json(self.root / "done" / f"{folder.name}.json", {"digest": job.get("digest", "")})
        shutil.rmtree(folder)

    def refuse(self, folder: Path, reason: str) -> None:
        """Put results aside that the peer will not have.

        Args:
            folder: from :meth:`results`.
            reason: what the peer said.
        """
        job = read_json(folder / "job.json")
        write_json(folder / "job.json", job | {"reason": reason})
        place = self.root / "refused" / folder.name
        shutil.rmtree(place, ignore_errors=True)
        os.replace(folder, place)
        sync(place.parent)

    def retry(self) -> int:
        """Put what failed or was refused back into the queue.

        Returns:
            How many objects.
        """
        count = 0
        for path in sorted((self.root / "failed").glob("*.dcm")):
            state = read_json(path.with_suffix(".json"))
            place = self.root / "incoming" / path.name
            write_json(place.with_suffix(".json"), {"ae": state.get("ae", ""), "attempts": 0})
            os.replace(path, place)
            self._drop("failed", path.stem)
            count += 1
        for folder in self._all("refused"):
            os.replace(folder, self.root / "outgoing" / folder.name)
            count += 1
        return count

    def tidy(self, keep_s: float) -> None:
        """Forget finished objects and studies of long ago."""
        for name in ("done", "studies"):
            for entry in self._all(name):
                if time.time() - entry.stat().st_mtime > keep_s:
                    entry.unlink(missing_ok=True)

    def _tombstone(self, key: str) -> bool:
        return (self.root / "done" / f"{key}.json").exists()


def digest_of(path: Path) -> str:
    """SHA-256 of a DICOM file without its file meta, which says how it came and not what it is."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        head = file.read(144)
        # (0002,0000) File Meta Information Group Length comes first, and tells where the data set begins
        known = len(head) == 144 and head[128:132] == b"DICM" and head[132:140] == b"\x02\x00\x00\x00UL\x04\x00"
        file.seek(144 + struct.unpack("<L", head[140:])[0] if known else 0)
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Make a file's content, or a folder's names, safe against a loss of power."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a small file whole, and onto the disk."""
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(content), encoding="utf-8")
        sync(partial)
    sync(path.parent)


def read_json(path: Path) -> dict[str, Any]:
    """A small file; nothing when it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}

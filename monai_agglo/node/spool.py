"""Crash-safe queue on disk; every step is an atomic rename.

``receiving`` and ``work`` contain unfinished data and are cleared at start. A cine moves from ``incoming`` to
``outgoing`` (a folder with its results) or ``failed``; results rejected by the peer move to ``refused``. ``done``
records finished cines. File names are pseudonyms.
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
from monai_agglo.files import sync, write_json

__all__ = ["Spool", "SpoolFullError", "digest_of"]

FOLDERS = ("receiving", "incoming", "work", "outgoing", "failed", "refused", "done", "studies")
_CHUNK = 1 << 20


class SpoolFullError(OSError):
    """No space for another object."""


@dataclass(frozen=True)
class Job:
    """A queued cine.

    Args:
        key: its pseudonym.
        path: its file.
        attempts: number of previous attempts.
        ae_title: AE title of the sender.
    """

    key: str
    path: Path
    attempts: int
    ae_title: str


class Spool:
    """The queue folder of a node, locked by one process.

    Args:
        root: the folder, created if needed; accessible to its owner only.
        queue: largest number of queued cines.
        free_bytes: free disk space to preserve, bytes.

    Raises:
        ValueError: another process uses the folder.
    """

    def __init__(self, root: str | os.PathLike, queue: int, free_bytes: int) -> None:
        from filelock import FileLock, Timeout

        self.root, self.queue, self.free_bytes = Path(root), queue, free_bytes
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file_lock = FileLock(self.root / "lock")
        try:
            self._file_lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(f"{self.root}: another process uses this folder") from None
        for name in FOLDERS:
            (self.root / name).mkdir(mode=0o700, exist_ok=True)
        self._lock = threading.Lock()
        self.arrived, self.finished = threading.Event(), threading.Event()
        self._recover()

    def close(self) -> None:
        """Release the folder."""
        self._file_lock.release()

    def _recover(self) -> None:
        """Clean up after a killed process."""
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
                self._forget(key)  # finished but not yet removed
        for entry in self._all("outgoing"):
            if self._tombstone(entry.name):
                shutil.rmtree(entry)

    def _all(self, name: str) -> list[Path]:
        return sorted((self.root / name).iterdir())

    def counts(self) -> dict[str, int]:
        """Number of waiting, failed and refused objects."""
        count = {name: len(list((self.root / name).glob("*"))) for name in ("outgoing", "refused")}
        return count | {name: len(list((self.root / name).glob("*.dcm"))) for name in ("incoming", "failed")}

    # ---- receiving

    def check_room(self) -> None:
        """Check the space for another object.

        Raises:
            SpoolFullError: the queue or the disk is full.
        """
        waiting = sum(1 for _ in (self.root / "incoming").glob("*.dcm"))
        if waiting >= self.queue:
            raise SpoolFullError(f"the queue is full ({waiting} cines wait)")
        if shutil.disk_usage(self.root).free < self.free_bytes:
            raise SpoolFullError(f"less than {self.free_bytes >> 20} MB are free on the disk of the queue")

    def add(self, part: Path, uid: str, ae_title: str) -> str:
        """Add a received file to the queue.

        Args:
            part: the file in ``receiving``; removed by this call.
            uid: its SOP Instance UID.
            ae_title: AE title of the sender.

        Returns:
            ``queued``; ``duplicate`` for a known object; ``conflict`` for another object with the same UID. Only a
            ``queued`` object is kept.

        Raises:
            SpoolFullError: the queue or the disk is full.
            OSError: disk error.
        """
        key = pseudonym(uid)
        place = self.root / "incoming" / f"{key}.dcm"
        with self._lock:
            if (known := self._digest(key)) is not None:
                same = known == digest_of(part)
                part.unlink()
                return "duplicate" if same else "conflict"
            self.check_room()
            write_json(place.with_suffix(".json"), {"ae": ae_title, "attempts": 0}, durable=True)
            os.replace(part, place)
            sync(place.parent)
        self._drop("failed", key)  # replaced by the new copy
        self.arrived.set()
        return "queued"

    def _digest(self, key: str) -> str | None:
        """Digest of a known object, except failed ones."""
        place = self.root / "incoming" / f"{key}.dcm"
        if place.exists():
            return digest_of(place)
        for name in (f"done/{key}.json", f"outgoing/{key}/job.json", f"refused/{key}/job.json"):
            if (self.root / name).exists():
                return read_json(self.root / name).get("digest", "")
        return None

    # ---- segmenting

    def jobs(self) -> list[Job]:
        """Queued cines, sorted by number of attempts, then by age."""
        found = []
        for path in (self.root / "incoming").glob("*.dcm"):
            state = read_json(path.with_suffix(".json"))
            with contextlib.suppress(FileNotFoundError):
                order = (int(state.get("attempts", 0)), path.stat().st_mtime_ns)
                found.append((order, Job(path.stem, path, order[0], str(state.get("ae", "")))))
        return [job for _, job in sorted(found, key=lambda item: item[0])]

    def begin(self, job: Job, attempts: int) -> Path:
        """Record an attempt before processing starts.

        Args:
            job: the cine.
            attempts: number of attempts including this one.

        Returns:
            An empty folder for the results.
        """
        write_json(job.path.with_suffix(".json"), {"ae": job.ae_title, "attempts": attempts}, durable=True)
        folder = self.root / "work" / job.key
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        return folder

    def finish(self, job: Job, folder: Path, files: list[str]) -> None:
        """Move the results of a cine to ``outgoing``.

        Args:
            job: the cine.
            folder: folder from :meth:`begin`.
            files: names of the files to send; others are removed.
        """
        for entry in folder.iterdir():
            if entry.name not in files:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        for name in files:
            sync(folder / name)
        write_json(folder / "job.json", {"ae": job.ae_title, "digest": digest_of(job.path)}, durable=True)
        sync(folder)
        os.replace(folder, self.root / "outgoing" / job.key)
        sync(self.root / "outgoing")
        self._forget(job.key)
        self.finished.set()

    def fail(self, job: Job, reason: str) -> None:
        """Move a cine to ``failed``.

        Args:
            job: the cine.
            reason: reason of the failure, one sentence.
        """
        shutil.rmtree(self.root / "work" / job.key, ignore_errors=True)
        place = self.root / "failed" / f"{job.key}.dcm"
        write_json(place.with_suffix(".json"), {"ae": job.ae_title, "reason": reason}, durable=True)
        os.replace(job.path, place)
        sync(place.parent)
        self._forget(job.key)

    def patient_of(self, study: str, patient: str) -> str:
        """Record the patient of a study.

        Args:
            study: pseudonym of the study.
            patient: pseudonym of the patient.

        Returns:
            Pseudonym of the patient recorded first.
        """
        place = self.root / "studies" / f"{study}.json"
        if not place.exists():
            write_json(place, {"patient": patient}, durable=True)
        return str(read_json(place).get("patient", patient))

    def _forget(self, key: str) -> None:
        for suffix in (".dcm", ".json"):
            (self.root / "incoming" / f"{key}{suffix}").unlink(missing_ok=True)

    def _drop(self, name: str, key: str) -> None:
        for suffix in (".dcm", ".json"):
            (self.root / name / f"{key}{suffix}").unlink(missing_ok=True)

    # ---- sending

    def results(self) -> list[Path]:
        """Folders with unsent results, oldest first."""
        folders = [folder for folder in (self.root / "outgoing").iterdir() if folder.is_dir()]
        return sorted(folders, key=lambda folder: folder.stat().st_mtime_ns)

    def sent(self, folder: Path) -> None:
        """Mark a result folder as delivered and remove it."""
        job = read_json(folder / "job.json")
        write_json(self.root / "done" / f"{folder.name}.json", {"digest": job.get("digest", "")}, durable=True)
        shutil.rmtree(folder)

    def refuse(self, folder: Path, reason: str) -> None:
        """Move results rejected by the peer to ``refused``.

        Args:
            folder: folder from :meth:`results`.
            reason: reason given by the peer.
        """
        job = read_json(folder / "job.json")
        write_json(folder / "job.json", job | {"reason": reason}, durable=True)
        place = self.root / "refused" / folder.name
        shutil.rmtree(place, ignore_errors=True)
        os.replace(folder, place)
        sync(place.parent)

    def retry(self) -> int:
        """Return failed and refused objects to the queue.

        Returns:
            Number of objects.
        """
        count = 0
        for path in sorted((self.root / "failed").glob("*.dcm")):
            state = read_json(path.with_suffix(".json"))
            place = self.root / "incoming" / path.name
            write_json(place.with_suffix(".json"), {"ae": state.get("ae", ""), "attempts": 0}, durable=True)
            os.replace(path, place)
            self._drop("failed", path.stem)
            count += 1
        for folder in self._all("refused"):
            os.replace(folder, self.root / "outgoing" / folder.name)
            count += 1
        return count

    def tidy(self, keep_s: float) -> None:
        """Remove records of finished objects and studies older than ``keep_s`` seconds."""
        for name in ("done", "studies"):
            for entry in self._all(name):
                if time.time() - entry.stat().st_mtime > keep_s:
                    entry.unlink(missing_ok=True)

    def _tombstone(self, key: str) -> bool:
        return (self.root / "done" / f"{key}.json").exists()


def digest_of(path: Path) -> str:
    """SHA-256 of a DICOM file without its file meta information, which depends on the transfer."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        head = file.read(144)
        # (0002,0000) File Meta Information Group Length gives the start of the data set
        known = len(head) == 144 and head[128:132] == b"DICM" and head[132:140] == b"\x02\x00\x00\x00UL\x04\x00"
        file.seek(144 + struct.unpack("<L", head[140:])[0] if known else 0)
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """Content of a JSON file; empty if it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}

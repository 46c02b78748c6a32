"""Units of work with a result file each: shared by any number of processes, and none is lost to ``kill -9``."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from monai_agglo.files import atomic_path

__all__ = ["Unit", "UnitStore"]


@dataclass(frozen=True)
class Unit:
    """Something to be done once.

    Attributes:
        key: of its result, a relative path without suffix.
        work: does it and gives a plain JSON result.
        needs: keys of units that have to be done before.
    """

    key: str
    work: Callable[[], dict[str, Any]]
    needs: tuple[str, ...] = ()


class UnitStore:
    """Results by key, in a folder that processes share.

    A unit is done by whoever gets its lock; the system frees a lock when a process ends, in whatever way. A result
    appears whole or not at all.

    Args:
        folder: of results and locks.
        poll_s: how often to look for results of others, seconds.
    """

    def __init__(self, folder: Path, poll_s: float = 5.0) -> None:
        self.folder = folder
        self.poll_s = poll_s

    def path(self, key: str) -> Path:
        """Where a result is, or will be."""
        return self.folder / "results" / f"{key}.json"

    def get(self, key: str) -> dict[str, Any] | None:
        """A result, or None where there is none yet.

        Raises:
            ValueError: for a file that is no JSON.
        """
        path = self.path(key)
        if not path.is_file():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error}): delete it, its unit will be done again") from error

    def finished(self) -> list[str]:
        """Keys of all results."""
        root = self.folder / "results"
        return sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.json"))

    def put(self, key: str, result: dict[str, Any]) -> None:
        """Write a result."""
        with atomic_path(self.path(key)) as partial, open(partial, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
            file.flush()
            os.fsync(file.fileno())

    def forget(self, key: str, when: Callable[[], bool]) -> None:
        """Throw a result away, so that its unit is done again; not while somebody does it.

        Args:
            key: of the result.
            when: asked once nobody is at the unit.
        """
        try:
            with self._lock(key).acquire(timeout=0):
                if when():
                    self.path(key).unlink(missing_ok=True)
        except Timeout:
            pass

    def _lock(self, key: str) -> FileLock:
        path = self.folder / "locks" / f"{key.replace('/', '.')}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path)

    def run(self, units: Sequence[Unit], log: Callable[[str], None] = print) -> None:
        """Do what is not done, and wait for what others are doing.

        Args:
            units: in the order in which they are wanted.
            log: told of every unit that is done here.

        Raises:
            ValueError: for a unit that needs what is not there and none of the units.
        """
        open_units = [unit for unit in units if not self.path(unit.key).is_file()]
        coming = {unit.key for unit in open_units}
        for unit in open_units:
            if lost := [need for need in unit.needs if need not in coming and not self.path(need).is_file()]:
                raise ValueError(f"{unit.key} needs {', '.join(lost)}, which nobody does")
        while open_units:
            busy = []
            for unit in open_units:
                if not self._done(unit, log):
                    busy.append(unit)
            open_units = [unit for unit in busy if not self.path(unit.key).is_file()]
            if open_units:
                time.sleep(self.poll_s)

    def _done(self, unit: Unit, log: Callable[[str], None]) -> bool:
        """Whether the unit is done, by this call or before; False where another process is at it or has to be."""
        path = self.path(unit.key)
        if path.is_file():
            return True
        if not all(self.path(need).is_file() for need in unit.needs):
            return False
        lock = self._lock(unit.key)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        try:
            if not path.is_file():
                began, cpu = time.perf_counter(), time.process_time()
                result = unit.work()
                spent = {"cpu_seconds": time.process_time() - cpu, "wall_seconds": time.perf_counter() - began}
                self.put(unit.key, {**result, **{name: round(value, 2) for name, value in spent.items()}})
                log(f"{unit.key}: {spent['wall_seconds']:.0f} s")
            return True
        finally:
            lock.release()

"""Interleaved measurement of candidates: background load affects all of them equally."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from monai_agglo.processes import ChildDiedError, JsonProcess

__all__ = ["Candidate", "Row", "measure_interleaved"]

LONGEST_S = 1800
LEAST_REPEATS = 2
"""Minimum repeats of every case, also after the deadline, except for slow cases."""


@dataclass(frozen=True)
class Candidate:
    """A measured candidate, in its own process.

    Args:
        name: unique in its group.
        make: ``module:function`` returning the cases, a dictionary of :class:`~.worker.Case` by name.
        options: plain arguments of the function.
        threads: maximum number of threads of its libraries.
        repeats: maximum repeats per case.
    """

    name: str
    make: str
    options: dict[str, Any] = field(default_factory=dict)
    threads: int = 2
    repeats: int = 5


@dataclass
class Row:
    """Measurements of one case.

    Args:
        candidate: name of its candidate.
        case: its name.
        facts: facts from the candidate, with ``units`` per call and ``threads``.
        reason: reason of a missing measurement; else empty.
    """

    candidate: str
    case: str
    facts: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    repeats: list[dict[str, Any]] = field(default_factory=list)

    def values(self, key: str) -> list[float]:
        """A figure of every repeat."""
        return [repeat[key] for repeat in self.repeats if repeat[key] is not None]

    def summary(self) -> dict[str, Any]:
        """Medians over the repeats as plain JSON: of a call, and rates in units per second."""
        if not self.repeats:
            return {"reason": self.reason or "not measured: no time was left"}
        units, walls = self.facts.get("units", 1), self.values("wall_s")
        low, high = min(walls), max(walls)
        if len(walls) > 3:
            low, _, high = statistics.quantiles(walls, n=4, method="inclusive")
        peaks = self.values("peak_mb")
        found = self.repeats[-1]["found"]
        return {
            **{key: value for key, value in self.facts.items() if key != "units"},
            **found,
            "ms": 1000 * statistics.median(walls) / units,
            "ms_quartiles": [1000 * low / units, 1000 * high / units],
            "cpu_ms": 1000 * statistics.median(self.values("cpu_s")) / units,
            "per_s": units / statistics.median(walls),
            "repeats": len(walls),
            "peak_mb": max(peaks) if peaks else None,
        }


class _Process:
    """Process of a candidate; terminated on a timeout."""

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        arguments = ["-W", "ignore", "-m", f"{__package__}.worker"]
        self.process = JsonProcess(arguments, candidate.threads, self.log)
        self.process.send({"make": candidate.make, "options": candidate.options})

    def answer(self) -> dict[str, Any]:
        try:
            return self.process.answer(LONGEST_S)
        except ChildDiedError as error:
            self.log.seek(0)
            last = (self.log.read().strip().splitlines() or [""])[-1]
            return {"error": f"{error}" + (f": {last[:200]}" if last else "")}

    def close(self) -> None:
        self.process.close(10)
        self.log.close()


def measure_interleaved(candidates: Sequence[Candidate], seconds: float, log: Callable[[str], None]) -> list[Row]:
    """Measure candidates interleaved.

    Every round runs every case once, with a rotating start. Completed cases and failed candidates skip further rounds.
    All processes live from the first round to the last.

    Args:
        candidates: the candidates.
        seconds: no new round starts after this time; each case has at least two repeats, slow ones one.
        log: progress callback.

    Returns:
        A row per case, in order; a candidate that failed has one row with the reason.
    """
    deadline = time.monotonic() + seconds
    processes = [_Process(candidate) for candidate in candidates]
    rows: list[Row] = []
    try:
        owners: list[_Process] = []
        for process in processes:
            answer = process.answer()
            if "error" in answer:
                log(f"{process.candidate.name}: {answer['error']}")
                rows.append(Row(process.candidate.name, "", reason=answer["error"]))
                owners.append(process)
                continue
            for case, facts in answer["cases"].items():
                rows.append(Row(process.candidate.name, case, facts))
                owners.append(process)
        # Warm up one after the other: concurrent threads on the same cores would slow each other down.
        for row, owner in zip(rows, owners):
            if not row.reason:
                _ask(row, owner, log)
        _rounds(rows, owners, deadline, log)
    finally:
        for process in processes:
            process.close()
    return rows


def _rounds(rows: list[Row], owners: list[_Process], deadline: float, log: Callable[[str], None]) -> None:
    number = 0
    while True:
        late = time.monotonic() > deadline
        due = [
            index for index, (row, owner) in enumerate(zip(rows, owners))
            if not row.reason and len(row.repeats) < (min(LEAST_REPEATS, owner.candidate.repeats) if late
                                                      else owner.candidate.repeats)
            and not (late and row.repeats and row.repeats[0]["wall_s"] > 5)
        ]  # fmt: skip
        if not due:
            return
        first = number % len(due)
        for index in due[first:] + due[:first]:
            if not rows[index].reason and (answer := _ask(rows[index], owners[index], log)) is not None:
                rows[index].repeats.append(answer)
        number += 1
        log(f"round {number}: {len(due)} cases")


def _ask(row: Row, owner: _Process, log: Callable[[str], None]) -> dict[str, Any] | None:
    """Warm up or repeat a case; on failure None, with the reason in the row."""
    owner.process.send({"case": row.case})
    answer = owner.answer()
    if "error" not in answer:
        return answer
    row.reason, row.repeats = answer["error"], []
    log(f"{row.candidate} {row.case}: {row.reason}")
    return None

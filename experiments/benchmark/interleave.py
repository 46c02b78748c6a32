"""Candidates measured in turns: whatever else the computer does meets all of them alike."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Candidate", "Row", "measure_interleaved"]

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
LONGEST_S = 1800
LEAST_REPEATS = 2
"""Made of every case even when the time is over, unless there is not even time for a second one."""


@dataclass(frozen=True)
class Candidate:
    """What is measured, in a process of its own.

    Args:
        name: unique in its group.
        make: ``module:function`` that gives the cases, a dictionary of :class:`~.worker.Case` by name.
        options: plain arguments of that function.
        threads: the most threads that its libraries may use.
        repeats: at most so many of each of its cases.
    """

    name: str
    make: str
    options: dict[str, Any] = field(default_factory=dict)
    threads: int = 2
    repeats: int = 5


@dataclass
class Row:
    """What was measured of a case.

    Args:
        candidate: its candidate's name.
        case: its name.
        facts: what the candidate says about it, with ``units`` per call and ``threads``.
        reason: why there is no measurement; empty when there is one.
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
    """A candidate's process; it is ended when an answer takes longer than anything here should."""

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        threads = dict.fromkeys(THREAD_VARIABLES, str(candidate.threads))
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", f"{__package__}.worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, encoding="utf-8",
            env={**os.environ, **threads},
        )  # fmt: skip
        self.send(make=candidate.make, options=candidate.options)

    def send(self, **message: Any) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer will say so

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        watch = threading.Timer(LONGEST_S, self.process.kill)
        watch.start()
        line = self.process.stdout.readline()
        watch.cancel()
        if line:
            return json.loads(line)
        code = self.process.wait()
        self.log.seek(0)
        last = (self.log.read().strip().splitlines() or [""])[-1]
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return {"error": f"the process ended with {how}" + (f": {last[:200]}" if last else "")}

    def close(self) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.close()
            self.process.wait(10)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        self.log.close()


def measure_interleaved(candidates: Sequence[Candidate], seconds: float, say: Callable[[str], None]) -> list[Row]:
    """Measure candidates in turns.

    Every round repeats every case once, beginning with another one each time. A case that has its repeats, or a
    candidate that failed, sits the further rounds out. All processes are alive from the first round to the last.

    Args:
        candidates: what is measured.
        seconds: begin no new round after so long; each case is repeated at least twice, or once where it is slow.
        say: told what goes on.

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
                say(f"{process.candidate.name}: {answer['error']}")
                rows.append(Row(process.candidate.name, "", reason=answer["error"]))
                owners.append(process)
                continue
            for case, facts in answer["cases"].items():
                rows.append(Row(process.candidate.name, case, facts))
                owners.append(process)
        # One after the other: threads of several processes on the same cores would hinder each other for minutes.
        for row, owner in zip(rows, owners):
            if not row.reason:
                _ask(row, owner, say)
        _rounds(rows, owners, deadline, say)
    finally:
        for process in processes:
            process.close()
    return rows


def _rounds(rows: list[Row], owners: list[_Process], deadline: float, say: Callable[[str], None]) -> None:
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
            if not rows[index].reason and (answer := _ask(rows[index], owners[index], say)) is not None:
                rows[index].repeats.append(answer)
        number += 1
        say(f"round {number}: {len(due)} cases")


def _ask(row: Row, owner: _Process, say: Callable[[str], None]) -> dict[str, Any] | None:
    """Have a case warmed up or repeated; None and the reason in the row when that fails."""
    owner.send(case=row.case)
    answer = owner.answer()
    if "error" not in answer:
        return answer
    row.reason, row.repeats = answer["error"], []
    say(f"{row.candidate} {row.case}: {row.reason}")
    return None

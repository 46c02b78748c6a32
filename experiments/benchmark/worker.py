"""The process that a candidate is measured in: JSON lines in, JSON lines out.

The first line names a function that makes the cases of a candidate. Each further line names a case: the first time it
is warmed up, after that each line is one repeat.
A process of its own gives every candidate its own libraries, threads and peak memory.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .memory import forget_peak, peak_mb

__all__ = ["Case"]

LONG_ENOUGH_S = 0.3
"""A repeat of a case that takes less is made of several calls."""
MOST_CALLS = 64


@dataclass
class Case:
    """One thing that is measured.

    Args:
        call: runs the case once; a returned dictionary of plain values is stored.
        units: frames, images or steps that one call gives.
        threads: processor threads it uses, set before each repeat.
        facts: further facts.
        once: a call is a repeat, however short it is.
        close: cleanup function.
    """

    call: Callable[[], Any]
    units: float = 1
    threads: int = 1
    facts: dict[str, Any] = field(default_factory=dict)
    once: bool = False
    close: Callable[[], Any] | None = None


def main() -> None:
    """Serve one candidate until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # output of libraries goes to the log
    lines = (json.loads(line) for line in sys.stdin)
    first = next(lines)
    module, _, function = first["make"].partition(":")

    def answer(**content: Any) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    try:
        cases: dict[str, Case] = getattr(importlib.import_module(module), function)(**first["options"])
    except Exception as error:
        answer(error=_sentence(error))
        return
    answer(cases={name: case.facts | {"units": case.units, "threads": case.threads} for name, case in cases.items()})
    calls: dict[str, int] = {}
    try:
        for line in lines:
            case = cases[line["case"]]
            try:
                if line["case"] in calls:
                    answer(**_repeat(case, calls[line["case"]]))
                else:
                    calls[line["case"]] = _warm_up(case)
                    answer()
            except Exception as error:
                answer(error=_sentence(error))
    finally:
        for case in cases.values():
            if case.close is not None:
                case.close()


def _set_threads(count: int) -> None:
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(count)


def _warm_up(case: Case) -> int:
    """Run a case for the first time, and find how many calls make a repeat."""
    if case.once:
        return 1
    _set_threads(case.threads)
    for _ in range(2):
        begin = time.perf_counter()
        case.call()
        spent = time.perf_counter() - begin
        if spent > LONG_ENOUGH_S:
            return 1
    return max(1, min(MOST_CALLS, round(LONG_ENOUGH_S / max(1e-6, spent))))


def _repeat(case: Case, calls: int) -> dict[str, Any]:
    _set_threads(case.threads)
    forget_peak()
    begin, busy = time.perf_counter(), time.process_time()
    for _ in range(calls):
        found = case.call()
    wall, cpu = time.perf_counter() - begin, time.process_time() - busy
    more = found if isinstance(found, dict) else {}
    return {"wall_s": wall / calls, "cpu_s": cpu / calls, "calls": calls, "peak_mb": peak_mb(), "found": more}


def _sentence(error: Exception) -> str:
    """An error's first cause (MONAI wraps it), short enough for a table."""
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    text = " ".join(str(error).split()) or "no message"
    return (
        text[:300] if isinstance(error, (ValueError, ImportError, OSError)) else f"{type(error).__name__}: {text}"[:300]
    )


if __name__ == "__main__":
    main()

"""Suite: encoders at several sizes, ours beside their alternatives."""

from __future__ import annotations

from typing import Any

from .context import Context
from .counting import roofline_ms
from .encoder_zoo import OTHERS, OURS, OURS_AT, SIZES, STUDENTS
from .interleave import Candidate, Row, measure_interleaved
from .machine import ROOF, make_roof, roof_candidate, roofs_of
from .runtimes import RUNTIMES, make_onnx

__all__ = ["EXPORTED", "WHAT", "encoders"]

WHAT = (
    "One image at a time, float32; the time of the encoder alone, without preprocessing. Every candidate in a "
    "process of its own, in turns; medians with quartiles. The roof is the least time that this computer allows: "
    "all multiply-adds at the rate of a large matrix product, or input and weights at that of a memory copy, "
    "measured in the same turns. 'Apart': an image per thread at the same time, milliseconds per image. 'medsam2'"
    " is SAM 2.1 Hiera-T."
)
MAKE = f"{__package__}.encoder_zoo:make_eager"
EXPORTED = ("litemedsam", "mobilesam", "medsam")
"""Also compared in the runtimes that need an export."""
MOST_GMACS = 500
"""Limit for other encoders: above it an image takes about a minute."""


def encoders(context: Context) -> dict[str, Any]:
    """Measure.

    Args:
        context: how.

    Returns:
        ``rows``, ``roofs`` by number of threads, ``ratios`` by runtime and threads, ``exported`` (in which runtimes).
    """
    groups = [("pytorch", _eager(context), 0.55)]
    groups += [("exported", _exported(context), 0.45)]
    rows, roofs = [], {}
    for group, candidates, part in groups:
        measured = measure_interleaved(candidates, context.share(part), context.log)
        own = roofs_of({row.case: row.summary() for row in measured if row.candidate == ROOF})
        roofs[group] = own
        rows += [_row(row, own, group) for row in measured if row.candidate != ROOF]
    counted = {(row["model"], row["size"]): row for row in rows if "gmacs" in row}
    for row in rows:  # exported networks are the same ones
        source = counted.get((row["model"], row["size"]))
        if source is not None and "ms" in row:
            threads = roofs[row["group"]].get(str(row["threads"]), {})
            if len(threads) == 2:
                row.update(roofline_ms(source, **threads))
                row["roof_fraction"] = row["roof_ms"] / row["ms"]
            for same in ("gmacs", "parameters", "weights"):
                row.setdefault(same, source[same])
    for row in rows:
        for large in ("layers", "outer_bytes"):
            row.pop(large, None)
    return {"what": WHAT, "rows": rows, "roofs": roofs, "ratios": ratios(rows)}


def ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Throughput ratio of ours at 512 px to each other encoder at its native size.

    Args:
        rows: of the suite.

    Returns:
        Rows of ``runtime``, ``threads``, and a ratio for every other measured encoder. With threads shared by one
        image or one image per thread, the faster of the two counts for each encoder.
    """
    found: dict[tuple[str, int], dict[str, float]] = {}
    for row in rows:
        if "ms" not in row:
            continue
        key = (row["runtime"], row["threads"])
        own = OTHERS[row["model"]].own if row["model"] in OTHERS else OURS_AT
        if row["size"] == own and row["model"] not in STUDENTS[1:]:
            times = found.setdefault(key, {})
            times[row["model"]] = min(row["ms"], times.get(row["model"], row["ms"]))
    return [
        {"runtime": runtime, "threads": threads, "ours_ms": times[OURS]}
        | {name: times[name] / times[OURS] for name in OTHERS if name in times}
        for (runtime, threads), times in found.items()
        if OURS in times and len(times) > 1
    ]


def _eager(context: Context) -> list[Candidate]:
    repeats = context.pick(9, 2)
    sizes = context.pick(SIZES, (64,))
    found = [_roof(context)]
    for name in STUDENTS[: context.pick(3, 1)]:
        cases = [[size, threads] for size in sizes for threads in context.pick((1, 2), (1,))]
        found.append(Candidate(name, MAKE, {"name": name, "cases": cases, "most_gmacs": MOST_GMACS}, 2, repeats))
    for name, other in OTHERS.items():
        if context.quick and name != "litemedsam":
            continue
        cases = [[other.own, threads] for threads in context.pick((1, 2), (1,))]
        cases += [[size, 2] for size in context.pick(other.sizes(), ()) if size != other.own]
        options = {"name": name, "cases": cases, "most_gmacs": MOST_GMACS}
        found.append(Candidate(name, MAKE, options, 2, min(repeats, context.pick(5, 1))))
    return found


def _roof(context: Context) -> Candidate:
    if not context.quick:
        return roof_candidate((1, 2))
    options = {"threads": [1], "side": 256, "copy_bytes": 8 << 20}
    return Candidate(ROOF, f"{make_roof.__module__}:make_roof", options, 1, 2)


def _exported(context: Context) -> list[Candidate]:
    """Candidates of the runtimes that read ONNX; the files are made first, one process each."""
    wanted = [(OURS, OURS_AT), *((name, OTHERS[name].own) for name in EXPORTED)]
    if context.quick:
        wanted = [(OURS, 64)]
    found = [_roof(context)]
    for name, size in wanted:
        file = context.work / f"encoder_{name}_{size}.onnx"
        if name == OURS:
            file.unlink(missing_ok=True)  # the others do not change
        path = str(file)
        options = {"name": name, "size": size, "path": path}
        (row,) = measure_interleaved(
            [Candidate(name, f"{__package__}.encoder_zoo:export", options, repeats=1)], 1, context.log
        )
        if row.reason:
            context.log(f"{name}: no export, {row.reason}")
            continue
        ours = name == OURS
        shape = [1, 1 if ours else 3, size, size]
        for runtime in RUNTIMES:
            options = {"path": path, "runtime": runtime, "shape": shape, "label": str(size)}
            options |= {"threads": context.pick([1, 2], [1]) if ours else [2], "apart": name in (OURS, *EXPORTED[:2])}
            make = f"{make_onnx.__module__}:make_onnx"
            found.append(Candidate(f"{name} {runtime}", make, options, 2, context.pick(9 if ours else 5, 2)))
    return found


def _row(row: Row, roofs: dict[str, dict[str, float]], group: str) -> dict[str, Any]:
    model, _, runtime = row.candidate.partition(" ")
    size, _, how = row.case.partition("@")
    threads, _, form = how.partition(" ")
    where: dict[str, Any] = {
        "model": model,
        "runtime": runtime or "pytorch",
        "group": group,
        "form": form or "together",
    }
    where |= {"size": int(size) if size else None, "threads": int(threads) if threads else None}
    return where | row.summary() | {"ours": model in STUDENTS}

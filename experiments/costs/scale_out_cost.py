"""What segmenting many studies costs: processor time of phantom studies on the local pool, and the table of the page.

    python -m experiments.costs.scale_out_cost                 # measure, write scale_out.json and the table
    python -m experiments.costs.scale_out_cost --table-only    # only update the table in docs

Processor time, not the clock, is what is counted: other programs of the computer change it little.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULT, PAGE = Path("docs", "results", "scale_out.json"), Path("docs", "how-to", "live_and_many.md")
BENCH = Path("docs", "results", "bench.json")
BEGIN, END = "<!-- cost (written by `python -m experiments.costs.scale_out_cost`) -->", "<!-- end cost -->"


def measure(studies: int, frames: int, size: int, seed: int, bundle: str | None) -> dict:
    """Segment phantom studies with and without overlay video, one worker.

    Args:
        studies: how many cines.
        frames: in each.
        size: rows and columns.
        seed: of the first one.
        bundle: bundle; ``vfss_seg`` when None.

    Returns:
        The content of ``docs/results/scale_out.json``.
    """
    from monai_agglo.phantom import PhantomSpec, write_study
    from monai_agglo.prediction.many import predict_many

    runs: dict = {}
    load = round(os.getloadavg()[1], 1) if hasattr(os, "getloadavg") else None
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for number in range(studies):
            spec = PhantomSpec.sample(seed + number, rows=size, cols=size)
            write_study(spec, place / "studies" / str(number), frames=frames, transfer_syntax="jpegls")
        for path in (place / "studies").rglob("masks.nii.gz"):
            path.unlink()  # the truth is no cine
        for name, overlay in (("with_overlay", True), ("masks_only", False)):
            options = {"workers": 1, "overlay": overlay, "device": "cpu"}
            report = predict_many(place / "studies", place / name, bundle, **options)
            if report.exit_code or report.done != studies:
                raise RuntimeError(str(report))
            runs[name] = {
                "cpu_seconds_per_study": round(report.cpu_seconds / studies, 3),
                "cpu_ms_per_frame": round(1000 * report.cpu_seconds / report.frames, 2),
                "studies_per_core_hour": round(3600 * studies / report.cpu_seconds, 1),
            }
        record = json.loads(next((place / "masks_only").glob("*/predict.json")).read_text(encoding="utf-8"))
    return {
        "data": f"{studies} phantom studies, up to {frames} frames of {size} x {size}, JPEG-LS, seeds {seed} and on",
        "computer": f"{_processor()}, {os.cpu_count()} processors",
        "model": {key: record["model"][key] for key in ("bundle", "runtime", "precision", "weights_sha256")},
        "load_average": load,
        "runs": runs,
        "gpu": None,
        "command": " ".join(["python -m experiments.costs.scale_out_cost", *sys.argv[1:]]),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def table(result: dict, bench: dict | None) -> str:
    """The figures as they stand in the page.

    Args:
        result: of :func:`measure`.
        bench: ``docs/results/bench.json``; None where the benchmark has not been run.
    """
    lines = [
        "| | processor time per frame | per study | studies per core and hour |",
        "|---|---|---|---|",
    ]
    names = {"with_overlay": "masks, overlay video, contact sheet", "masks_only": "`--no-overlay`"}
    for key, name in names.items():
        run = result["runs"][key]
        lines.append(
            f"| {name} | {run['cpu_ms_per_frame']:.1f} ms | {run['cpu_seconds_per_study']:.1f} s | "
            f"{run['studies_per_core_hour']:.0f} |"
        )
    lines.append("| on a GPU | not measured | not measured | not measured |")
    model = result["model"]
    lines += [
        "",
        f"Data: {result['data']}. Computer: {result['computer']}. Network: {model['bundle']} in {model['runtime']}, "
        f"{model['precision']}. The loading of the bundle, once per process, is in it.",
        "",
        f"Measured by `{result['command']}`.",
    ]
    if result.get("load_average") is not None:
        lines[-1] += f" Load of the computer when it began: {result['load_average']}."
    rates = (bench or {}).get("end_to_end_fps") or {}
    known = ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items() if isinstance(rate, (int, float)))
    if known:
        lines += [
            "",
            f"The benchmark's end-to-end frames per second of a whole computer: {known} ([speed](speed.md)).",
        ]
    return "\n".join(lines)


def publish(root: Path, check: bool = False) -> bool:
    """Carry the figures into the page.

    Args:
        root: the clone.
        check: only compare.

    Returns:
        Whether the page differed.
    """
    result = json.loads((root / RESULT).read_text(encoding="utf-8"))
    bench = json.loads((root / BENCH).read_text(encoding="utf-8")) if (root / BENCH).is_file() else None
    text = (root / PAGE).read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"{PAGE} lacks the lines {BEGIN!r} and {END!r} around its table")
    new = f"{before}{BEGIN}\n{table(result, bench)}\n{END}{after}"
    if new != text and not check:
        (root / PAGE).write_text(new, encoding="utf-8")
    return new != text


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=3, help="(default: 3)")
    parser.add_argument("--frames", type=int, default=60, help="in each (default: 60)")
    parser.add_argument("--size", type=int, default=512, help="rows and columns (default: 512)")
    parser.add_argument("--seed", type=int, default=100, help="(default: 100)")
    parser.add_argument("--bundle", help="bundle folder (default: vfss_seg)")
    parser.add_argument("--root", type=Path, default=ROOT, help="the clone (default: this one)")
    parser.add_argument("--table-only", action="store_true", help="measure nothing")
    args = parser.parse_args(argv)
    if not args.table_only:
        from monai_agglo.files import write_json

        write_json(args.root / RESULT, measure(args.studies, args.frames, args.size, args.seed, args.bundle))
    publish(args.root)
    print(args.root / PAGE)


if __name__ == "__main__":
    main()

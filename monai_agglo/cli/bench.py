"""The benchmark's command, written like those of ``monai_agglo.__main__``."""

from __future__ import annotations

import argparse
from collections.abc import Callable

__all__ = ["bench"]


def bench(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int]:
    """Measure speed and memory on this computer, beside other networks; goes on where it was interrupted."""
    parser.add_argument("--suite", nargs="+", metavar="NAME", help="measure these anew (default: all that are missing)")
    parser.add_argument("--output", help="folder of bench.json, bench.md and plots (default: docs/results)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that all runs; to bench_quick")
    parser.add_argument("--budget-minutes", type=float, help="about so long, by fewer repeats (default: 21)")
    parser.add_argument("--work", help="folder for cines and networks, about 1 GB (default: the user's cache)")
    parser.add_argument("--again", action="store_true", help="measure every suite anew")

    def run(args: argparse.Namespace) -> int:
        from experiments.benchmark import bench as measure

        options = {name: getattr(args, name) for name in ("quick", "budget_minutes", "work", "again")}
        report = measure(args.suite, args.output, **options, say=lambda text: print(text, flush=True))
        print(report)
        return report.exit_code

    return run

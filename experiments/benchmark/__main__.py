"""Measure speed and memory on this computer, beside other networks; an interrupted run resumes.

python -m experiments.benchmark [--suite NAME ...] [--output DIR]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import bench

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: of the command line; those of the process when None.

    Returns:
        The exit code: 0, or 2 for bad input, with one sentence on stderr.
    """
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmark", description=__doc__.splitlines()[0])
    parser.add_argument("--suite", nargs="+", metavar="NAME", help="measure these anew (default: all that are missing)")
    parser.add_argument("--output", help="folder of bench.json, bench.md and plots (default: docs/results)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that all runs; to bench_quick")
    parser.add_argument("--budget-minutes", type=float, help="about so long, by fewer repeats (default: 21)")
    parser.add_argument("--work", help="folder for cines and networks, about 1 GB (default: the user's cache)")
    parser.add_argument("--again", action="store_true", help="measure every suite anew")
    args = parser.parse_args(arguments)
    options = {name: getattr(args, name) for name in ("quick", "budget_minutes", "work", "again")}
    try:
        report = bench(args.suite, args.output, **options, log=lambda text: print(text, flush=True))
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report)
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())

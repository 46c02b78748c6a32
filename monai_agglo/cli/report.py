"""Commands on swallows: ``report`` and ``measure``."""

from __future__ import annotations

import argparse

from . import Run

__all__ = ["measure", "report"]


def report(parser: argparse.ArgumentParser) -> Run:
    """Write the report of a cine or of a folder of cines: HTML page and tables; exit code 1 if one fails."""
    parser.add_argument("source", help="DICOM, AVI/MP4, NIfTI, NRRD, PNG or JPEG file, or a folder of them")
    parser.add_argument("--output", help="folder for the results (default: report_PSEUDONYM, for a folder reports)")
    parser.add_argument("--events", metavar="FILE", help="corrections that the page exported")
    parser.add_argument("--masks", metavar="FILE", help="edited masks: NIfTI, NRRD or DICOM SEG")
    parser.add_argument("--view", choices=("lateral", "ap"), help="where the view check or the file are wrong")
    parser.add_argument("--repeats", type=int, default=4, help="measure again on perturbed masks (default: 4 times)")
    parser.add_argument("--bundle", help="bundle folder (default: the vfss_seg bundle that came with the package)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1... (default: a GPU when there is one)")
    parser.add_argument("--size", type=int, help="longer side as the network sees it, in pixels")
    parser.add_argument("--fps", type=float, help="frames per second, where the file states none or a wrong one")
    parser.add_argument("--spacing-mm", type=float, nargs="+", metavar="MM", help="pixel spacing (row, column)")
    parser.add_argument("--any-modality", action="store_true", help="try CT, MR and other non-projection files too")
    parser.add_argument("--overwrite", action="store_true", help="write into a folder that holds other files")

    def run(args: argparse.Namespace) -> int:
        from monai_agglo import reporting

        names = (
            "source", "output", "bundle", "events", "masks", "view", "repeats", "device", "size", "fps", "spacing_mm",
            "any_modality", "overwrite",
        )  # fmt: skip
        done = reporting.report(**{name: getattr(args, name) for name in names}, progress=True)
        print(done)
        return done.exit_code

    return run


def measure(parser: argparse.ArgumentParser) -> Run:
    """Measure the swallows in masks: writes measurements.json and measurements.csv beside them. Research use only."""
    parser.add_argument("source", help="result folder of predict, or a NIfTI mask file with 12 or 18 structures")
    parser.add_argument("--output", help="folder for the files (default: beside the masks)")
    parser.add_argument("--view", choices=("lateral", "ap", "unknown"), help="where the record is wrong or missing")
    parser.add_argument("--fps", type=float, help="frames per second, where the record is wrong or missing")
    parser.add_argument("--repeats", type=int, default=4, help="perturbed repeats for the uncertainty (default: 4)")
    parser.add_argument("--iddsi", type=int, nargs="+", default=(), metavar="LEVEL", help="consistency of each swallow")

    def run(args: argparse.Namespace) -> None:
        from monai_agglo.reporting.case_measures import measure_case

        names = ("output", "view", "fps", "repeats", "iddsi")
        found, paths = measure_case(args.source, **{name: getattr(args, name) for name in names})
        print(f"{len(found.swallows)} swallows" + (f": {found.reason}" if found.reason else ""), *paths, sep="\n")

    return run

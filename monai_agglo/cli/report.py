"""The ``report`` command of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable

__all__ = ["report"]


def report(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int]:
    """Write the report of a cine, or of all in a folder: an HTML page each, with tables; exit code 1 if one fails."""
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
        from monai_agglo import apps

        names = (
            "source", "output", "bundle", "events", "masks", "view", "repeats", "device", "size", "fps", "spacing_mm",
            "any_modality", "overwrite",
        )  # fmt: skip
        done = apps.report(**{name: getattr(args, name) for name in names}, progress=True)
        print(done)
        return done.exit_code

    return run

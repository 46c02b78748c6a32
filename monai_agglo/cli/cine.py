"""Commands on files: ``info``, ``datalist``, ``deidentify``, ``phantom``, ``structures``."""

from __future__ import annotations

import argparse
import json

from . import Run

__all__ = ["datalist", "deidentify", "info", "phantom", "structures"]


def info(parser: argparse.ArgumentParser) -> Run:
    """Show the properties of a cine: size, frame times, spacing, polarity, repeated frames. Decodes every frame."""
    parser.add_argument("source", help="the cine: a file, or a folder of single-frame DICOM instances")
    parser.add_argument("--any-modality", action="store_true", help="take CT, MR and other non-projection files too")
    parser.add_argument("--json", action="store_true", help="print JSON, with the time of every frame")

    def run(args: argparse.Namespace) -> None:
        from monai_agglo.cine.info import describe, table

        facts = describe(args.source, args.any_modality, progress=True)
        print(json.dumps(facts, indent=2) if args.json else table(facts))

    return run


def datalist(parser: argparse.ArgumentParser) -> Run:
    """Make a data set's datalist.json: pair cines with masks and split by patient."""
    parser.add_argument("folder", help="folder with cines and masks, searched with its sub-folders")
    parser.add_argument(
        "--splits", type=float, nargs=3, default=(0.7, 0.15, 0.15), metavar=("TRAINING", "VALIDATION", "TEST"),
        help="fractions of patients (default: 0.7 0.15 0.15)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="decides which patients go where (default: 0)")
    parser.add_argument("--structures", nargs="+", metavar="NAME", help="what was labelled (default: every structure)")
    parser.add_argument("--drawn-frames", action="store_true", help="only frames with something drawn are labelled")

    def run(args: argparse.Namespace) -> None:
        from monai_agglo import cine

        options = {name: getattr(args, name) for name in ("splits", "seed", "structures", "drawn_frames")}
        print(cine.make_datalist(args.folder, **options, progress=True))

    return run


def deidentify(parser: argparse.ArgumentParser) -> Run:
    """Copy DICOM cines without identity: PS3.15 basic profile, blank outside the field; exit code 1 if one fails."""
    parser.add_argument("source", help="a DICOM file, or a folder of them")
    parser.add_argument("--output", required=True, help="folder for the copies, outside of the source")

    def run(args: argparse.Namespace) -> int:
        from monai_agglo import dicom

        report = dicom.deidentify(args.source, args.output)
        print(report)
        return report.exit_code

    return run


def phantom(parser: argparse.ArgumentParser) -> Run:
    """Write synthetic lateral VFSS studies: one study, or with --patients a data set with a datalist."""
    parser.add_argument("folder", help="where to write; made when missing")
    parser.add_argument("--patients", type=int, help="write a data set of this many patients (default: one study)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same files (default: 0)")
    parser.add_argument("--frames", type=int, help="frames per study, spread over the swallow (default: all)")
    parser.add_argument("--size", type=int, default=512, help="rows and columns in pixels (default: 512)")
    parser.add_argument("--view", choices=("lateral", "ap"), default="lateral", help="projection (default: lateral)")
    parser.add_argument("--studies", type=int, default=1, help="with --patients: studies per patient (default: 1)")
    parser.add_argument("--processes", type=int, help="with --patients: processes (default: one per processor)")
    parser.add_argument("--overwrite", action="store_true", help="with --patients: replace a set made otherwise")
    parser.add_argument(
        "--syntax", choices=("jpegls", "rle", "none"), default="jpegls", help="lossless compression (default: jpegls)"
    )

    def run(args: argparse.Namespace) -> None:
        from monai_agglo import phantom as package

        if args.patients is None:
            spec = package.PhantomSpec.sample(args.seed, rows=args.size, cols=args.size, view=args.view)
            options = {"frames": args.frames, "transfer_syntax": args.syntax, "progress": True}
            print(*package.write_study(spec, args.folder, **options), sep="\n")
        else:
            options = {"studies": args.studies, "transfer_syntax": args.syntax, "overwrite": args.overwrite}
            where = (args.folder, args.patients, args.seed, args.frames, args.size, args.processes)
            print(package.make_dataset(*where, view=args.view, **options))

    return run


def structures(parser: argparse.ArgumentParser) -> Run:
    """List the structures: id, name, code, colour and priority."""

    def run(args: argparse.Namespace) -> None:
        from monai_agglo.swallow import STRUCTURES

        for s in STRUCTURES:
            kind = "auxiliary" if s.auxiliary else "target"
            print(f"{s.id:3d}  {s.name:20} {kind:10} {s.code[1] + ':' + s.code[0]:30} {s.priority:4d}  {s.title}")

    return run

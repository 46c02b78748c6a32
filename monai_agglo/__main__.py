"""The command line: ``python -m monai_agglo <command>``.

Each command is one function below: its docstring is the help text, its body declares the arguments and returns a
one-line call of a public function. Packages are imported inside that call, so that ``--help`` answers at once.

Exit codes: 0 all done; 1 some cases failed; 2 wrong usage or bad input, with one sentence on stderr (``--debug`` shows
the traceback); 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from monai_agglo import __version__
from monai_agglo.cli.bench import bench
from monai_agglo.cli.node import fetch, send, serve
from monai_agglo.cli.predict import predict
from monai_agglo.cli.report import report
from monai_agglo.cli.student import export_student, probe_student, ship_student

__all__ = ["COMMANDS", "main"]

Run = Callable[[argparse.Namespace], "int | None"]


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


def deidentify(parser: argparse.ArgumentParser) -> Run:
    """Copy DICOM cines without identity: PS3.15 basic profile, blank outside the field; exit code 1 if one fails."""
    parser.add_argument("source", help="a DICOM file, or a folder of them")
    parser.add_argument("--output", required=True, help="folder for the copies, outside of the source")

    def run(args: argparse.Namespace) -> int:
        from monai_agglo import apps

        report = apps.deidentify(args.source, args.output)
        print(report)
        return report.exit_code

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
        from monai_agglo.reporting.measure_case import measure_case

        names = ("output", "view", "fps", "repeats", "iddsi")
        found, paths = measure_case(args.source, **{name: getattr(args, name) for name in names})
        print(f"{len(found.swallows)} swallows" + (f": {found.reason}" if found.reason else ""), *paths, sep="\n")

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
        from monai_agglo import apps

        options = {name: getattr(args, name) for name in ("splits", "seed", "structures", "drawn_frames")}
        print(apps.make_datalist(args.folder, **options, progress=True))

    return run


def info(parser: argparse.ArgumentParser) -> Run:
    """Say what a cine is: size, frame times, spacing, polarity, repeated frames; decodes every frame."""
    parser.add_argument("source", help="the cine: a file, or a folder of single-frame DICOM instances")
    parser.add_argument("--any-modality", action="store_true", help="take CT, MR and other non-projection files too")
    parser.add_argument("--json", action="store_true", help="print JSON, with the time of every frame")

    def run(args: argparse.Namespace) -> None:
        from monai_agglo.cine.info import describe, table

        facts = describe(args.source, args.any_modality, progress=True)
        print(json.dumps(facts, indent=2) if args.json else table(facts))

    return run


def cache(parser: argparse.ArgumentParser) -> Run:
    """Build a teacher-feature cache from images and cines, or say what is in one; exit code 1 if it is damaged."""
    parser.add_argument("folder", help="folder of the cache; a build that was interrupted goes on where it stopped")
    parser.add_argument("--source", help="build: a file, or a folder of DICOM cines, videos and images")
    parser.add_argument("--teachers", nargs="+", metavar="NAME", help="build: which teachers, as 'weights' lists them")
    parser.add_argument("--precision", choices=("int8", "fp16"), default="int8", help="build: (default: int8)")
    parser.add_argument("--native", action="store_true", help="build: keep the teachers' own grids and channels")
    parser.add_argument("--size", type=int, default=512, help="build: longer side of a frame in pixels (default: 512)")
    parser.add_argument("--processes", type=int, default=1, help="build: processes (default: 1)")
    parser.add_argument("--device", help="build: cpu, cuda, cuda:1... (default: a GPU when there is one)")
    parser.add_argument("--random-weights", action="store_true", help="build: try the plumbing without weights")
    parser.add_argument("--check", action="store_true", help="read every entry and compare with its checksum")

    def run(args: argparse.Namespace) -> int:
        from monai_agglo import apps

        names = ("source", "teachers", "precision", "native", "size", "processes", "device", "random_weights")
        if args.source or args.teachers:
            apps.build_cache(args.folder, **{name: getattr(args, name) for name in names}, progress=True)
        report = apps.describe_cache(args.folder, args.check)
        print(report)
        return report.exit_code

    return run


def doctor(parser: argparse.ArgumentParser) -> Run:
    """Check the installation and a bundle, or with --teacher a teacher; exit code 1 if one answer is fail."""
    parser.add_argument("bundle", nargs="?", default="vfss_seg", help="bundle name or folder (default: vfss_seg)")
    parser.add_argument("--schema", help="MONAI's metadata schema file, to check the metadata against")
    parser.add_argument("--teacher", metavar="NAME", help="a teacher's name, or module:Class of one just written")
    parser.add_argument("--weights", help="with --teacher: its checkpoint (default: where weights are kept)")
    parser.add_argument(
        "--random-weights", action="store_true", help="with --teacher: try the plumbing without weights"
    )

    def run(args: argparse.Namespace) -> int:
        if args.teacher:
            from monai_agglo.bundle.doctor_teacher import doctor_teacher

            checks = doctor_teacher(args.teacher, args.weights, args.random_weights)
        else:
            from monai_agglo.bundle import doctor as examine

            checks = examine(args.bundle, args.schema)
        print(*checks, sep="\n")
        return int(any(check.status == "fail" for check in checks))

    return run


def weights(parser: argparse.ArgumentParser) -> Run:
    """List the teachers with their licences and whether their weights are here, or get the weights of one."""
    parser.add_argument("teacher", nargs="?", help="get this one's weights (default: list all, download nothing)")
    parser.add_argument("--folder", type=Path, help="folder of weights (default: AGGLO_WEIGHTS, else the user's cache)")
    parser.add_argument("--file", help="which of the published files (default: the preferred one)")
    parser.add_argument("--model-pt", type=Path, metavar="PATH", help="also write a bundle's models/model.pt")

    def run(args: argparse.Namespace) -> None:
        from monai_agglo import apps

        if args.teacher is None:
            print(apps.weights_table([args.folder] if args.folder else None))
        else:
            print(apps.get_and_fill(args.teacher, args.folder, args.file, args.model_pt))

    return run


def results(parser: argparse.ArgumentParser) -> Run:
    """Write the figures of docs/results into the bundle's metadata and the README tables (in a clone)."""
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a file differs")

    def run(args: argparse.Namespace) -> int:
        from monai_agglo.bundle import publish

        changed = publish(".", check=args.check)
        print("\n".join(map(str, changed)) or "nothing differs")
        return int(args.check and bool(changed))

    return run


def calibrate_view(parser: argparse.ArgumentParser) -> Run:
    """Fit a bundle's check for lateral views, after training it anew; writes configs/view_check.json in the bundle."""
    parser.add_argument("lateral", help="data set folder with a datalist.json and masks: lateral views only")
    parser.add_argument("other", nargs="*", help="more of what is not lateral VFSS, beside drawn and frontal views")
    parser.add_argument("--bundle", help="bundle folder (default: the vfss_seg bundle that came with the package)")
    parser.add_argument("--part", default="validation", help="part of the datalist, or all (default: validation)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1... (default: a GPU when there is one)")

    def run(args: argparse.Namespace) -> None:
        from monai_agglo import apps

        options = {"part": args.part, "device": args.device, "progress": True}
        rule = apps.calibrate_view_check(args.lateral, args.other, args.bundle, **options)
        print(json.dumps(rule.provenance, indent=2))

    return run


def pack(parser: argparse.ArgumentParser) -> Run:
    """Copy a bundle with this package's code inside: the folder alone runs, in MONAI and in MONAI Label."""
    parser.add_argument("bundle", nargs="?", default="vfss_seg", help="bundle name or folder (default: vfss_seg)")
    parser.add_argument("--output", default="dist", help="folder to put it into; made when missing (default: dist)")
    parser.add_argument("--name", help="of the packed folder (default: one from which MONAI Label guesses the type)")

    def run(args: argparse.Namespace) -> None:
        from monai_agglo import bundle

        print(bundle.pack(args.bundle, args.output, args.name))

    return run


def export(parser: argparse.ArgumentParser) -> Run:
    """Write a bundle's network as TorchScript, ONNX, torch.export or OpenVINO, each checked against PyTorch."""
    parser.add_argument("bundle", nargs="?", default="vfss_seg", help="bundle name or folder (default: vfss_seg)")
    parser.add_argument("--format", nargs="+", default=("ts", "onnx"), help="of: ts onnx pt2 openvino")
    parser.add_argument("--int8", action="store_true", help="also write model_int8.onnx, with its loss of Dice")
    parser.add_argument("--output", help="folder for the files (default: the bundle's models)")

    def run(args: argparse.Namespace) -> None:
        from monai_agglo import apps

        print(*apps.export(args.bundle, args.format, args.int8, args.output, say=print), sep="\n")

    return run


def structures(parser: argparse.ArgumentParser) -> Run:
    """List the structures: id, name, code, colour and priority."""

    def run(args: argparse.Namespace) -> None:
        from monai_agglo.swallow import STRUCTURES

        for s in STRUCTURES:
            kind = "auxiliary" if s.auxiliary else "target"
            print(f"{s.id:3d}  {s.name:20} {kind:10} {s.code[1] + ':' + s.code[0]:30} {s.priority:4d}  {s.title}")

    return run


COMMANDS: dict[str, Callable[[argparse.ArgumentParser], Run]] = {
    function.__name__: function
    for function in (
        phantom,
        predict,
        report,
        measure,
        deidentify,
        datalist,
        info,
        cache,
        doctor,
        weights,
        results,
        calibrate_view,
        pack,
        export,
        bench,
        structures,
        serve,
        fetch,
        send,
    )
}
COMMANDS["export-student"] = export_student
COMMANDS["probe-student"] = probe_student
COMMANDS["ship-student"] = ship_student


def build_parser() -> argparse.ArgumentParser:
    """The parser with one sub-command per entry of :data:`COMMANDS`."""
    parser = argparse.ArgumentParser(prog="python -m monai_agglo", description="Light segmenters for swallow studies.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--debug", action="store_true", help="show log lines and tracebacks")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    for name, function in COMMANDS.items():
        text = (function.__doc__ or "").strip()
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        sub.set_defaults(run=function(sub))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the arguments without the program's name; ``sys.argv[1:]`` when None.

    Returns:
        The exit code, see the module's docstring.
    """
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.DEBUG if args.debug else logging.WARNING, format="%(levelname)s %(message)s")
    if not args.debug:
        warnings.simplefilter("ignore")
        # MONAI says at every start that a decoder for NVIDIA GPUs is missing; our reader does not ask for it
        logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)
    try:
        return int(args.run(args) or 0)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if args.debug:
            raise
        print(f"error: {sentence(error)}", file=sys.stderr)
        return 2


def sentence(error: Exception) -> str:
    """One line for a person: our own errors as they are; a surprise names its type and the way to its traceback."""
    text = " ".join(str(error).split())
    if isinstance(error, (ValueError, OSError, ImportError)) and text:
        return text
    return f"unexpected {type(error).__name__}: {text} (run again with --debug for the traceback)"


if __name__ == "__main__":
    sys.exit(main())

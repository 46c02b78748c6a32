"""Commands on bundles: ``doctor``, ``pack``, ``export``, ``results``, ``calibrate_view``, ``weights``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from . import Run

__all__ = ["calibrate_view", "doctor", "export", "pack", "results", "weights"]


def doctor(parser: argparse.ArgumentParser) -> Run:
    """Check the installation and a bundle, or with --teacher a teacher; exit code 1 if one check fails."""
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


def pack(parser: argparse.ArgumentParser) -> Run:
    """Copy a bundle with this package's code inside: the folder alone runs, in MONAI and in MONAI Label."""
    parser.add_argument("bundle", nargs="?", default="vfss_seg", help="bundle name or folder (default: vfss_seg)")
    parser.add_argument("--output", default="dist", help="folder to put it into; made when missing (default: dist)")
    parser.add_argument("--name", help="of the packed folder (default: one from which MONAI Label guesses the type)")
    parser.add_argument(
        "--label", action="store_true", help="for MONAI Label: its settings are written into the configs"
    )

    def run(args: argparse.Namespace) -> None:
        from monai_agglo import bundle

        print(bundle.pack(args.bundle, args.output, args.name, args.label))

    return run


def export(parser: argparse.ArgumentParser) -> Run:
    """Write a bundle's network as TorchScript, ONNX, torch.export or OpenVINO, each checked against PyTorch."""
    parser.add_argument("bundle", nargs="?", default="vfss_seg", help="bundle name or folder (default: vfss_seg)")
    parser.add_argument(
        "--format", nargs="+", default=("ts", "onnx"), help="of: ts onnx onnx_cine pt2 openvino (default: ts onnx)"
    )
    parser.add_argument("--int8", action="store_true", help="also write model_int8.onnx, with its loss of Dice")
    parser.add_argument("--output", help="folder for the files (default: the bundle's models)")

    def run(args: argparse.Namespace) -> None:
        from monai_agglo import bundle

        print(*bundle.export(args.bundle, args.format, args.int8, args.output, log=print), sep="\n")

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
    """Fit a bundle's view check after retraining; writes configs/view_check.json in the bundle."""
    parser.add_argument("lateral", help="data set folder with a datalist.json and masks: lateral views only")
    parser.add_argument("other", nargs="*", help="more of what is not lateral VFSS, beside drawn and frontal views")
    parser.add_argument("--bundle", help="bundle folder (default: the vfss_seg bundle that came with the package)")
    parser.add_argument("--part", default="validation", help="part of the datalist, or all (default: validation)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1... (default: a GPU when there is one)")

    def run(args: argparse.Namespace) -> None:
        from monai_agglo import bundle

        options = {"part": args.part, "device": args.device, "progress": True}
        rule = bundle.calibrate_view_check(args.lateral, args.other, args.bundle, **options)
        print(json.dumps(rule.provenance, indent=2))

    return run


def weights(parser: argparse.ArgumentParser) -> Run:
    """List the teachers with licences and available weights, or get the weights of one."""
    parser.add_argument("teacher", nargs="?", help="get this one's weights (default: list all, download nothing)")
    parser.add_argument("--folder", type=Path, help="folder of weights (default: AGGLO_WEIGHTS, else the user's cache)")
    parser.add_argument("--file", help="which of the published files (default: the preferred one)")
    parser.add_argument("--model-pt", type=Path, metavar="PATH", help="also write a bundle's models/model.pt")

    def run(args: argparse.Namespace) -> None:
        from monai_agglo import bundle

        if args.teacher is None:
            print(bundle.weights_table([args.folder] if args.folder else None))
        else:
            print(bundle.get_and_fill(args.teacher, args.folder, args.file, args.model_pt))

    return run

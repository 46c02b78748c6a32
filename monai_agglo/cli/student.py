"""Commands of distilled students, written like those of ``monai_agglo.__main__``."""

from __future__ import annotations

import argparse
from collections.abc import Callable

__all__ = ["export_student", "probe_student", "ship_student"]

Run = Callable[[argparse.Namespace], "int | None"]


def export_student(parser: argparse.ArgumentParser) -> Run:
    """Write the student of a distillation alone: safetensors with a JSON card, without projectors and balancer."""
    parser.add_argument("checkpoint", help="checkpoint.pt of a training with agglo_distill, or its output folder")
    parser.add_argument("student", help="the file to write, NAME.safetensors")
    parser.add_argument("--name", help="which student, where several were trained side by side")
    parser.add_argument("--last", action="store_true", help="the weights of the last step (default: averaged ones)")

    parser.add_argument(
        "--keep", metavar="TEACHER", help="keep the way into this SAM teacher's space, for its mask decoder"
    )

    def run(args: argparse.Namespace) -> None:
        from monai_agglo import bundle

        print(bundle.export_student(args.checkpoint, args.student, args.name, not args.last, args.keep))

    return run


def ship_student(parser: argparse.ArgumentParser) -> Run:
    """Put a study's student that may be given away into the vfss_seg bundle, with its card; refuse any other."""
    parser.add_argument("source", help="folder of a finished study, or a student's .safetensors file")
    parser.add_argument("--bundle", default="vfss_seg", help="bundle name or folder (default: vfss_seg)")
    parser.add_argument("--method", help="how it was distilled, in words (default: what its card says)")

    def run(args: argparse.Namespace) -> None:
        from monai_agglo import apps

        print(*apps.ship_student(args.source, args.bundle, args.method), sep="\n")

    return run


def probe_student(parser: argparse.ArgumentParser) -> Run:
    """Try students on your own pictures: few-shot segmentation with masks/NAME.png beside images/NAME.png."""
    parser.add_argument("folder", help="pictures with masks, in sub-folders too")
    parser.add_argument("--student", nargs="+", default=(), help="NAME.safetensors (default: the one in vfss_seg)")
    parser.add_argument(
        "--patient", metavar="PATTERN", help="regular expression; its (groups) name a picture's patient"
    )
    parser.add_argument(
        "--shots", type=int, nargs="+", default=(8, 32, 0), help="pictures to train on (default: 8 32 0)"
    )
    parser.add_argument("--seeds", type=int, default=3, help="repetitions (default: 3)")
    parser.add_argument("--tuned", action="store_true", help="also train the encoders along, which takes longer")
    parser.add_argument("--size", type=int, default=256, help="side of the squares in pixels (default: 256)")
    parser.add_argument("--output", help="JSON file for the figures")

    def run(args: argparse.Namespace) -> None:
        from monai_agglo.distill import probe_student as student_probe

        options = {"tuned": args.tuned, "size": args.size, "output": args.output}
        report = student_probe.probe_student(args.folder, args.student, args.shots, args.seeds, args.patient, **options)
        print(student_probe.probe_table(report))

    return run

"""Commands of distillation: ``distill``, ``cache``, ``export-student``, ``probe-student``, ``ship-student``."""

from __future__ import annotations

import argparse

from . import Run

__all__ = ["cache", "distill", "export_student", "probe_student", "ship_student"]


def distill(parser: argparse.ArgumentParser) -> Run:
    """Distil several teachers into one light encoder; run it again after an interruption, and it resumes."""
    add = parser.add_argument
    add("images", nargs="+", help="files or folders of images and cines; no masks are needed")
    teachers = "as 'weights' lists them (default: the open ones whose weights are on this computer)"
    add("--teachers", nargs="+", metavar="NAME", help=teachers)
    add("--output", required=True, help="folder for student.safetensors, its card, model.pt and the feature cache")
    add("--method", default="equal", metavar="NAME", help="balancer that weights the teachers' losses (default: equal)")
    targets = "normalisation of the teachers' features: phi_s, standardise, running or identity (default: phi_s)"
    add("--targets", default="phi_s", metavar="NAME", help=targets)
    backbone = "of the student, a timm name (default: efficientvit_b0)"
    add("--backbone", default="efficientvit_b0", metavar="NAME", help=backbone)
    add("--steps", type=int, default=1200, help="of the training (default: 1200)")
    add("--size", type=int, default=256, help="side of the student's input in pixels (default: 256)")
    add("--batch", type=int, default=16, help="images per step (default: 16)")
    add("--lr", type=float, default=2e-3, help="largest learning rate (default: 0.002)")
    zoom = "the student sees a random part of each frame, magnified by LEAST to MOST (default: the whole frame)"
    add("--zoom", type=float, nargs=2, metavar=("LEAST", "MOST"), help=zoom)
    add("--seed", type=int, default=0, help="of weights, order and augmentation (default: 0)")
    add("--device", help="cpu, cuda, cuda:1... (default: a GPU when there is one)")
    add("--random-weights", action="store_true", help="teachers with random weights, to try the plumbing")

    def run(args: argparse.Namespace) -> None:
        from monai_agglo.distill.agglomerate import agglomerate, describe_output

        names = (
            "images", "teachers", "output", "method", "targets", "backbone", "steps", "size", "batch", "lr", "zoom",
            "seed", "device", "random_weights",
        )  # fmt: skip
        agglomerate(**{name: getattr(args, name) for name in names}, progress=True)
        print(describe_output(args.output))

    return run


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
    """Publish a study's redistributable student in the bundles, with its card; refuse any other."""
    parser.add_argument("source", help="folder of a finished study, or a student's .safetensors file")
    parser.add_argument("--bundle", default="vfss_seg", help="bundle name or folder (default: vfss_seg)")
    parser.add_argument("--method", help="how it was distilled, in words (default: what its card says)")

    def run(args: argparse.Namespace) -> None:
        from monai_agglo import distill

        print(*distill.ship_student(args.source, args.bundle, args.method), sep="\n")

    return run


def probe_student(parser: argparse.ArgumentParser) -> Run:
    """Evaluate students on your own images: few-shot segmentation with masks/NAME.png beside images/NAME.png."""
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
        from monai_agglo.distill.student_probe import probe_student, probe_table

        options = {"tuned": args.tuned, "size": args.size, "output": args.output}
        report = probe_student(args.folder, args.student, args.shots, args.seeds, args.patient, **options)
        print(probe_table(report))

    return run


def cache(parser: argparse.ArgumentParser) -> Run:
    """Build a teacher-feature cache from images and cines, or describe one; exit code 1 if it is damaged."""
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
        from monai_agglo.data import feature_cache

        names = ("source", "teachers", "precision", "native", "size", "processes", "device", "random_weights")
        if args.source or args.teachers:
            feature_cache.build_cache(args.folder, **{name: getattr(args, name) for name in names}, progress=True)
        report = feature_cache.describe_cache(args.folder, args.check)
        print(report)
        return report.exit_code

    return run

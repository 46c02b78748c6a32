"""The ``predict`` command: one cine, a stream, or thousands of cines."""

from __future__ import annotations

import argparse
from typing import Any

from . import Run

__all__ = ["predict"]

_ALL = (
    "source", "output", "bundle", "device", "size", "fps", "spacing_mm", "any_modality", "overwrite", "runtime",
    "precision",
)  # fmt: skip
_FILES = ("dicom_seg", "dicom_overlay", "keep_identity", "overlay")
_LIVE = ("limits", "frames", "stall")
_MANY = ("engine", "workers", "address", "query", "user", "ca")


def predict(parser: argparse.ArgumentParser) -> Run:
    """Segment a cine or a folder of cines: masks, record, overlay video, contact sheet; exit code 1 if one fails."""
    add = parser.add_argument
    add("source", help="DICOM, AVI/MP4, NIfTI, NRRD, PNG or JPEG file, or a folder of them")
    add("--output", required=True, help="folder for the results; made when missing")
    add("--bundle", help="bundle folder (default: the vfss_seg bundle that came with the package)")
    add("--device", help="cpu, cuda, cuda:1... (default: a GPU when there is one)")
    add("--size", type=int, help="longer side as the network sees it, in pixels (default: the bundle's)")
    add("--fps", type=float, help="frames per second, where the file states none or a wrong one")
    spacing = "pixel spacing (row, column), where the file states none"
    add("--spacing-mm", type=float, nargs="+", metavar="MM", help=spacing)
    add("--any-modality", action="store_true", help="try CT, MR and other non-projection files too")
    add("--overwrite", action="store_true", help="write into a folder that holds other files")
    add("--dicom-seg", action="store_true", help="also write the masks as a DICOM Segmentation")
    add("--dicom-overlay", action="store_true", help="also write the overlay as a DICOM cine")
    add("--keep-identity", action="store_true", help="DICOM results keep the patient and study")
    add("--no-overlay", dest="overlay", action="store_false", help="write no overlay video")
    add("--runtime", default="auto", help="torch, onnxruntime, openvino or auto, the fastest here")
    add("--precision", default="fp32", help="fp32 or int8 (default: fp32)")
    live = parser.add_argument_group("during acquisition", "SOURCE: a growing file or folder, a pipe, - or a device")
    live.add_argument("--follow", action="store_true", help="segment frames as they arrive, until the stream ends")
    live.add_argument(
        "--limits", type=float, nargs=2, metavar=("LOW", "HIGH"),
        help="intensities that become black and white (default: estimated from the first frames)",
    )  # fmt: skip
    live.add_argument("--frames", type=int, metavar="N", help="end after so many")
    live.add_argument(
        "--stall", type=float, metavar="S", help="seconds of silence after which to give up (default: 10)"
    )
    many = parser.add_argument_group("very many", "SOURCE: a folder, or https://... of a DICOMweb service")
    many.add_argument("--engine", choices=("pool", "ray"), help="processes of this computer, or a Ray cluster")
    many.add_argument("--workers", type=int, metavar="N", help="processes (default with --engine: one per processor)")
    many.add_argument("--address", help="of a running Ray cluster (default: start one here)")
    many.add_argument("--query", nargs="+", metavar="KEY=VALUE", help="DICOMweb: which studies")
    many.add_argument("--user", help="DICOMweb user; the password is read from AGGLO_PACS_PASSWORD")
    many.add_argument("--ca", metavar="PEM", help="DICOMweb: authority of the server's certificate")

    def run(args: argparse.Namespace) -> int:
        from monai_agglo import prediction

        options: dict[str, Any] = {name: getattr(args, name) for name in _ALL}
        given = [name for name in (*_LIVE, *_MANY) if getattr(args, name) is not None]
        report: Any
        if args.follow:
            files = [name for name in _FILES if getattr(args, name) != parser.get_default(name)]
            _refuse([*(name for name in given if name in _MANY), *files], "does not go with --follow")
            options |= {
                "limits": args.limits,
                "frames": args.frames,
                "stall_s": 10.0 if args.stall is None else args.stall,
            }
            report = prediction.follow(**options, progress=True)
        else:
            _refuse([name for name in given if name in _LIVE], "belongs to --follow")
            options |= {name: getattr(args, name) for name in _FILES}
            if args.engine or (args.workers or 1) > 1 or args.source.startswith(("http:", "https:")):
                options |= {name: getattr(args, name) for name in ("workers", "address", "user", "ca")}
                report = prediction.predict_many(
                    **options, engine=args.engine or "pool", query=_query(args.query), progress=True
                )
            else:
                _refuse([name for name in given if name != "workers"], "needs --engine, or a DICOMweb service")
                report = prediction.predict(**options, progress=True)
        print(report)
        return report.exit_code

    return run


def _refuse(names: list[str], reason: str) -> None:
    if names:
        name = "no-overlay" if names[0] == "overlay" else names[0].replace("_", "-")
        raise ValueError(f"--{name} {reason}")


def _query(words: list[str] | None) -> dict[str, str]:
    """Filters of a DICOMweb query."""
    pairs = [word.partition("=") for word in words or ()]
    for key, sign, _ in pairs:
        if not key or not sign:
            raise ValueError(f"a query is written KEY=VALUE, such as ModalitiesInStudy=RF, not {key or sign}")
    return {key: value for key, _, value in pairs}

"""The command line: ``python -m monai_agglo <command>``; the commands are in :mod:`monai_agglo.cli`.

Exit codes: 0 all done; 1 some cases failed; 2 wrong usage or bad input, with one sentence on stderr (``--debug`` shows
the traceback); 130 interrupted.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Callable, Sequence

from monai_agglo import __version__
from monai_agglo.cli import Run
from monai_agglo.cli.bundle import calibrate_view, doctor, export, pack, results, weights
from monai_agglo.cli.cine import datalist, deidentify, info, phantom, structures
from monai_agglo.cli.node import fetch, send, serve
from monai_agglo.cli.predict import predict
from monai_agglo.cli.report import measure, report
from monai_agglo.cli.student import cache, distill, export_student, probe_student, ship_student

__all__ = ["COMMANDS", "main"]

COMMANDS: dict[str, Callable[[argparse.ArgumentParser], Run]] = {
    "predict": predict,
    "report": report,
    "measure": measure,
    "info": info,
    "datalist": datalist,
    "deidentify": deidentify,
    "phantom": phantom,
    "structures": structures,
    "serve": serve,
    "fetch": fetch,
    "send": send,
    "distill": distill,
    "cache": cache,
    "export-student": export_student,
    "probe-student": probe_student,
    "ship-student": ship_student,
    "weights": weights,
    "doctor": doctor,
    "pack": pack,
    "export": export,
    "calibrate_view": calibrate_view,
    "results": results,
}
"""By name, in the order of ``--help``."""


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


EXTRAS = {
    **dict.fromkeys(("torch", "torchvision", "monai", "ignite", "mlflow", "timm", "safetensors", "onnx"), "train"),
    **dict.fromkeys(("sam2", "segment_anything"), "teachers"),
    **dict.fromkeys(("pynetdicom", "dicomweb_client"), "pacs"),
    "itk": "itk",
    "openvino": "fast",
    "ray": "ray",
}
"""Extra of a package that the base installation lacks."""


def sentence(error: Exception) -> str:
    """One line for a person: our own errors as they are; a surprise names its type and the way to its traceback."""
    text = " ".join(str(error).split())
    missing = (error.name or "").split(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if missing in EXTRAS:
        return f"{missing} is not installed: pip install 'monai-agglo[{EXTRAS[missing]}]'"
    if isinstance(error, (ValueError, OSError, ImportError)) and text:
        return text
    return f"unexpected {type(error).__name__}: {text} (run again with --debug for the traceback)"


if __name__ == "__main__":
    sys.exit(main())

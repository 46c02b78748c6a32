"""PACS commands: ``serve``, ``fetch`` and ``send``."""

from __future__ import annotations

import argparse

from . import Run

__all__ = ["fetch", "send", "serve"]

_PACS = "https://... of a DICOMweb service, or dicom://AE_TITLE@ADDRESS:PORT"


def serve(parser: argparse.ArgumentParser) -> Run:
    """Run a DICOM node: receive cines by C-STORE, segment them, send SEG and SR to a peer. Research use only."""
    parser.add_argument("--config", required=True, metavar="FILE", help="JSON configuration, see docs/how-to/pacs.md")
    parser.add_argument("--retry-failed", action="store_true", help="first try again what failed or was refused")

    def run(args: argparse.Namespace) -> None:
        from monai_agglo.node import serve as be_node

        be_node(args.config, retry_failed=args.retry_failed)

    return run


def fetch(parser: argparse.ArgumentParser) -> Run:
    """Fetch the instances of a study from a PACS; they keep the patient's identity."""
    parser.add_argument("pacs", help=_PACS)
    parser.add_argument("--study", required=True, metavar="UID")
    parser.add_argument("--series", metavar="UID")
    parser.add_argument("--instance", metavar="UID")
    parser.add_argument("--output", required=True, help="folder for the files; made when missing")
    _login(parser)
    parser.add_argument("--address", default="127.0.0.1", help="C-MOVE: where the PACS sends to (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=11113, help="C-MOVE: and on which port (default: 11113)")

    def run(args: argparse.Namespace) -> None:
        from monai_agglo import pacs

        names = ("series", "instance", "user", "ca", "ae_title", "address", "port")
        options = {name: getattr(args, name) for name in names}
        print(*pacs.fetch(args.pacs, args.output, args.study, **options), sep="\n")

    return run


def send(parser: argparse.ArgumentParser) -> Run:
    """Send DICOM files to a PACS; exit code 1 if it refuses one."""
    parser.add_argument("pacs", help=_PACS)
    parser.add_argument("files", nargs="+", help="DICOM files, or folders with .dcm files")
    _login(parser)

    def run(args: argparse.Namespace) -> int:
        from monai_agglo import pacs

        refused = pacs.send(args.pacs, args.files, user=args.user, ca=args.ca, ae_title=args.ae_title)
        print(*(f"refused: {line}" for line in refused), sep="\n", end="\n" if refused else "")
        return int(bool(refused))

    return run


def _login(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", help="DICOMweb user; the password is read from AGGLO_PACS_PASSWORD")
    parser.add_argument("--ca", metavar="PEM", help="DICOMweb: authority of the server's certificate")
    parser.add_argument("--ae-title", default="AGGLO", help="DIMSE: our AE title (default: AGGLO)")

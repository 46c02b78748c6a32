"""Where a bundle lies: in a clone under ``bundles/``, or inside the installed package."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["bundle_folders", "find_bundle"]

METADATA = Path("configs", "metadata.json")


def bundle_folders() -> list[Path]:
    """Folders whose sub-folders are bundles: the clone's first (an editable install), then the installed package's."""
    package = Path(__file__).resolve().parent
    return [package.parent / "bundles", package / "bundles"]


def find_bundle(name: str | os.PathLike[str] = "vfss_seg") -> Path:
    """Find a bundle by name or by folder.

    Args:
        name: a bundle's folder, or the name of one that came with this package.

    Returns:
        The bundle's folder, which holds ``configs/metadata.json``.

    Raises:
        FileNotFoundError: when there is none; the message lists the names that exist.
    """
    for folder in (Path(name), *(parent / name for parent in bundle_folders())):
        if (folder / METADATA).is_file():
            return folder
    if Path(name).is_dir():
        raise FileNotFoundError(f"{name} is not a bundle: it holds no {METADATA.as_posix()}")
    known = sorted({path.parents[1].name for parent in bundle_folders() for path in parent.glob(f"*/{METADATA}")})
    raise FileNotFoundError(f"no bundle {str(name)!r}: give a bundle's folder or one of {', '.join(known) or '(none)'}")

"""Reuse of existing masks in a result folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

from monai_agglo.cine.cine import Cine
from monai_agglo.cine.search import Case
from monai_agglo.files import sha256
from monai_agglo.locate import find_bundle
from monai_agglo.outputs import RECORD

__all__ = ["fits"]


def fits(folder: Path, cine: Cine, case: Case, bundle: str | os.PathLike | None) -> bool:
    """Whether a folder contains the result of ``predict`` for a cine.

    Args:
        folder: result folder; it may not exist.
        cine: the cine.
        case: its files; they must be older than the result.
        bundle: requested bundle; its weights must match those of the result.

    Returns:
        True if the masks can be reused.

    Raises:
        FileNotFoundError: the bundle does not exist.
    """
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        source, frames, made = record["source"], record["frames"]["count"], path.stat().st_mtime
        here = (source["pseudonym"], source["rows"], source["columns"], frames)
        if here != (cine.meta["pseudonym"], *cine.shape) or not (folder / "masks.nii.gz").is_file():
            return False
        if any(file.stat().st_mtime > made for file in case.paths):
            return False
        wanted = record["model"]["weights_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    weights = find_bundle(bundle or "vfss_seg") / "models" / "model.pt"
    return weights.is_file() and sha256(weights) == wanted

"""Cines for a bundle's inference: the user's, or a phantom generated on first use."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["ensure_cine", "readable_cines"]

logger = logging.getLogger(__name__)


def ensure_cine(source: str | os.PathLike, phantom_dir: str | os.PathLike, seed: int = 7, **options: Any) -> str:
    """Return the requested file or folder; in the default folder, generate a phantom cine first.

    Args:
        source: requested file or folder.
        phantom_dir: default folder, the only one filled with phantoms.
        seed: seed of the phantom.
        options: fields of :class:`monai_agglo.phantom.PhantomSpec` to set.

    Returns:
        The file or folder; for the default folder the DICOM file in it.

    Raises:
        ValueError: if the requested path does not exist.
    """
    path = Path(source).expanduser()
    if path.absolute() != Path(phantom_dir).absolute():
        if not path.exists():
            raise ValueError(f"there is no file or folder {source}")
        return str(path)
    from monai_agglo.phantom import make_dataset

    # a data set of one patient: atomic and locked
    make_dataset(path, patients=1, seed=seed, splits=(0, 0, 1), processes=1, progress=False, **options)
    return str(next(path.glob("phantom-*/study-1/cine.dcm")))


def readable_cines(cases: Iterable[Any], progress: bool = True) -> list[dict[str, Any]]:
    """Data of the readable cases; a warning is logged for each unreadable one.

    Every frame is decoded once, in constant memory, to find damaged files before the run starts.

    Args:
        cases: from :func:`monai_agglo.cine.search.find_cases`: objects with ``shown`` and ``paths``.
        progress: show a progress bar over many cases.

    Returns:
        Items with ``image`` (a path, or the paths of a series' instances) and ``pseudonym`` (its own, numbered where
        several files share one).

    Raises:
        CineReadError: if the only case cannot be read.
        ValueError: if none of several cases can be read.
    """
    from tqdm import tqdm

    from monai_agglo.cine.cine import open_cine
    from monai_agglo.cine.errors import CineReadError

    cases = list(cases)
    items: list[dict[str, Any]] = []
    names: Counter[str] = Counter()
    for case in tqdm(cases, desc="reading cines", unit="cine", disable=not progress or len(cases) < 2, delay=2):
        paths = [str(path) for path in case.paths]
        source = paths if len(paths) > 1 else paths[0]
        try:
            cine = open_cine(source)
            for _ in cine.frames():
                pass
        except CineReadError as error:
            if len(cases) == 1:
                raise
            logger.error("left out: %s", " ".join(str(error).split()))
            continue
        name = str(cine.meta["pseudonym"])
        names[name] += 1
        items.append({"image": source, "pseudonym": name if names[name] == 1 else f"{name}-{names[name]}"})
    if not items:
        raise ValueError(f"none of the {len(cases)} cines can be read")
    if len(items) < len(cases):
        logger.warning("%d of %d cines can be read", len(items), len(cases))
    return items

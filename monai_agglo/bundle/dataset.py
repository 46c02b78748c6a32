"""The data that a bundle's configs run on: the user's folder, or the embedded phantom, made on first use."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

__all__ = ["ensure_dataset"]

logger = logging.getLogger(__name__)


def ensure_dataset(
    dataset_dir: str | os.PathLike,
    phantom_dir: str | os.PathLike,
    patients: int = 12,
    seed: int = 1,
    frames: int = 8,
    splits: Sequence[float] = (0.67, 0.33, 0.0),
    size: int = 512,
    processes: int | None = None,
    **options,
) -> str:
    """Give the folder of a data set; when it is the default one, make the phantom data set in it first.

    Args:
        dataset_dir: folder asked for.
        phantom_dir: default folder. Only this one is ever filled with phantoms, so that a mistyped path is an error.
        patients: phantom patients.
        seed: seed of the phantom.
        frames: frames per study.
        splits: fractions of the patients for training, validation and test.
        size: rows and columns of the phantom's frames.
        processes: processes that make phantoms; None for one per processor.
        options: further arguments of :func:`monai_agglo.phantom.make_dataset`.

    Returns:
        The folder, with a ``datalist.json`` in it.

    Raises:
        ValueError: when a folder that the user named holds no datalist.
    """
    folder = Path(dataset_dir)
    if folder.absolute() != Path(phantom_dir).absolute():
        if not (folder / "datalist.json").is_file():
            raise ValueError(
                f"{folder} holds no datalist.json; make one with: python -m monai_agglo datalist {folder}"
                if folder.is_dir()
                else f"there is no folder {folder}"
            )
        return str(folder)
    from monai_agglo.phantom import make_dataset

    logger.info("default data: %d synthetic patients (seed %d) in %s", patients, seed, folder)
    make_dataset(
        folder,
        patients=patients,
        seed=seed,
        frames=frames,
        splits=tuple(splits),
        size=size,
        processes=processes,
        **options,
    )
    return str(folder)

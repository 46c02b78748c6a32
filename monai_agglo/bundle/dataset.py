"""Data for a bundle's configs: the user's folder, or a phantom data set generated on first use."""

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
    """Return the folder of a data set; in the default folder, generate the phantom data set first.

    Args:
        dataset_dir: requested folder.
        phantom_dir: default folder, the only one filled with phantoms: a mistyped path is an error.
        patients: number of phantom patients.
        seed: random seed of the phantom.
        frames: frames per study.
        splits: fractions of the patients for training, validation and test.
        size: rows and columns of the phantom's frames.
        processes: number of processes; None for one per core.
        options: further arguments of :func:`monai_agglo.phantom.make_dataset`.

    Returns:
        The folder, with a ``datalist.json`` in it.

    Raises:
        ValueError: if a requested folder has no datalist.
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

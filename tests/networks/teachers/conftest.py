"""Real weights where they are, random ones with life in them where they are not, and pictures to encode."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from monai_agglo.networks.teachers import find_weights, teacher_class

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Several test processes share few cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, int(os.environ.get("OMP_NUM_THREADS") or 2)))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shared():
    """The folder of shared data, named by AGGLO_SHARED or lying beside the repository."""
    folder = Path(os.environ.get("AGGLO_SHARED") or ROOT.parent / "shared")
    if not (folder / "data").is_dir():
        pytest.skip(f"no shared data in {folder} (AGGLO_SHARED)")
    return folder


@pytest.fixture(scope="session")
def real_weights():
    """A function from a teacher's name to its real weights; skips where they are absent."""
    folders = [Path(os.environ.get("AGGLO_SHARED") or ROOT.parent / "shared") / "weights"]
    folders += [Path(part) for part in os.environ.get("AGGLO_WEIGHTS", "").split(os.pathsep) if part]

    def find(name):
        found = find_weights(teacher_class(name).spec, folders)
        if found is None:
            pytest.skip(f"no real weights of {name} in {', '.join(map(str, folders))} (AGGLO_SHARED, AGGLO_WEIGHTS)")
        return found

    return find


@pytest.fixture(scope="session")
def picture():
    """(rows, columns) -> uint8 picture from 0 to 255 with soft shapes and noise."""

    def make(rows, columns, seed=0):
        rng = np.random.default_rng(seed)
        r, c = np.mgrid[0:rows, 0:columns] / max(rows, columns)
        image = sum(
            rng.uniform(0.3, 1) * np.exp(-(((r - y) / h) ** 2 + ((c - x) / w) ** 2))
            for y, x, h, w in rng.uniform(0.1, 0.7, (6, 4))
        )
        image = image + rng.normal(0, 0.03, image.shape)
        image = (image - image.min()) / (image.max() - image.min())
        return np.round(image * 255).astype(np.uint8)

    return make


@pytest.fixture
def as_frames():
    return lambda image: torch.from_numpy(np.asarray(image) / 255).float()[None, None]

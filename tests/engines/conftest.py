"""A tiny distillation: two random teachers, a few frames, a student of one convolution stack."""

import pytest
import torch
from cache_teachers import Coarse, Wide, make_frames

from monai_agglo.data import EpochBatchSampler, RandFluoroscopyd, StudentFrameDataset
from monai_agglo.data.feature_cache.build import build_feature_cache
from monai_agglo.engines import AgglomerationTrainer, Learner, TargetReader
from monai_agglo.losses import TargetSpace
from monai_agglo.networks import StudentEncoder

TEACHERS = ("wide", "coarse")
BACKBONE = "test_efficientnet"


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def cached(tmp_path_factory):
    """The folder of a cache and its frames, of two sizes."""
    frames = [smooth(frame) for frame in make_frames(7, 40, 64) + make_frames(5, 72, 48)]
    path = tmp_path_factory.mktemp("cache")
    build_feature_cache(frames, [Wide(random_weights=True), Coarse(random_weights=True)], path, progress=False)
    return path, frames


def smooth(frame):
    """Something to see instead of noise."""
    coarse = torch.nn.functional.interpolate(frame[None, :, ::8, ::8], frame.shape[1:], mode="bicubic")
    return coarse[0].clamp(0, 1)


class Tiny:
    """A run that can be built again and again, always alike."""

    def __init__(self, cached, epochs=2, handlers=(), names=("one",), accumulate=1, settings=None, seed=0, **options):
        torch.manual_seed(seed)
        path, frames = cached
        self.data = StudentFrameDataset(
            frames, path, size=64, augment=RandFluoroscopyd(0.5, invert=0), seed=seed, progress=False
        )
        self.sampler = EpochBatchSampler(self.data, 4, seed=seed)
        self.loader = torch.utils.data.DataLoader(self.data, batch_sampler=self.sampler)
        cache = self.data.cache
        self.space = TargetSpace("phi_s", {name: cache.statistics(name) for name in TEACHERS})
        self.reader = TargetReader(cache, self.space)
        shapes = {name: cache.shape(name) for name in TEACHERS}
        steps = epochs * -(-len(self.loader) // accumulate)
        settings = settings or {}
        self.learners = [
            Learner(name, StudentEncoder(BACKBONE, 16, 4), shapes, steps, **{"lr": 1e-2, "hidden": 16, **settings})
            for name in names
        ]
        self.trainer = AgglomerationTrainer(
            "cpu", epochs, self.loader, self.learners, self.reader, accumulation_steps=accumulate,
            train_handlers=list(handlers(self) if callable(handlers) else handlers), **options,
        )  # fmt: skip

    def run(self):
        self.trainer.run()
        return self

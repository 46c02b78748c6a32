"""Small teachers for tests of the feature cache, and a build in a process of its own.

    python cache_teachers.py CACHE [FRAMES]     builds the wide teacher's cache, for tests that kill or run it in ranks

AGGLO_TEST_CALLS names a file that gets a line per encoded frame, AGGLO_TEST_PAUSE_S slows every one.
"""

import os
import sys
import time

import torch
from torch import nn

from monai_agglo.networks.teachers import Layout, Teacher, TeacherSpec

CALIBRATION = 2
"""Frames that the builds of these tests calibrate with: the first and the last."""
COMMON = {
    "architecture": "one convolution",
    "parameters": 0,
    "resample": "pil_bilinear",
    "mean": (0.5, 0.5, 0.5),
    "std": (0.25, 0.25, 0.25),
    "licence": "Apache-2.0",
    "commercial": "Yes.",
    "files": (),
    "citation": "none",
}


class Counted(nn.Conv2d):
    """A convolution that says when it is used, with some channels much louder than others and an offset."""

    def forward(self, pixels):
        if path := os.environ.get("AGGLO_TEST_CALLS"):
            with open(path, "a") as file:
                file.write(f"{os.getpid()}\n" * len(pixels))
        time.sleep(float(os.environ.get("AGGLO_TEST_PAUSE_S", 0)))
        loud = torch.ones(self.out_channels, 1, 1)
        loud[::5] = 30
        return (super().forward(pixels).tanh() + 0.3) * loud


class TinyTeacher(Teacher):
    layouts = (Layout("plain", r"weight", ((r"(\w+)", r"\1"),)),)

    def build_encoder(self):
        stride = self.spec.input_size // self.spec.grid
        return Counted(3, self.spec.channels, stride, stride)


class Wide(TinyTeacher):
    """24 x 20 x 20, letterboxed: large enough for principal components."""

    spec = TeacherSpec(
        name="wide", title="Wide", input_size=80, channels=24, grid=20, geometry="letterbox", folder="wide", **COMMON
    )


class Coarse(TinyTeacher):
    """12 x 4 x 4, squashed."""

    spec = TeacherSpec(
        name="coarse", title="Coarse", input_size=32, channels=12, grid=4, geometry="squash", folder="coarse", **COMMON
    )


def make_frames(count, rows=40, columns=64):
    """Frames in [0, 1], each another."""
    generator = torch.Generator().manual_seed(5)
    return [torch.rand(1, rows, columns, generator=generator) for _ in range(count)]


class Changing:
    """A source that gives other frames at every reading, as random augmentation would."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return torch.rand(1, 40, 64)


if __name__ == "__main__":
    from monai_agglo.data.feature_cache.build import build_feature_cache

    torch.set_num_threads(1)
    frames = make_frames(int(sys.argv[2]) if len(sys.argv) > 2 else 12)
    options = {"frames_per_block": 4, "calibration_frames": CALIBRATION, "progress": False}
    build_feature_cache(frames, [Wide(random_weights=True)], sys.argv[1], **options)

#!/usr/bin/env python3
"""The teacher-feature cache, measured: bytes, cosine to the live teachers, variance kept, speed of reading.

    python -m experiments.costs.cache_benchmark IMAGES [--images N] [--output docs/results/cache.json]

IMAGES is a folder of images or cines. The teachers are the open ones, whose real weights must be on this computer
('python -m monai_agglo weights'). Principal components are found on every other image; what they keep is reported of
those and of the others. The rate of training steps with features read from the cache is compared with that of the same
steps with decoded features in memory: step by step in turn, so that whatever else the computer does hits both alike.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from monai_agglo.data.feature_cache.build import build_feature_cache
from monai_agglo.data.feature_cache.cache import FeatureCache
from monai_agglo.data.feature_cache.command import source_frames
from monai_agglo.data.feature_cache.dataset import FeatureCacheDataset
from monai_agglo.data.feature_cache.frames import frame_hash
from monai_agglo.data.feature_cache.store import Block
from monai_agglo.data.feature_cache.view import FeatureView
from monai_agglo.networks import LightEncoder
from monai_agglo.networks.teachers import create_teacher, teacher_class

OPEN = ("litemedsam", "mobilesam", "dinov2_small", "mobilenet_v3")
MAIN = ("medsam", "medsam2", "rad_dino", "medclip")
PER_BLOCK = 64


def bytes_per_image(names: tuple[str, ...], view: FeatureView, precision: str = "int8") -> dict[str, float]:
    """Size of a full block's file over its frames, checksums and head included, of each teacher."""
    found = {}
    for name in names:
        spec = teacher_class(name).spec
        block = Block(Path("-"), ["0" * 32] * PER_BLOCK, view.shape(spec), precision, "0" * 16)
        found[name] = block.bytes / PER_BLOCK
    return found


def chosen_images(folder: str, count: int, size: int) -> list[torch.Tensor]:
    """Frames of IMAGES, evenly spread over its files, in memory."""
    source = source_frames(folder, size)
    cines = source.cines
    picked = sorted({round(n * (len(cines) - 1) / max(1, count - 1)) for n in range(count)})
    return [torch.as_tensor(cines[n]["image"]).as_subclass(torch.Tensor)[..., 0].contiguous() for n in picked]


def quality(cache: FeatureCache, frames: list[torch.Tensor], name: str) -> dict[str, Any]:
    """Least and mean cosine per cell; variance kept on the calibration images (every other one) and on the rest."""
    rows = [cache.quality(frame_hash(frame), name) for frame in frames]
    kept = [sum(r["energy_kept"] for r in part) / sum(r["energy"] for r in part) for part in (rows[::2], rows[1::2])]
    return {
        "cosine_min": min(row["cosine_min"] for row in rows),
        "cosine_mean": sum(row["cosine_mean"] for row in rows) / len(rows),
        "retained_calibration": kept[0],
        "retained_held_out": kept[1],
    }


class Student(nn.Module):
    """A light encoder with a projector per teacher, as in distillation."""

    def __init__(self, backbone: str, cache: FeatureCache) -> None:
        super().__init__()
        self.encoder = LightEncoder(backbone, out_channels=128, stride=16)
        self.projectors = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Conv2d(128, 256, 1), nn.GELU(), nn.Conv2d(256, cache.shape(name)[0], 1))
                for name in cache.teachers
            }
        )

    def loss(self, image: torch.Tensor, targets: dict[str, torch.Tensor]) -> torch.Tensor:
        """0.9 (1 - cosine) + 0.1 smooth L1, summed over teachers."""
        features, total = self.encoder(image), torch.zeros(())
        for name, target in targets.items():
            found = self.projectors[name](F.interpolate(features, target.shape[-2:], mode="bilinear"))
            total = total + 0.9 * (1 - F.cosine_similarity(found, target, dim=1)).mean()
            total = total + 0.1 * F.smooth_l1_loss(found, target)
        return total


def loader_ratio(
    cache: FeatureCache, frames: list[torch.Tensor], backbone: str, size: int, batch: int, steps: int
) -> dict[str, float]:
    """Steps with features from the cache against steps with the same features in memory.

    Frames of one size are taken, in memory on both sides: what is compared is the way of the features.
    """
    square = [F.interpolate(frame[None], (size, size), mode="bilinear")[0] for frame in frames]
    keys = [frame_hash(frame) for frame in frames]
    dataset = FeatureCacheDataset(frames, cache, packed=True)
    loader = DataLoader(dataset, batch, shuffle=True, drop_last=True, collate_fn=list)
    student = Student(backbone, cache)
    optimiser = torch.optim.AdamW(student.parameters(), fused=True)
    memory = {key: {name: cache[key, name] for name in cache.teachers} for key in keys}
    images = dict(zip(keys, square))

    def step(image: torch.Tensor, targets: dict[str, torch.Tensor]) -> None:
        optimiser.zero_grad()
        student.loss(image, targets).backward()
        optimiser.step()

    def from_cache(samples: list[dict]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        targets = {}
        for name in cache.teachers:
            packed = [sample["features"][name] for sample in samples]
            stacks = {part: torch.stack([one[part] for one in packed]) for part in packed[0]}
            targets[name] = cache.decode(name, **stacks)
        return torch.stack([images[sample["frame"]] for sample in samples]), targets

    def from_memory(wanted: list[str]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        targets = {name: torch.stack([memory[key][name] for key in wanted]) for name in cache.teachers}
        return torch.stack([images[key] for key in wanted]), targets

    spent, busy = {"cache": 0.0, "memory": 0.0}, {"cache": 0.0, "memory": 0.0}
    batches = iter(loader)
    for number in range(-2, steps):
        for way in ("cache", "memory") if number % 2 else ("memory", "cache"):
            begin, begin_busy = time.perf_counter(), time.process_time()
            if way == "cache":
                samples = next(batches, None)
                if samples is None:
                    batches = iter(loader)
                    samples = next(batches)
                step(*from_cache(samples))
            else:
                first = number * batch
                step(*from_memory([keys[(first + n) % len(keys)] for n in range(batch)]))
            if number >= 0:  # the first steps warm up
                spent[way] += time.perf_counter() - begin
                busy[way] += time.process_time() - begin_busy
    return {
        "loader_rate_ratio": spent["memory"] / spent["cache"],
        "processor_time_ratio": busy["memory"] / busy["cache"],
        "step_s": spent["memory"] / steps,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="IMAGES", help="folder of images or cines")
    parser.add_argument("--images", type=int, default=24, help="how many, evenly spread (default: 24)")
    parser.add_argument("--size", type=int, default=512, help="longer side in pixels (default: 512)")
    parser.add_argument("--teachers", nargs="+", default=OPEN, help="(default: the open ones)")
    parser.add_argument("--random-weights", action="store_true", help="try the plumbing; the figures say so")
    parser.add_argument("--student", default="efficientvit_b0", help="backbone (default: the fastest, efficientvit_b0)")
    parser.add_argument("--batch", type=int, default=4, help="images per step (default: 4)")
    parser.add_argument("--steps", type=int, default=20, help="steps of each kind (default: 20)")
    parser.add_argument("--threads", type=int, default=2, help="processor cores (default: 2)")
    parser.add_argument("--cache", help="folder to build in and keep (default: a temporary one)")
    parser.add_argument("--output", default="docs/results/cache.json", help="(default: docs/results/cache.json)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    frames = chosen_images(args.folder, args.images, args.size)
    teachers = [create_teacher(name, random_weights=args.random_weights) for name in args.teachers]
    folder = Path(args.cache or tempfile.mkdtemp(prefix="cache-benchmark-"))
    view = FeatureView()
    try:
        half = (len(frames) + 1) // 2
        even = frames[::2] + frames[1::2]  # so that evenly spread calibration images can be told from the others
        build_feature_cache(even[:half], teachers, folder, view=view, calibration_frames=half, verify=0)
        begin = time.perf_counter()
        cache = build_feature_cache(even, teachers, folder, view=view, verify=0)
        build_s = (time.perf_counter() - begin) / max(1, len(even) - half)
        verified = cache.verify(frames, teachers, min(2, len(frames)), seed=0)
        found = {name: quality(cache, frames, name) for name in cache.teachers}
        speed = loader_ratio(cache, frames, args.student, args.size, args.batch, args.steps)
    finally:
        if not args.cache:
            shutil.rmtree(folder, ignore_errors=True)
    main_bytes, open_bytes = bytes_per_image(MAIN, view), bytes_per_image(tuple(args.teachers), view)
    options = [f"--images {args.images}"] + (["--random-weights"] if args.random_weights else [])
    report = {
        "bytes_per_image": round(sum(main_bytes.values())),
        "bytes_per_image_is": "the four main teachers together, files of 64 frames with heads and checksums",
        "bytes_per_image_by_teacher": {name: round(n) for name, n in (main_bytes | open_bytes).items()},
        "cosine_min": {name: round(one["cosine_min"], 6) for name, one in found.items()},
        "cosine_mean": {name: round(one["cosine_mean"], 6) for name, one in found.items()},
        "cosine_is": "per cell, between the entry and the live features in the stored view; the least over all cells",
        "cosine_min_at_re_check": {name: round(value, 6) for name, value in verified.items()},
        "stored_view": {name: "x".join(map(str, cache.shape(name))) for name in cache.teachers},
        "retained_variance": {
            name: {part: round(one[f"retained_{part}"], 4) for part in ("calibration", "held_out")}
            for name, one in found.items()
            if cache.describe(name)["components"]
        },
        "loader_rate_ratio": round(speed["loader_rate_ratio"], 4),
        "loader_rate_is": f"{args.student}, {args.size} px, batch {args.batch}, {args.threads} cores, in one process",
        "processor_time_ratio": round(speed["processor_time_ratio"], 4),
        "step_s": round(speed["step_s"], 3),
        "build_s_per_image": round(build_s, 2),
        "load_average": round(os.getloadavg()[0], 1),
        "teachers": list(cache.teachers),
        "random_weights": args.random_weights,
        "images": len(frames),
        "command": " ".join(["python -m experiments.costs.cache_benchmark IMAGES", *options]),
    }
    output = Path(args.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

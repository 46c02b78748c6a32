"""The probe of ``evaluate.json``: what a student's features are worth to a segmenter that sees few masks."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose, LoadImaged

from monai_agglo.cine.masks import UNLABELLED
from monai_agglo.data import CineReader, FitFramesd, LoadCineMasksd, ScaleCineIntensityd, load_datalist
from monai_agglo.data.student_dataset import GREY
from monai_agglo.distill.probes.probe import ProbeMemory, ProbeSettings, probe
from monai_agglo.distill.probes.tasks import Task
from monai_agglo.files import atomic_path
from monai_agglo.pictures.contact_sheet import pick_frames
from monai_agglo.swallow import TARGET_NAMES

__all__ = ["SegmentationProbe", "labelled_task"]

logger = logging.getLogger(__name__)


class SegmentationProbe:
    """Trains linear and light decoders on frozen students, on few and on all labelled frames, and scores them.

    Args:
        dataset_dir: data set with a ``datalist.json`` and masks; frames of its training part are trained on.
        part: on which the probes are scored.
        size: side of the students' input, in pixels.
        shots: numbers of training frames; 0 for all. Those that there are not are left out.
        steps: of each probe.
        frames_per_cine: evenly spread.
        seeds: probes per setting, whose mean is told.
        device: where to compute.
    """

    def __init__(
        self,
        dataset_dir: str | os.PathLike,
        part: str = "validation",
        size: int = 256,
        shots: Sequence[int] = (8, 32, 0),
        steps: int = 200,
        frames_per_cine: int = 8,
        seeds: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        self.dataset_dir, self.part, self.size, self.shots = dataset_dir, part, int(size), tuple(shots)
        self.steps, self.frames_per_cine, self.seeds, self.device = int(steps), int(frames_per_cine), int(seeds), device

    def __call__(self, learners: Sequence[Any], output_dir: str | os.PathLike) -> dict[str, Any]:
        """Probe the averaged copy of every student.

        Args:
            learners: the students.
            output_dir: ``probe.json`` goes here.

        Returns:
            What is in the file: by student, then by decoder and number of frames, ``dice`` (mean over frames of the
            mean over the structures that are present) and ``structures``.

        Raises:
            ValueError: without frames whose masks are complete.
        """
        task = labelled_task(self.dataset_dir, self.part, self.size, self.frames_per_cine)
        count = len(task.indices("train"))
        report: dict[str, Any] = {
            "part": self.part, "train_frames": count, "scored_frames": len(task.indices("val")), "steps": self.steps,
            "seeds": self.seeds, "students": {},
        }  # fmt: skip
        for learner in learners:
            memory = ProbeMemory()
            report["students"][learner.name] = {
                f"{kind}-{shots or 'all'}": self._score(learner.averaged.student, task, shots, blocks, memory)
                for kind, blocks in (("linear", 0), ("light", 1))
                for shots in self.shots
                if shots < count
            }
        path = Path(output_dir) / "probe.json"
        with atomic_path(path) as partial:
            partial.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        for name, rows in report["students"].items():
            logger.info("probes of %s: %s; in %s", name, {key: row["dice"] for key, row in rows.items()}, path)
        return report

    def _score(self, student, task: Task, shots: int, blocks: int, memory: ProbeMemory) -> dict[str, Any]:
        settings = ProbeSettings(steps=self.steps, blocks=blocks)
        rows = [
            probe(student, task, "val", "frozen", shots, seed, settings, self.device, memory)
            for seed in range(self.seeds)
        ]
        known = [d for row in rows for d in row["dice"] if d is not None]
        each = np.array([[np.nan if d is None else d for d in row["structures"]] for row in rows], float)
        means = {
            name: None if np.isnan(own).all() else round(float(np.nanmean(own)), 4)
            for name, own in zip(task.structures, each.T)
        }
        return {"dice": round(float(np.mean(known)), 4) if known else None, "structures": means}


def labelled_task(dataset_dir: str | os.PathLike, part: str, size: int, frames_per_cine: int = 8) -> Task:
    """Frames with masks of a data set, in the student's square, as a task for probes.

    Args:
        dataset_dir: with a ``datalist.json``.
        part: becomes the task's ``val``; ``training`` its ``train``.
        size: side of the square; padding lies below or to the right.
        frames_per_cine: evenly spread.

    Returns:
        The task, of those structures that are labelled in every frame.

    Raises:
        ValueError: without masks, or where no structure is labelled throughout.
    """
    load = Compose(
        [
            LoadImaged("image", reader=CineReader, ensure_channel_first=True),
            LoadCineMasksd("label"),
            FitFramesd(["image", "label"], size),
            ScaleCineIntensityd("image"),
        ]
    )
    frames, masks, sources, parts = [], [], [], []
    for ours, theirs in (("train", "training"), ("val", part)):
        for number, item in enumerate(load_datalist(dataset_dir, theirs)):
            if item.get("label") is None:
                continue
            data = load(dict(item))
            image, label = np.asarray(data["image"])[0], np.asarray(data["label"])
            for t in pick_frames(image.shape[-1], frames_per_cine):
                square = np.full((size, size), GREY, np.uint8)
                square[: image.shape[0], : image.shape[1]] = np.rint(image[..., t] * 255)
                mask = np.zeros((len(label), size, size), np.uint8)
                mask[:, : image.shape[0], : image.shape[1]] = label[..., t]
                frames.append(square)
                masks.append(mask)
                sources.append(f"{ours}-{item.get('patient_id', number)}")
                parts.append(ours)
    if not {"train", "val"} <= set(parts):
        raise ValueError(f"{dataset_dir} has no masks under 'training' and {part!r}: a probe needs both")
    drawn = np.stack(masks)
    known = [s for s in range(drawn.shape[1]) if not (drawn[:, s] == UNLABELLED).any()]
    if not known:
        raise ValueError(f"{dataset_dir}: no structure is labelled in every frame, and a probe needs one")
    names = tuple(TARGET_NAMES[s] for s in known)
    return Task(
        "probe", names, np.stack(frames), drawn[:, known], tuple(sources), tuple(parts), "the user's", False, "patient"
    )

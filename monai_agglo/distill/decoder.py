"""What the light decoder stage takes over from a finished distillation: heads, targets and teachers."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from monai_agglo.data import EpochBatchSampler, RandFluoroscopyd, StudentFrameDataset
from monai_agglo.data.feature_cache.cache import FeatureCache
from monai_agglo.data.feature_cache.view import FeatureView
from monai_agglo.engines import TargetReader, make_loss
from monai_agglo.handlers import FeatureTerm
from monai_agglo.losses import TargetSpace
from monai_agglo.networks import StudentEncoder, StudentWithHeads, load_encoder

from .data import DistillationData
from .run import choose_teachers, ensure_cache

__all__ = ["finished_distillation", "make_feature_term"]

logger = logging.getLogger(__name__)


def finished_distillation(folder: str | os.PathLike, name: str = "student") -> tuple[dict[str, Any], dict[str, Any]]:
    """What a training with agglo_distill left: the objects of its checkpoint and a student's card.

    Args:
        folder: its output folder.
        name: of the student.

    Returns:
        ``objects`` of ``checkpoint.pt``, and the card ``NAME.json``.

    Raises:
        FileNotFoundError: when it has not been run to its end.
        ValueError: when the files are of something else.
    """
    checkpoint, card = Path(folder, "checkpoint.pt"), Path(folder, f"{name}.json")
    if not checkpoint.is_file() or not card.is_file():
        raise FileNotFoundError(
            f"{folder} holds no finished distillation of {name} (checkpoint.pt and {card.name}): run "
            "bundles/agglo_distill/configs/train.json to its end, or name its output folder"
        )
    try:
        objects = torch.load(checkpoint, map_location="cpu", weights_only=True)["objects"]
        facts = json.loads(card.read_text(encoding="utf-8"))
        found = {"student", "average", "objective"} <= objects[f"student/{name}"].keys() and "space" in objects
    except Exception as error:
        raise ValueError(f"{checkpoint} is no checkpoint of a distillation ({type(error).__name__})") from None
    if not found or "method" not in facts or "targets" not in facts:
        raise ValueError(f"{folder} holds no distillation of {name}: its checkpoint or its card is of something else")
    return objects, facts


def make_feature_term(
    distillation: str | os.PathLike,
    network: nn.Module,
    dataset_dir: str | os.PathLike | Sequence[str],
    name: str = "student",
    teachers: Sequence[str] | None = None,
    cache_dir: str | os.PathLike | None = None,
    weight: float = 0.05,
    batch_size: int = 8,
    lr: float = 1e-3,
    augmentation: float = 0.5,
    seed: int = 0,
    precision: str = "auto",
    device: torch.device | str = "cpu",
    num_workers: int = 0,
    folders: Sequence[str | os.PathLike] = (),
    progress: bool = True,
    **data: Any,
) -> FeatureTerm:
    """The feature term of a segmenter, from a finished distillation: same teachers, targets, heads and balancer.

    The teachers run once over the segmenter's training frames, into the distillation's cache; frames that are there
    already cost nothing.

    Args:
        distillation: output folder of a training with agglo_distill.
        network: the segmenter, whose ``encoder`` is of the student's kind; wrapped for several processes or not.
        dataset_dir: data set with a ``datalist.json``, or folders of images without masks.
        name: of the student.
        teachers: where they are not found by what its card calls them, such as the file of a proxy.
        cache_dir: folder of the features; that of the distillation when None.
        weight: of the term.
        batch_size: frames with features per step.
        lr: of the heads.
        augmentation: strength; it changes the look only.
        seed: of order and augmentation.
        precision: see :class:`monai_agglo.handlers.FeatureTerm`.
        device: where to train.
        num_workers: processes that read.
        folders: further folders of teachers' weights.
        progress: show progress while teachers run.
        data: further arguments of :class:`~.distillation_data.DistillationData`.

    Returns:
        The term.

    Raises:
        FileNotFoundError: when there is no finished distillation.
        ValueError: when the segmenter's encoder is not the student's, or teachers have changed.
    """
    objects, card = finished_distillation(distillation, name)
    state, method = objects[f"student/{name}"], card["method"]
    if card["random"]:
        logger.warning("the feature term comes from teachers with RANDOM weights: it means nothing")
    student = StudentEncoder(**state["student"])
    encoder = (network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network).encoder
    load_encoder(student.encoder, encoder.state_dict(), "the segmenter")  # type: ignore[union-attr]
    student.encoder = encoder  # type: ignore[assignment]

    names = [teacher["name"] for teacher in card["teachers"]]
    if teachers is None and "proxy" in names:
        raise ValueError("the student was distilled from a proxy: name its file with --teachers \"['FILE']\"")
    classes = [teacher.get("class", teacher["name"]) for teacher in card["teachers"]]
    live = choose_teachers(teachers or classes, card["random"], method["balancer"], folders)
    cache_dir = Path(distillation, "cache") if cache_dir is None else Path(cache_dir)
    images = DistillationData(dataset_dir, **{"size": 512, **data})
    view = FeatureCache.open(cache_dir, names, verify=0).describe(names[0])["view"]
    for teacher in live:
        teacher.to(device)
    cache = ensure_cache(
        images, live, cache_dir, [{"name": name, **method}], view=FeatureView(**view), parts=("training",),
        progress=progress,
    )  # fmt: skip

    heads = StudentWithHeads(
        student, {n: cache.shape(n) for n in names}, method["projector"], method["hidden"], method["project_at"]
    )
    trained = state["average"]["averaged"]
    prefix = "projectors."
    heads.projectors.load_state_dict({k.removeprefix(prefix): v for k, v in trained.items() if k.startswith(prefix)})
    loss = make_loss(student, {n: cache.shape(n) for n in names}, None, method["balancer"], method["balancer_options"])
    prefix = "loss.balancer."
    loss.balancer.load_state_dict(
        {k.removeprefix(prefix): v for k, v in state["objective"].items() if k.startswith(prefix)}
    )
    space = TargetSpace(card["targets"], {n: cache.shape(n)[0] for n in names})
    space.load_state_dict(objects["space"])

    look = RandFluoroscopyd(strength=augmentation, invert=0.0)
    frames = images.frames("training")
    dataset = StudentFrameDataset(frames, cache, names, card["image_size"], look, seed=seed, progress=progress)
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_sampler=EpochBatchSampler(dataset, batch_size, seed=seed),
        num_workers=num_workers,
        generator=torch.Generator().manual_seed(seed),  # the segmenter's draws stay what they are without this term
    )
    reader = TargetReader(cache, space.to(device).eval())
    return FeatureTerm(heads, loss, loader, reader, device, weight, lr, precision=precision)

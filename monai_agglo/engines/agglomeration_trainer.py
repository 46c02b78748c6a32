"""Trainer for agglomerative distillation: any number of students on one stream of targets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys
from torch import nn

from monai_agglo.data.feature_cache import FeatureCacheError
from monai_agglo.inferers.precision import autocast, precision_dtype

from .distillation_batch import DistillationBatch, TargetReader
from .learner import Learner, learner_names

__all__ = ["AgglomerationTrainer"]

logger = logging.getLogger(__name__)


class AgglomerationTrainer(SupervisedTrainer):
    """Distils several teachers into one or more students.

    Every batch is read, decoded and normalised once; then each student makes its own forward, backward and step, so
    that a further student costs only itself. After an iteration ``engine.state.output`` holds ``image``, ``loss`` (mean
    over the students) and ``results``: an :class:`monai_agglo.losses.AgglomerationResult` by student.

    Args:
        device: where to train.
        max_epochs: epochs.
        train_data_loader: batches of a :class:`monai_agglo.data.StudentFrameDataset`.
        learners: the students, see :class:`Learner`.
        targets: reads the batches.
        precision: ``bfloat16``, ``float32`` or ``auto`` (bfloat16 where the hardware computes in it); losses are always
            computed in float32.
        accumulation_steps: batches per optimiser step.
        gradient_norms_every: measure each teacher's gradient on the fused map every n iterations; 0 never.
        train_handlers: see MONAI's trainer.
        non_blocking: copy to the device without waiting.
        prepare_batch: used in the place of ``targets`` where given.
        options: further arguments of :class:`monai.engines.SupervisedTrainer`.

    Raises:
        ValueError: for an unknown precision, or students without names of their own.
    """

    def __init__(
        self,
        device: str | torch.device,
        max_epochs: int,
        train_data_loader: Iterable,
        learners: Sequence[Learner],
        targets: TargetReader,
        precision: str = "auto",
        accumulation_steps: int = 1,
        gradient_norms_every: int = 0,
        train_handlers: Sequence | None = None,
        non_blocking: bool = True,
        prepare_batch: Callable | None = None,
        **options: Any,
    ) -> None:
        learner_names(learners)
        self.learners = list(learners)
        if precision == "float16":
            raise ValueError("precision float16 needs loss scaling, which this trainer has not: use bfloat16")
        self.precision = precision_dtype(precision)
        self.gradient_norms_every = int(gradient_norms_every)
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            train_data_loader=train_data_loader,
            network=nn.ModuleDict({learner.name.replace(".", "_"): learner.network for learner in learners}),
            optimizer=self.learners[0].optimizer,
            loss_function=self.learners[0].loss,
            prepare_batch=prepare_batch or targets,
            train_handlers=train_handlers,
            non_blocking=non_blocking,
            decollate=False,
            accumulation_steps=accumulation_steps,
            **options,
        )

    def _iteration(self, engine: AgglomerationTrainer, batchdata: dict[str, Any]) -> dict[str, Any]:  # type: ignore
        """One batch through every student.

        Args:
            engine: this trainer.
            batchdata: collated samples.

        Returns:
            ``image``, ``loss`` and ``results``, see the class.

        Raises:
            FeatureCacheError: when a target is not finite.
        """
        batch: DistillationBatch = engine.prepare_batch(batchdata, engine.state.device, engine.non_blocking)
        first, last, count = self._window(engine)
        every = self.gradient_norms_every
        norms = every > 0 and engine.state.iteration % every == 0
        output: dict[str, Any] = {CommonKeys.IMAGE: batch.image, "results": {}}
        engine.state.output = output
        for learner in self.learners:
            if first:
                learner.optimizer.zero_grad(set_to_none=True)
            with autocast(batch.image, self.precision):
                output["results"][learner.name] = learner.backward(batch, 1 / count, last, norms)
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        output[CommonKeys.LOSS] = torch.stack([r.total.float() for r in output["results"].values()]).mean()
        engine.fire_event(IterationEvents.LOSS_COMPLETED)
        engine.fire_event(IterationEvents.BACKWARD_COMPLETED)
        if last:
            for learner in self.learners:
                with autocast(batch.image, self.precision):
                    sound = learner.step(batch)
                if not sound:
                    _blame(batch, batchdata)
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return output

    def _window(self, engine: AgglomerationTrainer) -> tuple[bool, bool, int]:
        """Whether a step begins with this batch, whether it ends with it, and how many batches it has."""
        steps, length = self.accumulation_steps, engine.state.epoch_length
        place = (engine.state.iteration - 1) % length
        # the last step of an epoch takes what is left
        count = min(steps, length - place // steps * steps)
        return place % steps == 0, place % steps == count - 1, count


def _blame(batch: DistillationBatch, batchdata: dict[str, Any]) -> None:
    """Raise a clear error when the targets of a failed step are at fault."""
    for name, features in batch.features.items():
        bad = ~features.flatten(1).isfinite().all(1)
        if bad.any():
            frames = [batchdata["frame"][i] for i in bad.nonzero().flatten().tolist()]
            raise FeatureCacheError(
                f"features of {name} are NaN or infinite for frame {frames[0]} and {len(frames) - 1} more of its "
                "batch: check the cache with 'python -m monai_agglo cache FOLDER --check'"
            )

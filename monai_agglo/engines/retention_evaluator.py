"""Evaluation of students in training: teachers' features and the students' predictions of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from monai.engines import SupervisedEvaluator
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys
from torch import nn

from monai_agglo.inferers.precision import autocast, precision_dtype

from .distillation_batch import DistillationBatch, TargetReader
from .learner import Learner, learner_names

__all__ = ["RetentionEvaluator"]


class RetentionEvaluator(SupervisedEvaluator):
    """Gives, for every batch, ``label`` (features by teacher), ``pred`` (by student, then teacher) and ``mask``.

    Both are in the stored view of the teacher, normalisation undone, so that figures of differently normalised
    trainings can be compared. :class:`monai_agglo.handlers.RetentionMetric` reads them.

    Args:
        device: where to run.
        val_data_loader: batches of a :class:`monai_agglo.data.StudentFrameDataset` without augmentation.
        learners: the students; their averaged copies are evaluated.
        targets: reads the batches.
        precision: see :class:`AgglomerationTrainer`.
        val_handlers: see MONAI's evaluator.
        options: further arguments of :class:`monai.engines.SupervisedEvaluator`.
    """

    def __init__(
        self,
        device: str | torch.device,
        val_data_loader: Iterable,
        learners: Sequence[Learner],
        targets: TargetReader,
        precision: str = "float32",
        val_handlers: Sequence | None = None,
        **options: Any,
    ) -> None:
        learner_names(learners)
        self.learners = list(learners)
        self.targets = targets
        self.precision = precision_dtype(precision)
        super().__init__(
            device=device,
            val_data_loader=val_data_loader,
            network=nn.ModuleDict({learner.name: learner.averaged for learner in learners}),
            prepare_batch=targets,  # type: ignore[arg-type]
            val_handlers=val_handlers,
            decollate=False,
            **options,
        )

    def _iteration(self, engine: RetentionEvaluator, batchdata: dict[str, Any]) -> dict[str, Any]:  # type: ignore
        """One batch through every student.

        Args:
            engine: this evaluator.
            batchdata: collated samples.

        Returns:
            See the class.
        """
        self.targets.space.eval()  # held-out images move no running statistics
        try:
            batch: DistillationBatch = engine.prepare_batch(batchdata, engine.state.device, engine.non_blocking)
        finally:
            self.targets.space.train()
        output: dict[str, Any] = {CommonKeys.LABEL: batch.features, "mask": batch.masks, CommonKeys.PRED: {}}
        engine.state.output = output
        with torch.no_grad():
            for learner in self.learners:
                learner.averaged.eval()
                with autocast(batch.image, self.precision):
                    predictions = learner.averaged(batch.image, batch.image_affine, batch.affines).predictions
                output[CommonKeys.PRED][learner.name] = self.targets.space.inverse(
                    {name: value.float() for name, value in predictions.items()}
                )
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return output

"""Decoder stage: a segmenter is trained on masks while its encoder keeps reproducing the teachers' features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys
from torch import nn

from monai_agglo.inferers.precision import autocast, precision_dtype
from monai_agglo.losses import AgglomerationLoss
from monai_agglo.losses.balancers.ranks import average_over_ranks, world_size
from monai_agglo.networks import StudentWithHeads

from .teacher_losses import metric_name

__all__ = ["FeatureTerm"]


class FeatureTerm:
    """Adds the distillation loss, times ``weight``, to the loss of a segmenter.

    Cached features are valid for unaugmented frames only; masks are trained on augmented frames. Each step therefore
    takes a second batch, of unaugmented frames with cached features, through the same encoder. Both losses share one
    backward pass. The heads are not part of the segmenter's weights and have their own optimiser; the balancer is
    frozen.
    ``feature_loss/<teacher>`` in ``state.metrics`` is the mean of an epoch.

    Args:
        heads: student with projectors; its encoder is that of the segmenter.
        loss: loss of the distillation.
        loader: batches of a :class:`monai_agglo.data.StudentFrameDataset`, whose batch sampler has ``set_position``.
        targets: reader of these batches, a :class:`monai_agglo.engines.TargetReader`.
        device: training device.
        weight: weight of the term; 0 disables it.
        lr: learning rate of the heads.
        max_norm: maximum gradient norm of the heads.
        precision: autocast type, see :class:`monai_agglo.inferers.AutocastInferer`.

    Raises:
        ValueError: for a negative weight.
    """

    def __init__(
        self,
        heads: StudentWithHeads,
        loss: AgglomerationLoss,
        loader: torch.utils.data.DataLoader,
        targets: Any,
        device: torch.device | str = "cpu",
        weight: float = 0.05,
        lr: float = 1e-3,
        max_norm: float = 5.0,
        precision: str = "auto",
    ) -> None:
        if not weight >= 0:
            raise ValueError(f"the weight of the feature term must not be negative, got {weight}")
        self.heads = heads.to(device)
        self.loss = loss.to(device).eval().requires_grad_(False)
        self.loader, self.targets = loader, targets
        self.device = torch.device(device)
        self.weight, self.max_norm = float(weight), float(max_norm)
        self.precision = precision_dtype(precision)
        self.parameters = list(heads.projectors.parameters())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=lr, weight_decay=0.0)
        self.steps = 0
        self._batches: Iterator | None = None
        self._sums: torch.Tensor | None = None

    def attach(self, engine: Engine) -> None:
        """Attach to a MONAI trainer, at any position among its handlers."""
        if self.weight:
            engine.add_event_handler(Events.EPOCH_STARTED, self.reset)
            engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self.add)
            engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self.step)

    def reset(self, engine: Engine) -> None:
        """Reset the losses of the epoch."""
        self._sums = None

    def add(self, engine: Engine) -> None:
        """Add the term to the loss of this iteration, before the backward pass."""
        batch = self.targets(self._next(), self.device)
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(batch.image, self.precision):
            shared, predictions = self.heads(batch.image, batch.image_affine, batch.affines)
            result = self.loss(predictions, batch.targets, batch.masks, shared, 1, 1)
        engine.state.output[CommonKeys.LOSS] = engine.state.output[CommonKeys.LOSS] + self.weight * result.total
        sums = torch.cat([result.losses, result.losses.new_ones(1)])
        self._sums = sums if self._sums is None else self._sums + sums

    def step(self, engine: Engine) -> None:
        """Step the heads after the segmenter; at the end of an epoch write the mean losses."""
        if world_size() > 1:  # only the segmenter is wrapped
            for parameter in self.parameters:
                mean = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                parameter.grad = average_over_ranks(mean)
        if bool(nn.utils.clip_grad_norm_(self.parameters, self.max_norm).isfinite()):
            self.optimizer.step()
        self.steps += 1
        if engine.state.iteration % engine.state.epoch_length == 0 and self._sums is not None:
            sums = average_over_ranks(self._sums)
            for teacher, value in zip(self.loss.teachers, (sums[:-1] / sums[-1]).tolist()):
                engine.state.metrics[metric_name("feature_loss", teacher)] = value

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint, without the encoder, which is saved with the segmenter."""
        heads, optimizer = self.heads.projectors.state_dict(), self.optimizer.state_dict()
        return {"steps": self.steps, "heads": heads, "optimizer": optimizer}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint, including the position in the data."""
        self.heads.projectors.load_state_dict(state["heads"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps = int(state["steps"])
        self._batches = None

    def _next(self) -> Any:
        epoch, place = divmod(self.steps, len(self.loader))
        if self._batches is None or place == 0:
            self.loader.batch_sampler.set_position(epoch + 1, place)  # type: ignore[union-attr]
            self._batches = iter(self.loader)
        return next(self._batches)

"""One student in training: encoder, projectors, balancer, optimiser, schedule and averaged copy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from monai.optimizers import WarmupCosineSchedule
from torch import nn

from monai_agglo.losses import AgglomerationLoss, AgglomerationResult, FeatureLoss
from monai_agglo.networks import StudentEncoder, StudentWithHeads, parameter_groups

from .captured_losses import CapturedLosses
from .distillation_batch import DistillationBatch
from .weight_average import WeightAverage

__all__ = ["Learner", "check_strides", "make_loss", "warmup_cosine"]

logger = logging.getLogger(__name__)


def warmup_cosine(
    optimizer: torch.optim.Optimizer, total_steps: int, warmup: float = 0.05, end: float = 0.005
) -> WarmupCosineSchedule:
    """MONAI's linear warm-up and cosine decay, in shares of a training.

    Args:
        optimizer: whose learning rate is scheduled.
        total_steps: optimiser steps of the whole training.
        warmup: share of the steps in which the learning rate rises.
        end: last learning rate, as a share of the largest.

    Returns:
        The scheduler.
    """
    steps = max(1, round(total_steps * warmup))
    return WarmupCosineSchedule(optimizer, steps, total_steps, end_lr=optimizer.defaults["lr"] * end)


class _Objective(nn.Module):
    """Forward computation of a learner as one module, so that ``DistributedDataParallel`` sees every head."""

    def __init__(self, network: StudentWithHeads, loss: AgglomerationLoss) -> None:
        super().__init__()
        self.network = network
        self.loss = loss

    def forward(
        self, image, image_affine, affines, targets, masks, step: int, total_steps: int, gradient_norms: bool
    ) -> AgglomerationResult:
        shared, predictions = self.network(image, image_affine, affines)
        return self.loss(predictions, targets, masks, shared, step, total_steps, gradient_norms)


class Learner:
    """A student with its optimizer, schedule and average. Only encoder and heads are wrapped for several processes.

    Args:
        name: of the student, for metrics and files.
        student: the encoder, on any device.
        teachers: stored shape (k, rows, columns) of each teacher's maps, by name.
        total_steps: optimiser steps of the whole training, for schedule and balancer.
        device: where to train.
        projector: see :class:`~monai_agglo.networks.StudentWithHeads`.
        hidden: of the projectors.
        project_at: of the projectors.
        feature_loss: per token; the default one when None.
        balancer: name in the registry.
        balancer_options: its options.
        optimizer: makes the optimiser from its parameter groups, such as ``partial(torch.optim.AdamW, lr=1e-3)``; fused
            AdamW with a weight decay of 0.02 when None.
        lr_scheduler: makes the scheduler from the optimiser and ``total_steps``, see :func:`warmup_cosine`.
        lr: largest learning rate; the optimiser's own when None.
        weight_decay: of convolutions and linear layers, the optimiser's own when None; biases, norms and the balancer
            have none.
        balancer_lr: learning rate of the balancer's own parameters; that of the others when None.
        average_decay: of the averaged copy, which is what is evaluated and saved.
        max_norm: gradients are clipped to this norm.
        compile: compile the student's backbone.
        capture: record the first step on a CUDA device and replay it for all batches like it, which is much faster for
            a small student. Not where gradients are added up over batches or averaged over processes, nor with
            ``compile``; other batches, and balancers that need the fused map, are computed as they are.
        distributed: wrap for several processes; None does so where ``torch.distributed`` is initialised.

    Attributes:
        averaged: the averaged student with its heads, in evaluation mode.

    Raises:
        ValueError: for an unknown balancer or projector, or a set of teachers that cannot be agglomerated.
    """

    def __init__(
        self,
        name: str,
        student: StudentEncoder,
        teachers: Mapping[str, tuple[int, int, int]],
        total_steps: int,
        device: torch.device | str = "cpu",
        projector: str = "mlp",
        hidden: int | None = None,
        project_at: str = "teacher",
        feature_loss: FeatureLoss | None = None,
        balancer: str = "equal",
        balancer_options: Mapping[str, Any] | None = None,
        optimizer: Callable[..., torch.optim.Optimizer] | None = None,
        lr_scheduler: Callable[..., Any] = warmup_cosine,
        lr: float | None = None,
        weight_decay: float | None = None,
        balancer_lr: float | None = None,
        average_decay: float = 0.999,
        max_norm: float = 5.0,
        compile: bool = False,
        capture: bool = False,
        distributed: bool | None = None,
    ) -> None:
        self.name = str(name)
        self.total_steps = max(1, int(total_steps))
        self.max_norm = float(max_norm)
        self.steps = 0
        self._losses: list[torch.Tensor] = []
        loss = make_loss(student, teachers, feature_loss, balancer, balancer_options)
        network = StudentWithHeads(student, teachers, projector, hidden, project_at)
        self.objective = _Objective(network, loss).to(device)
        self.average = WeightAverage(self.network, average_decay)
        decayed, others = (group["params"] for group in parameter_groups(self.network))
        balancing = [p for p in self.loss.parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
        if balancing:
            own = {} if balancer_lr is None else {"lr": balancer_lr}
            groups.append({"params": balancing, "weight_decay": 0.0, **own})
        given = {"lr": lr, "weight_decay": weight_decay}
        make = optimizer or partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.02, fused=True)
        self.optimizer = make(groups, **{name: value for name, value in given.items() if value is not None})
        self.scheduler = lr_scheduler(self.optimizer, self.total_steps)
        self.settings = {
            "projector": projector, "hidden": hidden, "project_at": project_at, "balancer": balancer,
            "balancer_options": dict(balancer_options or {}), "lr": self.optimizer.defaults["lr"],
            "weight_decay": self.optimizer.defaults.get("weight_decay"),
        }  # fmt: skip
        if compile:
            student.encoder.backbone.compile()  # in place: names in the state dict stay
        if distributed is None:
            distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.parallel: nn.Module = self.objective
        if distributed:
            places = [torch.device(device)] if torch.device(device).type == "cuda" else None
            # a dropped teacher leaves its head without a gradient
            self.parallel = nn.parallel.DistributedDataParallel(
                self.objective, device_ids=places, find_unused_parameters=True
            )

        self.captured: CapturedLosses | None = None
        alone = not (compile or distributed or self.loss.balancer.needs_shared)
        if capture and alone and torch.device(device).type == "cuda":
            self.captured = CapturedLosses(self.network, self.loss)

    @property
    def network(self) -> StudentWithHeads:
        """Student and projectors as they are trained."""
        return self.objective.network

    @property
    def loss(self) -> AgglomerationLoss:
        """Feature losses and balancer."""
        return self.objective.loss

    @property
    def averaged(self) -> StudentWithHeads:
        return self.average.averaged

    def backward(
        self, batch: DistillationBatch, share: float = 1.0, synchronise: bool = True, gradient_norms: bool = False
    ) -> AgglomerationResult:
        """Forward and backward of one batch; gradients add up until :meth:`step`.

        Args:
            batch: on the learner's device.
            share: of this batch in the step, 1 over the number of accumulated batches.
            synchronise: average gradients over the processes now; only needed before a step.
            gradient_norms: see :class:`~monai_agglo.losses.AgglomerationLoss`.

        Returns:
            The result; its tensors carry no graph.
        """
        self.parallel.train()
        wait = nullcontext()
        if not synchronise and isinstance(self.parallel, nn.parallel.DistributedDataParallel):
            wait = self.parallel.no_sync()
        with wait:
            found = self.captured(batch) if self.captured and not gradient_norms and share == 1 else None
            if found is None:
                result = self.parallel(
                    batch.image, batch.image_affine, batch.affines, batch.targets, batch.masks, self.steps,
                    self.total_steps, gradient_norms,
                )  # fmt: skip
            else:
                losses, shared = found
                result = self.loss.balanced(losses, batch.targets, batch.masks, shared, self.steps, self.total_steps)
            with torch.autocast(batch.image.device.type, enabled=False):
                (result.total * share).backward()
        self._losses.append(result.losses)
        return result._replace(total=result.total.detach())

    def step(self, batch: DistillationBatch) -> bool:
        """Clip gradients, step optimizer, schedule and average, and reset the gradients.

        Args:
            batch: the last one, for balancers that look at it again after the step.

        Returns:
            Whether the step was made; a gradient that is not finite is left out.
        """
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.loss.balancer.sync_gradients()
        norm = nn.utils.clip_grad_norm_(parameters, self.max_norm)
        sound = bool(norm.isfinite())
        if sound:
            self.optimizer.step()
            self.loss.after_step(self._losses_of_step(batch))
        else:
            logger.warning("%s, step %d: the gradient is not finite and was left out", self.name, self.steps)
        self._losses = []
        self.optimizer.zero_grad(set_to_none=True)
        self.scheduler.step()
        self.steps += 1
        self.average.update(None)  # type: ignore[arg-type]
        return sound

    def _losses_of_step(self, batch: DistillationBatch) -> torch.Tensor:
        if not self.loss.balancer.needs_recomputed:
            return torch.stack(self._losses).mean(0)
        with torch.no_grad(), _statistics_at_rest(self.objective):
            again = self.network(batch.image, batch.image_affine, batch.affines)
            return self.loss.teacher_losses(again.predictions, batch.targets, batch.masks).mean(0)

    def state_dict(self) -> dict[str, Any]:
        """Complete state, including gradients of an unfinished step; loads with ``weights_only=True``."""
        pending = {name: p.grad.detach().clone() for name, p in self.objective.named_parameters() if p.grad is not None}
        return {
            "student": dict(self.network.student.options),
            "steps": self.steps,
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "average": self.average.state_dict(),
            "gradients": pending,
            "losses": self._losses,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of :meth:`state_dict`.

        Raises:
            ValueError: when it is that of another student.
        """
        if state["student"] != self.network.student.options:
            raise ValueError(f"it is of a student {state['student']}, not {self.network.student.options}")
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.average.load_state_dict(state["average"])
        self.steps = int(state["steps"])
        self._losses = [losses.to(next(self.network.parameters()).device) for losses in state["losses"]]
        for name, p in self.objective.named_parameters():
            gradient = state["gradients"].get(name)
            p.grad = None if gradient is None else gradient.to(p)


@contextmanager
def _statistics_at_rest(module: nn.Module) -> Iterator[None]:
    """Normalise by the batch, as in training, without moving running statistics a second time."""
    layers = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.momentum = 0.0
        yield
    finally:
        for layer, momentum in zip(layers, momenta):
            layer.momentum = momentum


def make_loss(
    student: StudentEncoder,
    teachers: Mapping[str, tuple[int, int, int]],
    feature_loss: FeatureLoss | None = None,
    balancer: str = "equal",
    balancer_options: Mapping[str, Any] | None = None,
) -> AgglomerationLoss:
    """The loss of a student and its teachers, with what a balancer has to know of both.

    Args:
        student: the encoder.
        teachers: stored shape (k, rows, columns) of each teacher's maps, by name.
        feature_loss: per token; the default one when None.
        balancer: name in the registry.
        balancer_options: its options.

    Returns:
        The loss.

    Raises:
        ValueError: see :class:`~monai_agglo.losses.AgglomerationLoss`.
    """
    options = dict(balancer_options or {})
    if balancer == "image_attention":  # it reads pooled features, whose widths are known here
        options.setdefault("student_channels", student.out_channels)
        options.setdefault("teacher_channels", [shape[0] for shape in teachers.values()])
    return AgglomerationLoss(tuple(teachers), feature_loss, balancer, options)


def check_strides(student: StudentEncoder, size: int, teachers: Mapping[str, tuple[int, int, int]]) -> None:
    """Refuse a student with a coarser grid than a teacher's.

    Args:
        student: the encoder.
        size: side of its input, in pixels.
        teachers: stored shape (k, rows, columns) of each teacher's maps, by name.

    Raises:
        ValueError: with both numbers of cells.
    """
    cells = size // student.stride
    for name, shape in teachers.items():
        if cells < max(shape[1:]):
            raise ValueError(
                f"the student's stride is larger than that of {name}: {cells} cells a side at stride {student.stride} "
                f"and {size} pixels, {name} has {max(shape[1:])}; use a smaller stride or a larger input"
            )


def learner_names(learners: Sequence[Learner]) -> list[str]:
    """Names of the students of a run.

    Args:
        learners: in their order.

    Returns:
        The names.

    Raises:
        ValueError: when there is none, or two have the same name.
    """
    names = [learner.name for learner in learners]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"every student of a run needs a name of its own, got {names}")
    return names

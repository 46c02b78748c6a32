"""A student's losses as CUDA graphs: forward and backward are recorded once and replayed.

A light student makes some thousand small kernels per step, and a GPU waits for most of them to be launched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from monai_agglo.losses import AgglomerationLoss
from monai_agglo.networks import StudentWithHeads
from monai_agglo.networks.alignment import GridMove

from .distillation_batch import DistillationBatch

__all__ = ["CapturedLosses"]


class CapturedLosses:
    """Student, heads and feature losses of batches that are all alike in shape and place; the balancer stays outside.

    The first batch is recorded. Its kernels read the weights where they lie, so optimisers and checkpoints must change
    them in place. With gradients added up over several batches it must not be used: they lie in the graph's own memory.

    Args:
        network: on a CUDA device, in training mode, with all its gradients None.
        loss: of its predictions.
    """

    def __init__(self, network: StudentWithHeads, loss: AgglomerationLoss) -> None:
        self.network, self.loss = network, loss
        self._losses: _Losses | None = None
        self._like: tuple | None = None
        self._read: list[GridMove] = []

    def __call__(self, batch: DistillationBatch) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Losses of a batch.

        Args:
            batch: on the network's device.

        Returns:
            (B, T) losses and the fused map (B, C, h, w), with gradient; None for a batch unlike the recorded one,
            or whose frames are not alike.
        """
        like = _likeness(batch)
        if like is None or (self._like is not None and like != self._like):
            return None
        tensors = (batch.image, *batch.targets.values(), *batch.masks.values())
        if self._losses is None:
            self._losses, self._like = self._record(batch, tensors), like
        return self._losses(*tensors)

    def _record(self, batch: DistillationBatch, tensors: Sequence[torch.Tensor]) -> _Losses:
        losses = _Losses(self.network, self.loss, batch)
        kept = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        kind = batch.image.device.type
        # casts of weights that autocast keeps would be made once, and never again
        with torch.autocast(kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind), cache_enabled=False):
            torch.cuda.make_graphed_callables(losses, tuple(t.clone() for t in tensors), allow_unused_input=True)
        with torch.no_grad():  # the batches of the recording must not count as steps
            for name, buffer in self.network.named_buffers():
                buffer.copy_(kept[name])
        self._read = list(self.network.moves.values())  # the graph reads their memory: it must not be freed
        return losses


class _Losses(nn.Module):
    """What is recorded; it takes tensors alone."""

    def __init__(self, network: StudentWithHeads, loss: AgglomerationLoss, batch: DistillationBatch) -> None:
        super().__init__()
        self.network = network
        self._teacher_losses = loss.teacher_losses  # without the balancer's parameters, which are used outside
        self._image_affine, self._affines = batch.image_affine, batch.affines
        self._targets, self._masks = tuple(batch.targets), tuple(batch.masks)

    def forward(self, image: torch.Tensor, *tensors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        shared, predictions = self.network(image, self._image_affine, self._affines)
        targets = dict(zip(self._targets, tensors))
        masks = dict(zip(self._masks, tensors[len(targets) :]))
        return self._teacher_losses(predictions, targets, masks), shared


def _likeness(batch: DistillationBatch) -> tuple | None:
    """What must be the same for two batches to be computed alike; None where the frames of a batch are not."""
    places: list[bytes] = []
    for affine in (batch.image_affine, *batch.affines.values()):
        if not bool((affine == affine[:1]).all()):
            return None
        places.append(affine[0].numpy().tobytes())
    return (tuple(batch.image.shape), _shapes(batch.targets), _shapes(batch.masks), *places)


def _shapes(tensors: Mapping[str, torch.Tensor]) -> tuple:
    return tuple((name, tuple(tensor.shape)) for name, tensor in tensors.items())

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

Moves = Mapping[str, Sequence[GridMove]]


class CapturedLosses:
    """Student, heads and feature losses of batches that are all alike in shape; the balancer stays outside.

    The first batch is recorded. Where frames lie may differ from batch to batch and within one. The kernels read the
    weights where they are, so optimisers and checkpoints must change them in place. With gradients added up over
    several batches it must not be used: they lie in the graph's own memory.

    Args:
        network: on a CUDA device, in training mode, with all its gradients None.
        loss: of its predictions.
    """

    def __init__(self, network: StudentWithHeads, loss: AgglomerationLoss) -> None:
        self.network, self.loss = network, loss
        self._losses: _Losses | None = None
        self._like: tuple | None = None

    def __call__(self, batch: DistillationBatch) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Losses of a batch.

        Args:
            batch: on the network's device.

        Returns:
            (B, T) losses and the fused map (B, C, h, w), with gradient; None for a batch unlike the recorded one.
        """
        moves = self.network.moves(batch.image, batch.image_affine, batch.affines)
        like = _likeness(batch, moves)
        if self._like is not None and like != self._like:
            return None
        tensors = (batch.image, *batch.targets.values(), *batch.masks.values(), *weights_of(moves))
        if self._losses is None:
            self._losses, self._like = self._record(_Losses(self.network, self.loss, batch, moves), tensors), like
        return self._losses(*tensors)

    def _record(self, losses: _Losses, tensors: Sequence[torch.Tensor]) -> _Losses:
        kept = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        kind = tensors[0].device.type
        # casts of weights that autocast keeps would be made once, and never again
        with torch.autocast(kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind), cache_enabled=False):
            torch.cuda.make_graphed_callables(losses, tuple(t.clone() for t in tensors), allow_unused_input=True)
        with torch.no_grad():  # the batches of the recording must not count as steps
            for name, buffer in self.network.named_buffers():
                buffer.copy_(kept[name])
        return losses


class _Losses(nn.Module):
    """What is recorded; it takes tensors alone."""

    def __init__(
        self, network: StudentWithHeads, loss: AgglomerationLoss, batch: DistillationBatch, moves: Moves
    ) -> None:
        super().__init__()
        self.network = network
        self._teacher_losses = loss.teacher_losses  # without the balancer's parameters, which are used outside
        self._targets, self._masks = tuple(batch.targets), tuple(batch.masks)
        self._moved = {name: [move.rows is not None for move in own] for name, own in moves.items()}

    def forward(self, image: torch.Tensor, *tensors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rest = iter(tensors)
        targets = {name: next(rest) for name in self._targets}
        masks = {name: next(rest) for name in self._masks}
        moves = {
            name: [GridMove(next(rest), next(rest)) if moved else GridMove(None, None) for moved in own]
            for name, own in self._moved.items()
        }
        shared, predictions = self.network.predict(image, moves)
        return self._teacher_losses(predictions, targets, masks), shared


def weights_of(moves: Moves) -> list[torch.Tensor]:
    """All weights of moves, as the recording takes them; none of maps that stay where they are."""
    return [weight for own in moves.values() for move in own for weight in move if weight is not None]


def _likeness(batch: DistillationBatch, moves: Moves) -> tuple:
    """What must be the same for two batches to be computed by the same kernels."""
    weights = tuple((name, *(_shape(w) for move in own for w in move)) for name, own in moves.items())
    return (_shape(batch.image), _shapes(batch.targets), _shapes(batch.masks), weights)


def _shapes(tensors: Mapping[str, torch.Tensor]) -> tuple:
    return tuple((name, _shape(tensor)) for name, tensor in tensors.items())


def _shape(tensor: torch.Tensor | None) -> tuple[int, ...] | None:
    return None if tensor is None else tuple(tensor.shape)

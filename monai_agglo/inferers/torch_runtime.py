"""PyTorch runtime: every device and network; the reference for the other engines."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from monai_agglo.prediction.runtimes.frame_runtime import CoarseLogits, NetworkFacts

from .precision import autocast, precision_dtype

__all__ = ["Carrying", "TorchRuntime", "coarse_logits", "has_coarse"]


def has_coarse(network: object) -> bool:
    """Whether a network gives coarse logits; not during training."""
    return hasattr(network, "coarse") and not getattr(network, "training", False)


class TorchRuntime:
    """Runs a network in PyTorch. See :class:`~monai_agglo.prediction.runtimes.frame_runtime.FrameRuntime`.

    Args:
        network: from (B, 1, H, W, T) to logits (B, S, H, W, T). Its ``coarse`` is used where it has one.
        dtype: autocast type, see :func:`~.precision.precision_dtype`.
    """

    name = "torch"
    workers = 1  # its own threads share the work of one call
    window: int | None = None

    def __init__(self, network: nn.Module, dtype: torch.dtype | str | None = None) -> None:
        self.network = network
        dtype = precision_dtype(dtype) if isinstance(dtype, str) else dtype
        self._dtype = dtype
        shift = getattr(network, "shift", None)
        mixes = bool(getattr(shift, "fraction", 0.0))
        causal = mixes and bool(getattr(shift, "causal", False))
        self.facts = NetworkFacts(int(getattr(network, "multiple", 32)), mixes, causal)
        self.precision = {None: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}.get(dtype, str(dtype))

    @torch.inference_mode()
    def run(self, frames: np.ndarray) -> CoarseLogits:
        """Segment successive frames (N, 1, H, W) float32 of one cine."""
        image = torch.from_numpy(frames).permute(1, 2, 3, 0)[None]
        parameter = next(self.network.parameters(), None)
        image = image if parameter is None else image.to(parameter.device)
        if has_coarse(self.network):
            return coarse_logits(self.network, image, self._dtype)
        with autocast(image, self._dtype):
            logits = self.network(image)[0].permute(3, 0, 1, 2)
        return CoarseLogits(logits.float().cpu().contiguous().numpy(), 1, 1)


def coarse_logits(network: nn.Module, image: torch.Tensor, dtype: torch.dtype | str | None) -> CoarseLogits:
    """Logits of a network that has a method ``coarse``.

    Args:
        network: on the device of the image.
        image: (B, 1, H, W, T).
        dtype: autocast type.

    Returns:
        Logits of the B * T frames.
    """
    with autocast(image, dtype):
        logits = network.coarse(image)  # type: ignore[operator]
    values = logits.detach().float().cpu().contiguous().numpy()
    multiple = int(getattr(network, "multiple", 32))
    rows = -(-image.shape[2] // multiple) * multiple
    return CoarseLogits(values, 2, rows // (2 * values.shape[2]))


class Carrying(nn.Module):
    """A causal network that is called for one frame after the other.

    Args:
        network: a :class:`~monai_agglo.networks.CineSegmenter` with a causal temporal shift.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.multiple = network, network.multiple
        self._past: torch.Tensor | None = None
        self.eval()

    def coarse(self, image: torch.Tensor) -> torch.Tensor:
        """Coarse logits of the next frames (B, 1, H, W, T)."""
        logits, self._past = self.network.coarse_part(image, self._past)  # type: ignore[operator]
        return logits

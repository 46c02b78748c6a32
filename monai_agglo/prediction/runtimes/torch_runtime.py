"""PyTorch: every device, every network; what the other engines are compared with."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from monai_agglo.inferers.cine_inferer import has_coarse
from monai_agglo.inferers.precision import autocast

from .frame_network import CoarseLogits

__all__ = ["TorchRuntime", "coarse_logits"]


class TorchRuntime:
    """Runs a network in PyTorch. See :class:`~.frame_network.FrameRuntime`.

    Args:
        network: from (B, 1, H, W, T) to logits (B, S, H, W, T). Its ``coarse`` is used where it has one.
        dtype: autocast type, see :func:`~monai_agglo.inferers.cine_inferer.autocast`.
    """

    name = "torch"
    workers = 1  # its own threads share the work of one call
    window: int | None = None

    def __init__(self, network: nn.Module, dtype: torch.dtype | str | None = None) -> None:
        self.network = network
        self._dtype = dtype
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

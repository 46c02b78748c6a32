"""Inferers for cines: reduced precision anywhere, and any number of frames in bounded memory."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from monai.inferers import Inferer

from monai_agglo.prediction.coarse_masks import threshold_masks
from monai_agglo.swallow import TARGETS, keep_main_parts

from .precision import autocast, precision_dtype
from .torch_runtime import coarse_logits, has_coarse

__all__ = ["AutocastInferer", "CineInferer"]


def free_memory() -> int | None:
    """Bytes of memory that can be had without swapping; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        facts = dict(line.split(":", 1) for line in lines if ":" in line)
        return int(facts["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        try:
            return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (AttributeError, OSError, ValueError):
            return None


def check_memory(needed: float, frames: int) -> None:
    """Refuse work that exceeds the available memory.

    Args:
        needed: bytes.
        frames: of the cine, for the message.

    Raises:
        MemoryError: when less is free, in one sentence.
    """
    free = free_memory()
    if free is not None and needed > free:
        raise MemoryError(
            f"these {frames} frames take about {needed / 1e9:.1f} GB ({needed / frames / 1e6:.0f} MB each) and "
            f"{free / 1e9:.1f} GB are free: use 'python -m monai_agglo predict', which streams the cine"
        )


class AutocastInferer(Inferer):
    """Calls the network under autocast, on CPU as well as on GPU, for training.

    MONAI's trainer autocasts on CUDA only. bfloat16 needs no loss scaling.

    Args:
        dtype: ``bfloat16``, ``float16``, ``float32`` (no autocast), or ``auto``: bfloat16 where the
            hardware computes in it.
    """

    def __init__(self, dtype: str = "auto") -> None:
        super().__init__()
        self.dtype = precision_dtype(dtype)

    def __call__(self, inputs: torch.Tensor, network, *args, **kwargs) -> torch.Tensor:
        """Run.

        Args:
            inputs: input of the network.
            network: the network.
            args: further arguments of the network.
            kwargs: further arguments of the network.

        Returns:
            float32 output of the network.
        """
        plain = inputs.as_subclass(torch.Tensor)
        with autocast(plain, self.dtype):
            output = network(plain, *args, **kwargs)
        return output.float()


class CineInferer(Inferer):
    """Runs a network over a cine in windows of frames.

    With ``threshold`` the result of each window is turned into a mask at once, so that memory holds one byte per
    structure and pixel instead of the logits of the whole cine.

    Args:
        window: frames per call of the network.
        threshold: probability above which a structure is present; None returns the logits.
        context: frames on both sides of a window that the network sees but whose result is dropped; only a network
            with a temporal shift needs them.
        dtype: autocast type, see :class:`AutocastInferer`.
        progress: show a progress bar when the run takes more than two seconds.
        main_parts: with ``threshold``, erase parts of a structure smaller than this fraction of its largest part, see
            :func:`~monai_agglo.swallow.keep_main_parts`; 0 leaves the masks as they are.
        bytes_per_pixel: memory that the whole workflow takes per pixel of the cine; a cine that needs more than is free
            is refused before the work. None does not ask.
    """

    def __init__(
        self,
        window: int = 8,
        threshold: float | None = None,
        context: int = 0,
        dtype: str = "float32",
        progress: bool = False,
        main_parts: float = 0.0,
        bytes_per_pixel: float | None = None,
    ) -> None:
        super().__init__()
        if window < 1 or context < 0:
            raise ValueError(f"window must be at least 1 and context at least 0, not {window} and {context}")
        if threshold is not None and not 0 <= threshold <= 1:
            raise ValueError(f"threshold is a probability, 0 to 1, not {threshold}")
        if not 0 <= main_parts <= 1:
            raise ValueError(f"main_parts is a fraction, 0 to 1, not {main_parts}")
        self.window = window
        self.threshold = threshold
        self.context = context
        self.dtype = precision_dtype(dtype)
        self.progress = progress
        self.main_parts = main_parts
        self.bytes_per_pixel = bytes_per_pixel

    def __call__(self, inputs: torch.Tensor, network, *args, **kwargs) -> torch.Tensor:
        """Run.

        Args:
            inputs: (B, 1, H, W, T); it may lie on another device than the network's parameters: windows are brought
                there, and their results back, one by one.
            network: network from (B, 1, H, W, t) to logits (B, S, H, W, t).
            args: further arguments of the network.
            kwargs: further arguments of the network.

        Returns:
            (B, S, H, W, T): float32 logits, or uint8 masks of 0 and 1 with ``threshold``. Metadata of the input stays.

        Raises:
            ValueError: when there is no frame.
            MemoryError: when the cine takes more memory than is free.
        """
        from tqdm import tqdm

        plain = inputs.as_subclass(torch.Tensor)
        if not plain.shape[-1]:
            raise ValueError("the cine has no frame")
        if self.bytes_per_pixel is not None:
            check_memory(plain.numel() * self.bytes_per_pixel, plain.shape[-1])
        frames = plain.shape[-1]
        parameter = next(network.parameters(), None) if isinstance(network, torch.nn.Module) else None
        device = plain.device if parameter is None else parameter.device
        result: torch.Tensor | None = None
        # A logit above this is a probability above the threshold: saves the sigmoid of every pixel.
        cut = None if self.threshold is None else float(torch.logit(torch.tensor(self.threshold, dtype=torch.float64)))
        coarse = not (args or kwargs) and getattr(network, "out_channels", 0) == len(TARGETS) and has_coarse(network)
        starts = range(0, frames, self.window)
        for start in tqdm(starts, desc="segmenting", unit="window", disable=not self.progress, delay=2):
            stop = min(start + self.window, frames)
            first, last = max(0, start - self.context), min(frames, stop + self.context)
            part = plain[..., first:last].to(device)
            if coarse and cut is not None:
                part = self._cut(part, network, cut, slice(start - first, stop - first))
            else:
                with autocast(part, self.dtype):
                    logits = network(part, *args, **kwargs)
                logits = logits[..., start - first : stop - first]
                part = logits.float() if cut is None else (logits > cut).to(torch.uint8)
                if cut is not None and self.main_parts:
                    part = part.cpu()
                    for case in part.numpy():
                        keep_main_parts(case, self.main_parts)
            if result is None:
                result = torch.empty((*part.shape[:-1], frames), dtype=part.dtype, device=plain.device)
            result[..., start:stop] = part
        if hasattr(inputs, "meta"):
            from monai.data import MetaTensor

            return MetaTensor(result, meta=inputs.meta, applied_operations=inputs.applied_operations)
        return result

    def _cut(self, part: torch.Tensor, network: torch.nn.Module, cut: float, wanted: slice) -> torch.Tensor:
        """Masks (B, S, H, W, t) uint8 of a window, scaled up only where something is."""

        found = coarse_logits(network, part, self.dtype)
        batch, _, height, width, frames = part.shape
        values = found.values.reshape(batch, frames, *found.values.shape[1:])[:, wanted]
        masks = [
            np.stack(
                [threshold_masks(v, found.fold, found.scale, (height, width), cut, self.main_parts) for v in case], -1
            )
            for case in values
        ]
        return torch.from_numpy(np.stack(masks))

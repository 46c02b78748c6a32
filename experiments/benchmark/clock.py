"""Time on a device that works by itself, and how a report calls the device."""

from __future__ import annotations

import time

import torch

__all__ = ["device_title", "now"]


def now(device: torch.device) -> float:
    """Seconds of a clock that only grows, once all work given to the device is done.

    Args:
        device: whose work is timed; a GPU is waited for.

    Returns:
        Seconds, of no meaning but in differences.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def device_title(device: torch.device, threads: int) -> str:
    """What a benchmark says it ran on.

    Args:
        device: that did the work.
        threads: on a CPU, how many.

    Returns:
        Name of the GPU, or ``cpu, N threads``.
    """
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {threads} threads"

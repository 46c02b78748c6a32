"""Clock for asynchronous devices, and device names for reports."""

from __future__ import annotations

import time

import torch

__all__ = ["device_title", "now"]


def now(device: torch.device) -> float:
    """Monotonic clock in seconds, after synchronisation of the device.

    Args:
        device: timed device; a GPU is synchronised.

    Returns:
        Seconds; only differences are meaningful.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def device_title(device: torch.device, threads: int) -> str:
    """Name of a device for reports.

    Args:
        device: the device.
        threads: number of CPU threads.

    Returns:
        Name of the GPU, or ``cpu, N threads``.
    """
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {threads} threads"

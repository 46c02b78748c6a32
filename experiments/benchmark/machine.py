"""The computer: its description, and its peak rates measured in the same run."""

from __future__ import annotations

import contextlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .interleave import Candidate
from .worker import Case

__all__ = ["ROOF", "computer", "make_roof", "roof_candidate", "roofs_of", "versions"]

ROOF = "roof"
SIDE = 2048
COPY_BYTES = 256 << 20
LIBRARIES = ("torch", "monai", "timm", "onnxruntime", "openvino", "imagecodecs", "pydicom", "numpy")


def computer() -> dict[str, Any]:
    """Processor, cores, memory, system: without the host name."""
    import torch

    memory = None
    with contextlib.suppress(AttributeError, ValueError, OSError):  # not on Windows
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    flags = _cpu_field("flags").split()
    return {
        "processor": _cpu_field("model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "vnni": any("vnni" in flag for flag in flags),
        "bfloat16": any("bf16" in flag for flag in flags),
        "memory_gb": memory,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Versions of the installed libraries in use."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def roof_candidate(threads: tuple[int, ...] = (1, 2), repeats: int = 5) -> Candidate:
    """Matrix product and memory copy, measured interleaved with the candidates."""
    return Candidate(ROOF, f"{__name__}:make_roof", {"threads": list(threads)}, max(threads), repeats)


def make_roof(threads: list[int], side: int = SIDE, copy_bytes: int = COPY_BYTES) -> dict[str, Case]:
    """A large float32 matrix product and a copy in memory, for each number of threads.

    Args:
        threads: numbers of threads.
        side: side of the square matrices.
        copy_bytes: bytes per copy; several times the CPU cache.

    Returns:
        The cases; a unit of the product is 1e9 operations, of the copy 1e9 bytes (read once, written once: 2 per byte).
    """
    import torch

    left, right = torch.rand(side, side), torch.rand(side, side)
    product = torch.empty(side, side)
    source = torch.ones(copy_bytes // 4)
    target = torch.empty_like(source)
    cases = {}
    for count in threads:
        cases[f"product@{count}"] = Case(lambda: torch.mm(left, right, out=product), 2 * side**3 / 1e9, count)
        cases[f"copy@{count}"] = Case(lambda: target.copy_(source), 2 * copy_bytes / 1e9, count)
    return cases


def roofs_of(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Rates by number of threads.

    Args:
        rows: summaries of the roof's cases by name.

    Returns:
        ``{threads: {"gflops": 1e9 operations/s, "gb_per_s": 1e9 bytes/s}}``.
    """
    found: dict[str, dict[str, float]] = {}
    for name, row in rows.items():
        kind, _, threads = name.partition("@")
        if "per_s" in row:
            found.setdefault(threads, {})["gflops" if kind == "product" else "gb_per_s"] = row["per_s"]
    return found


def _cpu_field(name: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.split(":")[0].strip() == name), "")

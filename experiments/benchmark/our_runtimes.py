"""Our segmenter as in ``predict``, in every runtime and precision."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .files import phantom_frames
from .interleave import Candidate
from .worker import Case

__all__ = ["SETTINGS", "MemoryCine", "make_product", "open_segmenter", "runtime_candidates", "title"]

SETTINGS = (
    ("torch", "fp32"),
    ("onnxruntime", "fp32"),
    ("openvino", "fp32"),
    ("onnxruntime", "int8"),
    ("openvino", "int8"),
)
"""Runtime and precision."""
TITLES = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


def title(runtime: str, precision: str) -> str:
    """Name of a setting in the tables."""
    return f"ours, {TITLES[runtime]} {precision}"


class MemoryCine:
    """Frames in memory with the face of a :class:`~monai_agglo.data.Cine`, as far as a segmenter looks at it.

    Args:
        frames: (T, H, W).
    """

    def __init__(self, frames: np.ndarray) -> None:
        self._frames = frames
        self.shape = (*frames.shape[1:], len(frames))

    def frames(self, wanted: Any = None) -> Iterator[np.ndarray]:
        """All frames, or those of some indices or a slice."""
        picked = self._frames if wanted is None else self._frames[wanted if isinstance(wanted, slice) else list(wanted)]
        return iter(picked)


def open_segmenter(runtime: str, precision: str, size: int | None = None) -> Any:
    """The segmenter of ``vfss_seg`` on the CPU.

    Args:
        runtime: as ``predict`` takes it.
        precision: as ``predict`` takes it.
        size: longer side of the frames as the network sees them; the bundle's own when None.
    """
    from monai_agglo.prediction.segmenter import Segmenter

    return Segmenter(device="cpu", size=size, runtime=runtime, precision=precision)


def make_product(
    runtime: str, precision: str, work: str, frames: int, size: int, threads: int, network_size: int | None = None
) -> dict[str, Case]:
    """Frames in memory through the segmenter of ``predict``, masks cleaned and all.

    Args:
        runtime: see :data:`SETTINGS`.
        precision: see :data:`SETTINGS`.
        work: folder of the synthetic cine.
        frames: of the cine.
        size: rows and columns.
        threads: processor threads, set from outside as well.
        network_size: longer side as the network sees it; the bundle's own when None.

    Returns:
        One case.
    """
    import torch

    torch.set_num_threads(threads)
    segmenter = open_segmenter(runtime, precision, network_size)
    cine: Any = MemoryCine(phantom_frames(Path(work), frames, size)[0])
    limits = segmenter.intensity_range(cine)

    def call() -> None:
        for _ in segmenter.run(cine, limits):
            pass

    facts = {"weights": "vfss_seg", "chosen": f"{segmenter.runtime.name} {segmenter.runtime.precision}"}
    return {f"@{threads}": Case(call, frames, threads, facts)}


def runtime_candidates(
    work: Path, size: int, frames: int, threads: list[int], repeats: int, settings=SETTINGS
) -> list[Candidate]:
    """Candidates of the product for each setting and number of threads.

    Args:
        work: folder of the synthetic cine.
        size: rows and columns.
        frames: of the cine.
        threads: numbers of threads.
        repeats: at most so many.
        settings: pairs of runtime and precision.

    Returns:
        The candidates.
    """
    make = f"{__name__}:{make_product.__name__}"
    return [
        Candidate(
            title(runtime, precision), make,
            {"runtime": runtime, "precision": precision, "work": str(work), "frames": frames, "size": size,
             "threads": count, "network_size": size if size < 512 else None},
            count, repeats,
        )
        for runtime, precision in settings
        for count in threads
    ]  # fmt: skip

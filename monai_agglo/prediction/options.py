"""Options of ``predict``, checked once, before anything is loaded or written."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .runtimes.choice import check_choice

if TYPE_CHECKING:
    from .segmenter import Segmenter

__all__ = ["PredictOptions"]


@dataclass(frozen=True)
class PredictOptions:
    """Settings of the segmentation and of its output files.

    Args:
        bundle: bundle folder or name; ``vfss_seg`` when None. A bundle is code: use trusted ones only.
        device: ``cpu``, ``cuda``, ``cuda:1``...; the first GPU where there is one when None.
        size: longer side of the frames as the network sees them, in pixels; the bundle's own when None.
        batch: frames per call of the network; the bundle's own when None.
        fps: frames per second, where the file states none or a wrong one.
        spacing_mm: pixel spacing in millimetres, one value or (row, column), where the file states none or a wrong one.
            It goes into the record; the masks keep the geometry of the file.
        any_modality: try CT, MR and other files that are no projection cine as well.
        overwrite: allow an output folder that holds other files; only files of the same names are replaced.
        dicom_seg: write the masks as a DICOM Segmentation too, ``seg.dcm``; the cine must be DICOM.
        dicom_overlay: write the overlay as a DICOM secondary capture too, ``overlay.dcm``.
        keep_identity: DICOM results keep the patient, study and UIDs of the cine. Otherwise they carry pseudonyms.
        overlay: write the overlay video; without it a third of the time is saved.
        runtime: ``torch``, ``onnxruntime``, ``openvino``, or ``auto``: on the CPU the fastest installed one.
        precision: ``fp32`` or ``int8``.

    Raises:
        ValueError: for a value outside its range, or options that do not go together.
    """

    bundle: str | os.PathLike | None = None
    device: str | None = None
    size: int | None = None
    batch: int | None = None
    fps: float | None = None
    spacing_mm: float | Sequence[float] | None = None
    any_modality: bool = False
    overwrite: bool = False
    dicom_seg: bool = False
    dicom_overlay: bool = False
    keep_identity: bool = False
    overlay: bool = True
    runtime: str = "auto"
    precision: str = "fp32"

    def __post_init__(self) -> None:
        if self.device is not None and not re.fullmatch(r"cpu|mps|(cuda|xpu)(:\d+)?", str(self.device)):
            raise ValueError(f"device is cpu, cuda, cuda:1..., not {str(self.device)!r}")
        check_choice(self.runtime, self.precision, self.device)
        if self.size is not None and self.size < 16:
            raise ValueError(f"frames must be at least 16 pixels, not {self.size}")
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"batch must be at least 1, not {self.batch}")
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise ValueError(f"fps must be above 0 and at most 1000, not {self.fps}")
        if self.keep_identity and not self.dicom:
            raise ValueError("keep-identity is for DICOM results: ask for one of them too (dicom-seg, dicom-overlay)")
        object.__setattr__(self, "spacing_mm", spacing_pair(self.spacing_mm))

    @property
    def dicom(self) -> bool:
        """Whether a DICOM file is written."""
        return self.dicom_seg or self.dicom_overlay

    @property
    def pair_mm(self) -> tuple[float, float] | None:
        """Pixel spacing (row, column) in millimetres."""
        return self.spacing_mm  # type: ignore[return-value]

    def segmenter(self, log: Callable[[str], None] | None = None) -> Segmenter:
        """The bundle's segmenter.

        Args:
            log: called with a line before slow one-time work.
        """
        from .segmenter import Segmenter

        return Segmenter(self.bundle, self.device, self.size, self.batch, self.runtime, self.precision, log)

    def to_json(self) -> dict[str, Any]:
        """The options as JSON-able dictionary."""
        return asdict(self) | {"bundle": None if self.bundle is None else os.fspath(self.bundle)}


def spacing_pair(spacing: float | Sequence[float] | None) -> tuple[float, float] | None:
    """One or two millimetres as (row, column).

    Raises:
        ValueError: when they are not positive numbers.
    """
    if spacing is None:
        return None
    values = np.atleast_1d(np.asarray(spacing, float))
    if values.size not in (1, 2) or not np.all(np.isfinite(values)) or values.min() <= 0:
        raise ValueError(f"spacing must be one or two positive numbers of millimetres, not {spacing}")
    return float(values[0]), float(values[-1])

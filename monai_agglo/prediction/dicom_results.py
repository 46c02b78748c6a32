"""The DICOM files that ``predict`` writes on request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monai_agglo.cine.cine import Cine
from monai_agglo.cine.exposed_field import blank_outside
from monai_agglo.dicom.overlay import write_overlay_dicom
from monai_agglo.dicom.result_source import ResultSource
from monai_agglo.dicom.seg_writer import write_seg

from .mask_store import MaskStore
from .segmenter import Segmenter

__all__ = ["DicomResults"]


@dataclass(frozen=True)
class DicomResults:
    """Which DICOM files to write.

    Args:
        seg: the masks as a DICOM Segmentation, ``seg.dcm``.
        overlay: the overlay as a secondary capture, ``overlay.dcm``.
        keep_identity: patient, study and UIDs as in the cine; pseudonyms otherwise.
    """

    seg: bool = False
    overlay: bool = False
    keep_identity: bool = False

    def reference(self, paths: Sequence[Path], frames: int) -> ResultSource | None:
        """Read the DICOM objects that the files will reference, before any work.

        Args:
            paths: the file of the cine, or the instances of its series.
            frames: how many frames it has.

        Returns:
            The source; None when no DICOM file is wanted.

        Raises:
            CineReadError: when the cine is not DICOM, or cannot be referred to.
        """
        if not (self.seg or self.overlay):
            return None
        return ResultSource.read(paths, keep_identity=self.keep_identity, frames=frames)

    def write(
        self,
        folder: Path,
        source: ResultSource,
        cine: Cine,
        field: np.ndarray | None,
        store: MaskStore,
        segmenter: Segmenter,
        window: tuple[float, float] | None,
        times_ms: Sequence[float] | None,
    ) -> dict[str, Any]:
        """Write the files.

        Args:
            folder: where to.
            source: from :meth:`reference`.
            cine: the cine; it is decoded again for the overlay.
            field: its exposed field; what lies outside may name the patient.
            store: its masks.
            segmenter: what made them.
            window: grey levels shown as black and white in the overlay.
            times_ms: time of each frame; None when unknown.

        Returns:
            What stands in the record: the names of the files, and whether they name the patient.
        """
        model, files = segmenter.identity(), []
        masks = (store.frame(index) for index in range(len(store)))
        if self.seg:
            files.append(write_seg(folder / "seg.dcm", source, masks, segmenter.structures, model=model).name)
        if self.overlay:
            masks = (store.frame(index) for index in range(len(store)))
            options: dict[str, Any] = {"times_ms": times_ms, "window": window, "model": model}
            frames = blank_outside(cine.frames(), None if self.keep_identity else field)
            path = folder / "overlay.dcm"
            files.append(write_overlay_dicom(path, source, frames, masks, segmenter.structures, **options).name)
        return {"files": files, "identity": "kept" if self.keep_identity else "removed"}

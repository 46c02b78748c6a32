"""Files of a synthetic study: cine as DICOM, masks as NIfTI, ground truth as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from monai_agglo.dicom.multi_frame_writer import MultiFrameWriter, transfer_syntax_uid
from monai_agglo.files import atomic_path
from monai_agglo.prediction.mask_store import MaskStore

from ..swallow.structures import NAMES
from .field_shape import FieldShape
from .spec import PhantomSpec
from .study_model import PhantomStudy
from .truth import GENERATOR_VERSION, study_truth
from .xrf_header import xrf_header

__all__ = ["StudyPaths", "choose_frames", "write_study"]


class StudyPaths(NamedTuple):
    """Paths of the files of a study."""

    cine: Path
    """``cine.dcm``: X-Ray Radiofluoroscopic image, lossless."""
    masks: Path
    """``masks.nii.gz``: uint8 (H, W, T, 18), 0 or 1, channels in the order of the table of structures."""
    truth: Path
    """``truth.json``: see :mod:`monai_agglo.phantom.truth`."""

    @classmethod
    def of(cls, folder: str | os.PathLike) -> StudyPaths:
        """Paths in a folder; the files need not exist."""
        folder = Path(folder)
        return cls(folder / "cine.dcm", folder / "masks.nii.gz", folder / "truth.json")


def choose_frames(study: PhantomStudy, count: int) -> list[int]:
    """Select frames for training: spread over the study, about half of them during a swallow.

    Args:
        study: the study; its seed makes the selection deterministic.
        count: number of frames, at least 1.

    Returns:
        Sorted frame indices, one per pulse; all pulses if there are at most ``count``.

    Raises:
        ValueError: if ``count`` is not positive.
    """
    if count < 1:
        raise ValueError(f"frames is the number of frames per study, at least 1, not {count}")
    repeat = study.repeat
    pulses = study.n_frames // repeat
    weight = np.full(pulses, 1.0 / pulses)
    busy = np.zeros(pulses, bool)
    for events in study.swallows:
        known = [t // repeat for t in events.values() if t is not None]
        if known:
            busy[min(known) : max(known) + 1] = True
    if busy.any():
        weight = 0.5 * weight + 0.5 * busy / busy.sum()
    count = min(count, pulses)
    rng = np.random.default_rng([study.spec.seed, 11])
    # stratified sampling: one draw in each of `count` equal slices of the weight
    draws = (np.arange(count) + rng.random(count)) / count
    chosen = set(np.searchsorted(np.cumsum(weight) / weight.sum(), draws).clip(0, pulses - 1).tolist())
    rest = np.setdiff1d(np.arange(pulses), sorted(chosen))
    if missing := count - len(chosen):  # two draws fell on one pulse
        chosen.update(rng.choice(rest, missing, replace=False, p=weight[rest] / weight[rest].sum()).tolist())
    return [int(pulse) * repeat for pulse in sorted(chosen)]


def write_study(
    spec: PhantomSpec,
    folder: str | os.PathLike,
    *,
    frames: int | Sequence[int] | None = None,
    transfer_syntax: str = "jpegls",
    compress: bool = True,
    progress: bool = False,
) -> StudyPaths:
    """Render a study and write its three files.

    Equal arguments give equal bytes with equal library versions. Frames are streamed to the files in constant memory.
    ``truth.json`` is written last and marks a complete study.

    Args:
        spec: the specification; see :meth:`PhantomSpec.sample`.
        folder: created if missing; an older study in it is replaced.
        frames: None for the whole study; a number for that many frames, see :func:`choose_frames`; or ascending
            frame indices. A part of a study is written as a short cine with the true time of each frame.
        transfer_syntax: ``"jpegls"``, ``"rle"`` or ``"none"``, or the UID of one.
        compress: False is short for ``transfer_syntax="none"``.
        progress: show a progress bar.

    Returns:
        The paths.

    Raises:
        ValueError: for an invalid spec, frames or transfer syntax.
        IndexError: for a frame index outside the study.
    """
    syntax = transfer_syntax_uid(transfer_syntax if compress else "none")
    study = PhantomStudy(spec)
    chosen = _frame_list(study, frames)
    times_ms = np.asarray(study.frame_times_ms, float)[chosen]
    header = xrf_header(
        spec,
        times_ms,
        FieldShape.from_mask(study.field_mask),
        version=GENERATOR_VERSION,
        frames=None if len(chosen) == study.n_frames else chosen,
    )
    paths = StudyPaths.of(folder)
    paths.truth.unlink(missing_ok=True)  # mark the study as incomplete until all new files are written
    with (
        atomic_path(paths.truth) as truth,
        atomic_path(paths.cine) as cine,
        MaskStore((spec.rows, spec.cols), len(NAMES)) as masks,
    ):
        with MultiFrameWriter(cine, header, syntax) as writer:
            pulse = -1
            for t in tqdm(chosen, desc="phantom", unit="frame", disable=None if progress else True):
                if t // study.repeat != pulse:
                    pulse = t // study.repeat
                    image, frame_masks = study.frame(t)
                    data = writer.encode(image)
                writer.append(data)
                masks.append(frame_masks)
        masks.write_nifti(paths.masks, _affine_of(cine), "synthetic swallowing study, masks")
        content = study_truth(study, chosen, masks.areas)
        lines = (f" {json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in content.items())
        truth.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return paths


def _frame_list(study: PhantomStudy, frames: int | Sequence[int] | None) -> list[int]:
    if frames is None:
        return list(range(study.n_frames))
    if isinstance(frames, (int, np.integer)):
        return choose_frames(study, int(frames))
    chosen = [int(t) for t in frames]
    if not chosen or sorted(set(chosen)) != chosen:
        raise ValueError("frames must be a number, or frame indices in rising order without repeats")
    if chosen[0] < 0 or chosen[-1] >= study.n_frames:
        raise IndexError(f"frames {chosen[0]}..{chosen[-1]} of a study with {study.n_frames} frames")
    return chosen


def _affine_of(cine: Path) -> np.ndarray:
    """The affine of the reader for this cine, so that masks align with it."""
    from monai_agglo.cine.cine import open_cine

    return np.asarray(open_cine(cine).meta["affine"], float)

"""PCA visualisation of patch features: the first three principal components as RGB, beside the frame."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from monai_agglo.files import atomic_path
from monai_agglo.networks.teachers import TeacherFeatures, sample_on_frame
from monai_agglo.pictures.contact_sheet import frame_caption
from monai_agglo.pictures.drawing import INK, PAPER, WARN, fit_to_side, resize_frame, text_block, to_grey8

__all__ = ["pca_colours", "pca_picture", "write_pca_picture"]

GAP = 6


def pca_colours(output: TeacherFeatures, frame: tuple[int, int], size: tuple[int, int]) -> tuple[np.ndarray, float]:
    """Map the first three principal components of features to RGB.

    The PCA is fitted on all unpadded cells of the given frames. Each component is scaled from its 1st to its 99th
    percentile; signs are fixed, so equal features give equal colours.

    Args:
        output: features of T frames, (T, C, h, w), their affine and mask.
        frame: rows and columns of the frames.
        size: rows and columns of the result, covering the whole frame.

    Returns:
        (T, rows, columns, 3) uint8, and the explained variance ratio of the three components.

    Raises:
        ValueError: for NaN or infinite features.
    """
    features = output.features.detach().float().cpu()
    if not features.isfinite().all():
        raise ValueError("the features hold NaN or infinite values")
    mask = output.mask.detach().float().cpu()
    cells = features.permute(0, 2, 3, 1)[(mask[:, 0] >= 0.5).expand(len(features), -1, -1)]
    mean = cells.mean(0)
    centred = (cells - mean).double()
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    vectors = vectors[:, -3:].flip(1)
    # Fix the arbitrary sign: the largest entry is positive.
    vectors = vectors * vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
    share = float(values[-3:].sum() / values.sum().clamp(min=1e-30))
    scores = torch.einsum("tchw,ck->tkhw", features - mean[:, None, None], vectors.float())
    inside = (centred.float() @ vectors.float()).numpy()
    low, high = (torch.from_numpy(np.percentile(inside, q, 0)).float().view(1, 3, 1, 1) for q in (1, 99))
    scores = (scores - low) / (high - low).clamp(min=1e-12)
    sampled, _ = sample_on_frame(TeacherFeatures(scores, output.affine.cpu(), mask), frame, size)
    return (sampled.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy(), share


def pca_picture(
    frames: np.ndarray,
    output: TeacherFeatures,
    captions: Sequence[str] | None = None,
    title: str = "",
    warning: str = "",
    side: int = 384,
) -> np.ndarray:
    """Frames with their features in colour, side by side on one page.

    Args:
        frames: (T, H, W) in [0, 1].
        output: their features, (T, C, h, w), with affine and mask.
        captions: T captions.
        title: heading.
        warning: amber line under the heading.
        side: longer side of a frame on the page, in pixels.

    Returns:
        (rows, columns, 3) uint8 RGB.

    Raises:
        ValueError: if the numbers of frames, features and captions differ, or for NaN or infinite features.
    """
    count = len(frames)
    captions = [""] * count if captions is None else list(captions)
    if not count or {len(output.features), len(captions)} != {count}:
        raise ValueError(f"{count} frames, features of {len(output.features)}, {len(captions)} captions")
    size = fit_to_side(frames.shape[1:], side, side)
    colours, share = pca_colours(output, frames.shape[1:], size)
    pairs = []
    for frame, colour, caption in zip(frames, colours, captions):
        grey = resize_frame(to_grey8(frame, (0.0, 1.0)), size)
        pair = np.concatenate([_bordered(np.repeat(grey[..., None], 3, 2)), _bordered(colour)], 1)
        pairs.append(np.concatenate([pair, text_block([caption], pair.shape[1], 14)]) if caption else pair)
    tallest = max(map(len, pairs))
    pairs = [np.pad(p, ((0, tallest - len(p)), (0, 0), (0, 0)), constant_values=PAPER[0]) for p in pairs]
    columns = 1 if count == 1 else 2
    pairs += [np.full_like(pairs[0], PAPER[0])] * (-len(pairs) % columns)
    grid = np.concatenate([np.concatenate(pairs[i : i + columns], 1) for i in range(0, len(pairs), columns)])
    channels, rows, cols = output.features.shape[1:]
    lines = [(title, INK)] if title else []
    lines += [
        (f"{channels} features on {rows} x {cols} cells; 3 principal components, {share:.0%} of the variance", INK)
    ]
    lines += [(warning, WARN)] if warning else []
    return np.concatenate([text_block(lines, grid.shape[1], 15), grid])


def write_pca_picture(
    path: str | os.PathLike,
    frames: np.ndarray,
    output: TeacherFeatures,
    numbers: Sequence[int] | None = None,
    total: int | None = None,
    **options: Any,
) -> None:
    """Write :func:`pca_picture` as a PNG; the file is written atomically.

    Args:
        path: the PNG file.
        frames: (T, H, W) in [0, 1].
        output: their features.
        numbers: indices of the frames in the cine, from 0; no captions if None.
        total: number of frames of the whole cine.
        options: further arguments of :func:`pca_picture`.
    """
    captions = None if numbers is None else [frame_caption(number, total, None) for number in numbers]
    picture = pca_picture(frames, output, captions, **options)
    with atomic_path(path) as partial:
        Image.fromarray(picture).save(partial, format="PNG", compress_level=4)


def _bordered(picture: np.ndarray) -> np.ndarray:
    return np.pad(picture, ((GAP, GAP), (GAP, GAP), (0, 0)), constant_values=PAPER[0])

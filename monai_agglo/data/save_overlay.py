"""Overlay video and contact sheet of a segmented cine, as a transform."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import ImageMetaKey

from monai_agglo.cine.exposed_field import blank_outside, exposed_field
from monai_agglo.pictures.contact_sheet import pick_frames, write_contact_sheet
from monai_agglo.pictures.overlay import write_overlay_video
from monai_agglo.swallow import TARGETS

__all__ = ["SaveOverlayd"]


class SaveOverlayd(MapTransform):
    """Write ``<name>/<name>_overlay.mp4`` and ``<name>/<name>_contact_sheet.png`` beside the output of ``SaveImaged``.

    The name is the image's ``filename_or_obj``, pseudonymised by :class:`PseudonymizeMetad`.

    Args:
        keys: key of the masks: (S, H, W, T) in table order, or a label map (1, H, W, T) of structure ids.
        image_key: image (1, H, W, T) of the same size.
        output_dir: output folder.
        video: write the video.
        sheet: write the contact sheet.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        image_key: str = "image",
        output_dir: str | os.PathLike = ".",
        video: bool = True,
        sheet: bool = True,
    ) -> None:
        super().__init__(keys)
        self.image_key = image_key
        self.output_dir = Path(output_dir)
        self.video = video
        self.sheet = sheet

    def __call__(self, data):
        """Write the files.

        Args:
            data: dictionary with image and masks.

        Returns:
            ``data``, unchanged.

        Raises:
            ValueError: if image and masks differ in size.
        """
        image = data[self.image_key]
        frames = np.asarray(image.cpu())[0]
        # text outside the exposed field may identify the patient
        field = exposed_field(frames[..., t] for t in range(0, frames.shape[-1], max(1, frames.shape[-1] // 16)))
        name = Path(str(image.meta[ImageMetaKey.FILENAME_OR_OBJ])).name
        folder = self.output_dir / name
        times = image.meta.get("frame_times_ms")
        times = None if times is None else [float(t) for t in times]
        for key in self.key_iterator(data):
            masks = np.asarray(data[key].cpu())
            if masks.shape[1:] != frames.shape:
                raise ValueError(f"masks {masks.shape[1:]} do not lie on frames {frames.shape}: invert them first")
            total = frames.shape[-1]
            title = f"case {name}"
            if self.video:
                write_overlay_video(
                    folder / f"{name}_overlay.mp4",
                    blank_outside((frames[..., t] for t in range(total)), field),
                    (_channels(masks, t) for t in range(total)),
                    times_ms=times,
                    total=total,
                    title=title,
                )
            if self.sheet:
                areas = np.stack([_channels(masks, t).sum(axis=(1, 2)) for t in range(total)])
                names = [structure.name for structure in TARGETS]
                picked = pick_frames(total, 12, areas[:, names.index("bolus")])
                write_contact_sheet(
                    folder / f"{name}_contact_sheet.png",
                    blank_outside((frames[..., t] for t in picked), field),
                    (_channels(masks, t) for t in picked),
                    None if times is None else [times[t] for t in picked],
                    picked,
                    total=total,
                    present=[n for n, found in zip(names, areas.any(axis=0)) if found],
                    title=title,
                )
        return data


def _channels(masks: np.ndarray, t: int) -> np.ndarray:
    """The masks of one frame, (S, H, W) bool."""
    if len(masks) == 1:
        return np.stack([masks[0, ..., t] == structure.id for structure in TARGETS])
    return masks[..., t] > 0

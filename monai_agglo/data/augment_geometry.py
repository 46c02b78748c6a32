"""Random geometry of packed cines: one warp for frames and masks, the same for all frames of a sample."""

from __future__ import annotations

import functools

import cv2
import numpy as np
from monai.transforms import MapTransform, Randomizable

__all__ = ["RandCineGeometryd"]


class RandCineGeometryd(Randomizable, MapTransform):
    """Rotate, scale, shift, stretch, mirror and bend a packed cine onto a square canvas.

    Args:
        size: side of the canvas in pixels; ``data["size"]`` takes precedence (progressive resizing).
        rotate: largest rotation, degrees.
        scale: smallest and largest zoom relative to the longer side filling the canvas (log-uniform).
        shift: largest shift as a fraction of the canvas.
        stretch: largest relative change of the aspect.
        shear: largest shear, degrees.
        flip: probability of a left-right mirror.
        bend: probability of a smooth elastic deformation.
        bend_pixels: largest elastic displacement as a fraction of the canvas.
        prob: probability of any augmentation; otherwise the cine is only centred on the canvas.
        image_key: uint8 (T, H, W).
        label_key: packed uint16 (T, H, W); may be absent.
    """

    def __init__(
        self,
        size: int = 384,
        rotate: float = 20.0,
        scale: tuple[float, float] = (0.7, 1.4),
        shift: float = 0.15,
        stretch: float = 0.12,
        shear: float = 6.0,
        flip: float = 0.5,
        bend: float = 0.3,
        bend_pixels: float = 0.02,
        prob: float = 0.97,
        image_key: str = "image",
        label_key: str = "label",
    ) -> None:
        MapTransform.__init__(self, [image_key, label_key], allow_missing_keys=True)
        self.size = size
        self.rotate = rotate
        self.scale = tuple(scale)
        self.shift = shift
        self.stretch = stretch
        self.shear = shear
        self.flip = flip
        self.bend = bend
        self.bend_pixels = bend_pixels
        self.prob = prob
        self.image_key = image_key
        self.label_key = label_key

    def _matrix(self, height: int, width: int, size: int, moved: bool) -> tuple[np.ndarray, float]:
        """Canvas-to-source affine (2 x 3) and the zoom; draws the random numbers."""
        uniform = self.R.uniform
        fit = size / max(height, width)
        zoom, angle, shear, stretch, dx, dy = 1.0, 0.0, 0.0, 1.0, 0.0, 0.0
        mirror = 1.0
        if moved:
            zoom = float(np.exp(uniform(*np.log(self.scale))))
            # Most patients sit upright: small tilts are more frequent than large ones.
            angle = float(np.clip(self.R.normal(0, 0.5), -1, 1)) * np.deg2rad(self.rotate)
            shear = np.tan(np.deg2rad(uniform(-self.shear, self.shear)))
            stretch = float(np.exp(uniform(-self.stretch, self.stretch)))
            dx, dy = uniform(-self.shift, self.shift, 2) * size
            mirror = -1.0 if self.R.rand() < self.flip else 1.0
        cos, sin = np.cos(angle), np.sin(angle)
        linear = (
            np.array([[cos, -sin], [sin, cos]])
            @ np.array([[1.0, shear], [0.0, 1.0]])
            @ np.diag([zoom * fit * np.sqrt(stretch) * mirror, zoom * fit / np.sqrt(stretch)])
        )
        inverse = np.linalg.inv(linear)
        centre = np.array([(width - 1) / 2, (height - 1) / 2])
        target = np.array([(size - 1) / 2 + dx, (size - 1) / 2 + dy])
        return np.column_stack([inverse, centre - inverse @ target]), zoom * fit

    def _bend_maps(self, matrix: np.ndarray, size: int, zoom: float) -> tuple[np.ndarray, np.ndarray]:
        """Source coordinates of every canvas pixel for an affine with a smooth random displacement."""
        coarse = self.R.uniform(-1, 1, (2, 5, 5)).astype(np.float32) * (self.bend_pixels * size / zoom)
        between = _cubic(coarse.shape[1], size)
        field = between @ coarse @ between.T
        axis = np.arange(size, dtype=np.float32)
        m = matrix.astype(np.float32)
        x = m[0, 0] * axis[None, :] + m[0, 1] * axis[:, None] + m[0, 2] + field[0]
        y = m[1, 0] * axis[None, :] + m[1, 1] * axis[:, None] + m[1, 2] + field[1]
        return x, y

    def __call__(self, data):
        """Warp.

        Args:
            data: packed sample.

        Returns:
            A copy with ``image`` uint8 (T, size, size) and ``label`` uint16 (T, size, size).
        """
        d = dict(data)
        frames = d[self.image_key]
        labels = d.get(self.label_key)
        size = int(d.get("size") or self.size)
        moved = bool(self.R.rand() < self.prob)
        matrix, zoom = self._matrix(frames.shape[1], frames.shape[2], size, moved)
        maps = self._bend_maps(matrix, size, zoom) if moved and self.R.rand() < self.bend else None
        # Outside the source: black as behind a collimator, bright as an open field, or the border repeated.
        border = self.R.choice(3, p=[0.5, 0.15, 0.35])
        mode = cv2.BORDER_REPLICATE if border == 2 else cv2.BORDER_CONSTANT
        fill = int(self.R.randint(0, 30)) if border == 0 else int(self.R.randint(200, 256))
        image = np.empty((len(frames), size, size), np.uint8)
        label = None if labels is None else np.empty((len(frames), size, size), np.uint16)
        for t in range(len(frames)):
            image[t] = self._warp(_shrink(frames[t], zoom), frames[t].shape, matrix, maps, size, True, mode, fill)
            if label is not None and labels is not None:
                label[t] = self._warp(labels[t], labels[t].shape, matrix, maps, size, False, cv2.BORDER_CONSTANT, 0)
        d[self.image_key] = image
        if label is not None:
            d[self.label_key] = label
        return d

    @staticmethod
    def _warp(plane, shape, matrix, maps, size, linear, mode, fill):
        method = cv2.INTER_LINEAR if linear else cv2.INTER_NEAREST
        factor = np.array([plane.shape[1] / shape[1], plane.shape[0] / shape[0]])
        # Pixel centres: index i of the full frame lies at (i + 0.5) * factor - 0.5 of the shrunk one.
        offset = (factor - 1) / 2
        if maps is not None:
            x, y = maps
            if plane.shape != shape:
                x = x * np.float32(factor[0]) + np.float32(offset[0])
                y = y * np.float32(factor[1]) + np.float32(offset[1])
            return cv2.remap(plane, x, y, method, borderMode=mode, borderValue=fill)
        scaled = matrix * factor[:, None]
        scaled[:, 2] += offset
        flags = method | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(plane, scaled, (size, size), flags=flags, borderMode=mode, borderValue=fill)


@functools.lru_cache(maxsize=32)
def _cubic(cells: int, size: int) -> np.ndarray:
    """(size, cells): OpenCV's cubic upsampling as a matrix; the product is ten times as fast."""
    return cv2.resize(np.eye(cells, dtype=np.float32), (cells, size), interpolation=cv2.INTER_CUBIC)


def _shrink(frame: np.ndarray, zoom: float) -> np.ndarray:
    """Area-average before strong downsampling, where a bilinear warp would alias."""
    if zoom > 0.7:
        return frame
    rows, cols = (max(1, round(n * zoom)) for n in frame.shape)
    return cv2.resize(frame, (cols, rows), interpolation=cv2.INTER_AREA)

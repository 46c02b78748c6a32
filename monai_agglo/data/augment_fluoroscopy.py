"""Random appearance of fluoroscopy frames: differences between rooms, machines, archives and exports.

Training is on phantoms: ranges are wider than those of any one clinic, to cover the domain shift.
"""

from __future__ import annotations

import cv2
import numpy as np
from monai.transforms import MapTransform, Randomizable

__all__ = ["RandFluoroscopyd"]


class RandFluoroscopyd(Randomizable, MapTransform):
    """Change tone, sharpness, noise, field and overlays of packed frames; masks are cut at the edge of the field.

    Parameters are drawn once per sample; noise is drawn per frame.

    Args:
        strength: 0 disables the augmentation, 1 is the full range; may exceed 1.
        invert: probability of the opposite display polarity (white barium).
        image_key: uint8 (T, H, W).
        label_key: packed uint16 (T, H, W); may be absent.
    """

    def __init__(
        self, strength: float = 1.0, invert: float = 0.1, image_key: str = "image", label_key: str = "label"
    ) -> None:
        MapTransform.__init__(self, [image_key, label_key], allow_missing_keys=True)
        self.strength = strength
        self.invert = invert
        self.image_key = image_key
        self.label_key = label_key

    def _chance(self, probability: float) -> bool:
        return bool(self.R.rand() < probability * min(1.0, self.strength))

    def __call__(self, data):
        """Change the appearance.

        Args:
            data: packed sample.

        Returns:
            A copy with ``image`` float32 (T, H, W) in 0..1.
        """
        d = dict(data)
        frames = d[self.image_key]
        height, width = frames.shape[1:]
        if self.strength <= 0:
            d[self.image_key] = frames.astype(np.float32) / 255
            return d
        # All parameters are drawn once per cine.
        table = self._tone_table()
        bias = self._bias_field(height, width) if self._chance(0.35) else None
        objects = self._objects(height, width) if self._chance(0.15) else None
        field, outside = self._field(height, width) if self._chance(0.35) else (None, 0.0)
        blur = self.R.uniform(0.4, 1.6) * max(height, width) / 384 if self._chance(0.3) else 0.0
        sharpen = self.R.uniform(0.3, 1.5) if self._chance(0.2) else 0.0
        equalise = self.R.uniform(1.0, 4.0) if self._chance(0.1) else 0.0
        noise = abs(self.R.normal(0, 0.045)) * self.strength if self._chance(0.6) else 0.0
        grain = self.R.uniform(0.5, 1.5) if self._chance(0.5) else 0.0
        rows = int(self.R.uniform(0.4, 0.95) * height) if self._chance(0.25) else 0
        jpeg = int(self.R.uniform(15, 80)) if self._chance(0.25) else 0
        text = self._text(height, width) if self._chance(0.25) else None
        invert = self._chance(self.invert)
        seed = int(self.R.randint(0, 2**31 - 1))
        cv2.setRNGSeed(seed)  # per thread; four times as fast as NumPy's

        out = np.empty(frames.shape, np.float32)
        for t, frame in enumerate(frames):
            if equalise:
                frame = cv2.createCLAHE(equalise, (8, 8)).apply(frame)
            x = cv2.LUT(frame, table)
            if bias is not None:
                x *= bias
            if objects is not None:
                x = x * objects[0] + objects[1]
            if blur:
                x = cv2.GaussianBlur(x, (0, 0), blur)
            if noise:
                grains = cv2.randn(np.empty(x.shape, np.float32), 0.0, 1.0)
                if grain:
                    # Correlated grain as after a video codec or a smoothing screen, with the noise power kept.
                    grains = cv2.GaussianBlur(grains, (0, 0), grain) * np.float32(2 * np.sqrt(np.pi) * grain * 0.75)
                # Quantum noise grows where more light arrives.
                x += grains * (np.float32(noise) * np.sqrt(np.clip(x, 0.05, 1.0)))
            if sharpen:
                x += np.float32(sharpen) * (x - cv2.GaussianBlur(x, (0, 0), 2.0))
            if field is not None:
                x = x * field + np.float32(outside) * (1 - field)
            if text is not None:
                x = x * text[0] + text[1]
            if rows:
                small = cv2.resize(x, (max(16, rows * width // height), max(16, rows)), interpolation=cv2.INTER_AREA)
                x = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
            if jpeg:
                _, code = cv2.imencode(
                    ".jpg", np.clip(x * 255, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, jpeg]
                )
                x = cv2.imdecode(code, cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255
            np.clip(x, 0, 1, out=out[t])
        d[self.image_key] = 1 - out if invert else out
        if field is not None and d.get(self.label_key) is not None:
            d[self.label_key] = d[self.label_key] * (field > 0.5).astype(np.uint16)
        return d

    def _tone_table(self) -> np.ndarray:
        """Tone curve for 8-bit values: gamma, a sigmoid, contrast, brightness, clipping of both ends."""
        x = np.arange(256, dtype=np.float32) / 255
        if self._chance(0.7):
            x = x ** np.float32(np.exp(np.clip(self.R.normal(0, 0.33), -0.8, 0.7) * self.strength))
        if self._chance(0.25):
            middle, slope = self.R.uniform(0.3, 0.7), self.R.uniform(3, 9)
            curve = 1 / (1 + np.exp(-slope * (x - middle)))
            x = ((curve - curve[0]) / (curve[-1] - curve[0])).astype(np.float32)
        if self._chance(0.7):
            contrast = np.exp(np.clip(self.R.normal(0, 0.25), -0.6, 0.5) * self.strength)
            x = (x - 0.5) * contrast + 0.5 + np.clip(self.R.normal(0, 0.08), -0.15, 0.2) * self.strength
        if self._chance(0.2):
            low, high = self.R.uniform(0, 0.25), self.R.uniform(0.7, 1.0)
            x = (x - low) / (high - low)
        if self._chance(0.1):
            low = self.R.uniform(0, 0.3)
            x = low + x * (self.R.uniform(0.6, 1.0) - low)
        return np.clip(x, 0, 1).astype(np.float32)

    def _bias_field(self, height: int, width: int) -> np.ndarray:
        """Smooth multiplicative shading (heel effect, veiling, uneven display)."""
        coarse = np.exp(self.R.normal(0, 0.25 * self.strength, (3, 3))).astype(np.float32)
        return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)

    def _field(self, height: int, width: int) -> tuple[np.ndarray, float]:
        """Exposed field (1 inside) as a circle, rotated rectangle or octagon, and the level outside."""
        field = np.zeros((height, width), np.uint8)
        kind = self.R.choice(["circle", "blades", "octagon"])
        cx, cy = width * self.R.uniform(0.44, 0.56), height * self.R.uniform(0.44, 0.56)
        if kind == "circle":
            radius = max(height, width) * self.R.uniform(0.42, 0.62)
            cv2.circle(field, (int(cx), int(cy)), int(radius), 255, -1, cv2.LINE_AA)
        else:
            half_w, half_h = width * self.R.uniform(0.36, 0.6), height * self.R.uniform(0.36, 0.6)
            angle = self.R.uniform(-4, 4)
            corners = cv2.boxPoints(((cx, cy), (2 * half_w, 2 * half_h), angle))
            if kind == "octagon":
                cut = self.R.uniform(0.15, 0.3)
                after, before = np.roll(corners, -1, 0), np.roll(corners, 1, 0)
                corners = np.stack([corners + cut * (before - corners), corners + cut * (after - corners)], 1)
            cv2.fillPoly(field, [_points(corners.reshape(-1, 2))], 255, cv2.LINE_AA)
        field = field.astype(np.float32) / 255
        if self.R.rand() < 0.5:
            field = cv2.GaussianBlur(field, (0, 0), self.R.uniform(0.8, 3.0))
        outside = self.R.uniform(0, 0.12) if self.R.rand() < 0.85 else self.R.uniform(0.7, 1.0)
        return field, float(outside)

    def _objects(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Foreign objects: tubes and wires as dark curves, snaps, markers and hands as blobs."""
        layer = _Layer(height, width)
        for _ in range(self.R.randint(1, 4)):
            start = self.R.uniform(0, 1, 2)
            mask = np.zeros((height, width), np.uint8)
            if self.R.rand() < 0.6:
                steps = np.cumsum(self.R.normal(0, 0.08, (6, 2)) + self.R.normal(0, 0.08, 2), 0) + start
                thick = int(self.R.randint(1, 4))
                cv2.polylines(mask, [_points(steps * [width, height])], False, 255, thick, cv2.LINE_AA)
                layer.paint(mask, self.R.uniform(0, 0.5), self.R.uniform(0.5, 1.0))
            else:
                angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
                radius = self.R.uniform(0.008, 0.06) * self.R.uniform(0.7, 1.3, 16) * max(height, width)
                ring = np.stack([np.cos(angle) * radius, np.sin(angle) * radius], 1) + start * [width, height]
                cv2.fillPoly(mask, [_points(ring)], 255, cv2.LINE_AA)
                level = self.R.uniform(0, 0.4) if self.R.rand() < 0.7 else self.R.uniform(0.8, 1.0)
                layer.paint(mask, level, self.R.uniform(0.3, 1.0))
        return layer.keep, layer.add

    def _text(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Burnt-in annotations near the border: words and numbers, some on a box, and plain boxes."""
        layer = _Layer(height, width)
        for _ in range(self.R.randint(1, 5)):
            words = "".join(self.R.choice(list("ABCDEFGHKLMNRST0123456789:/ .%"), self.R.randint(0, 14)))
            near, along = self.R.uniform(0.01, 0.12), self.R.uniform(0, 0.85)
            place = [(along, near), (along, 1 - near), (near, along), (0.8 - near, along)][self.R.randint(4)]
            x, y = int(place[0] * width), int(place[1] * height)
            size = self.R.uniform(0.25, 0.7) * max(height, width) / 384
            level = self.R.uniform(0.7, 1.0) if self.R.rand() < 0.8 else self.R.uniform(0, 0.2)
            if self.R.rand() < 0.3 or not words.strip():
                mask = np.zeros((height, width), np.uint8)
                corner = (x + int((10 + 18 * len(words)) * size), y + int(6 * size) + 2)
                cv2.rectangle(mask, (x, y - int(22 * size) - 2), corner, 255, -1)
                layer.paint(mask, 1 - level if words.strip() else level)
            mask = np.zeros((height, width), np.uint8)
            cv2.putText(mask, words, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, 255, 1, cv2.LINE_AA)
            layer.paint(mask, level)
        return layer.keep, layer.add


class _Layer:
    """Composite of painted objects as one pair of images: result = image * keep + add."""

    def __init__(self, height: int, width: int) -> None:
        self.keep = np.ones((height, width), np.float32)
        self.add = np.zeros((height, width), np.float32)

    def paint(self, mask: np.ndarray, level: float, weight: float = 1.0) -> None:
        """Paint an object of one grey level inside an 8-bit mask."""
        cover = mask.astype(np.float32) * np.float32(weight / 255)
        self.keep *= 1 - cover
        self.add *= 1 - cover
        self.add += np.float32(level) * cover


def _points(xy: np.ndarray) -> np.ndarray:
    return np.rint(xy).astype(np.int32)

"""X-ray image formation: from attenuation to display values.

Beer-Lambert attenuation, heel effect, collimation, scatter and veiling glare, focal-spot and detector blur, quantum
noise, lag, display curve. Effective monoenergetic coefficients; models the appearance of a wide range of systems, not
dosimetry.
"""

from __future__ import annotations

import cv2
import numpy as np

from .shapes import _blur, smoothstep
from .spec import PhantomSpec

__all__ = ["XraySystem", "attenuation_coefficients"]


def attenuation_coefficients(kvp: float) -> dict[str, float]:
    """Effective linear attenuation, 1/mm, of each material above air; bone is the excess over the tissue there."""
    energy = kvp / 75
    return {
        "tissue": 0.0215 * energy**-0.5,
        "bone": 0.055 * energy**-1.8,
        "metal": 1.4 * energy**-1.5,
        "air": -0.0215 * energy**-0.5,
        "barium": energy**-1.3,  # times SwallowSpec.barium_mu
    }


class XraySystem:
    """Turns attenuation maps into detector values for one spec.

    Args:
        spec: the X-ray and display parameters.
        reference: attenuation (H, W) for automatic exposure and display window.
    """

    def __init__(self, spec: PhantomSpec, reference: np.ndarray):
        self.spec = spec
        rows, cols = reference.shape
        self.unit = min(rows, cols) / 512
        rng = np.random.default_rng([spec.seed, 7])
        y, x = np.mgrid[0:rows, 0:cols].astype(np.float32)
        heel_angle = rng.choice([0, np.pi / 2]) + rng.normal(0, 0.1)
        ramp = ((x / cols - 0.5) * np.cos(heel_angle) + (y / rows - 0.5) * np.sin(heel_angle)).astype(np.float32)
        self.flat = (1 + spec.heel * ramp * 2).astype(np.float32).clip(0.2)
        self.field_mask = self._field(rng, y, x)
        self.field_edge = _blur(self.field_mask.astype(np.float32), 1.2 * self.unit)
        # automatic exposure: the median transmission behind the anatomy reaches the same detector signal
        body = np.exp(-reference)[self.field_mask & (reference > 0.3)]
        self.exposure = 0.12 / float(np.median(body)) if body.size else 1.0
        self.exposure = float(np.clip(self.exposure, 0.3, 6))
        signal = self._detector(reference)
        self._low, self._high = 0.0, 1.0
        shown = self._curve(signal)[self.field_mask]
        low, high = np.percentile(shown, [spec.window[0], spec.window[1]]) if shown.size else (0.0, 1.0)
        self._low, self._high = float(low), float(max(high, low + 1e-3))

    def _field(self, rng: np.random.Generator, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        rows, cols = y.shape
        mask = np.ones((rows, cols), bool)
        size = self.spec.field_size
        if self.spec.field in ("circle", "both"):
            r = min(rows, cols) / 2 * max(size, 0.85) * 1.02
            cy, cx = rows / 2 + rng.normal(0, 0.01) * rows, cols / 2 + rng.normal(0, 0.01) * cols
            mask &= (y - cy) ** 2 + (x - cx) ** 2 <= r * r
        if self.spec.field in ("rectangle", "both"):
            inset = rng.uniform(0, 0.14, 4) * (1.3 - min(size, 1.15)) / 0.4
            mask &= (y >= inset[0] * rows) & (y < (1 - inset[1]) * rows)
            mask &= (x >= inset[2] * cols) & (x < (1 - inset[3]) * cols)
        return mask

    def _detector(self, attenuation: np.ndarray) -> np.ndarray:
        """Noise-free detector signal, fraction of the open field times the exposure."""
        s = self.spec
        primary = np.exp(-attenuation) * (self.flat * self.field_edge)
        small = cv2.resize(primary, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA)
        wide = _blur(small, 60 * self.unit / 8)
        veil = _blur(small, 160 * self.unit / 8)
        stray = cv2.resize(s.scatter * 0.6 * wide + s.glare * veil, primary.shape[::-1], interpolation=cv2.INTER_LINEAR)
        sigma = s.blur_px * self.unit
        if sigma > 0.3:
            primary = cv2.GaussianBlur(primary, (0, 0), sigma)
        return (primary + stray) * np.float32(self.exposure)

    def _curve(self, signal: np.ndarray) -> np.ndarray:
        """Detector signal -> display value before windowing; sign such that barium is dark."""
        if self.spec.lut == "linear":
            return np.minimum(signal, 1.0)
        shown = np.log(np.maximum(signal, 2e-3))
        if self.spec.harmonisation > 0:
            small = cv2.resize(shown, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA)
            broad = cv2.resize(_blur(small, 55 * self.unit / 8), shown.shape[::-1], interpolation=cv2.INTER_LINEAR)
            shown = shown - np.float32(self.spec.harmonisation) * broad
        return shown

    def signal(self, attenuation: np.ndarray, former: np.ndarray | None = None) -> np.ndarray:
        """Noise-free detector signal with lag from the previous frame's signal."""
        now = self._detector(attenuation)
        return now if former is None or not self.spec.lag else now * (1 - self.spec.lag) + former * self.spec.lag

    def expose(self, signal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Quantum and electronic noise, display curve, window, edge enhancement.

        Args:
            signal: from :meth:`signal`.
            rng: generator of this frame's noise.

        Returns:
            float32 (H, W) in [0, 1], dark barium, 0 outside the exposed field.
        """
        s = self.spec
        # `dose` counts quanta per pixel of a 512-pixel open field; larger images share them among more pixels
        variance = np.float32(self.exposure * self.unit**2 / s.dose)
        noise = rng.standard_normal(signal.shape, dtype=np.float32)
        if s.blur_px * self.unit > 0.8:  # detector noise is correlated
            noise = cv2.GaussianBlur(noise, (0, 0), 0.5 * s.blur_px * self.unit)
            noise *= np.float32(1 / max(noise.std(), 1e-6))
        if s.grain_px * self.unit > 0.3:  # noise reduction of the system: less, coarser noise
            noise = cv2.GaussianBlur(noise, (0, 0), s.grain_px * self.unit)
            noise *= np.float32(1 / (1 + s.grain_px) / max(noise.std(), 1e-6))
        noisy = signal + np.sqrt(np.maximum(signal, 0) * variance + 3e-7) * noise
        return self._show(np.maximum(noisy, 0))

    def display(self, attenuation: np.ndarray) -> np.ndarray:
        """The image without noise and lag: float32 (H, W) in [0, 1], dark barium, 0 outside the exposed field."""
        return self._show(self._detector(attenuation))

    def _show(self, signal: np.ndarray) -> np.ndarray:
        s = self.spec
        shown = (self._curve(signal) - self._low) / (self._high - self._low)
        if s.sharpening > 0.02:
            shown = shown + np.float32(s.sharpening) * (shown - _blur(shown, max(s.halo_px * self.unit, 0.5)))
        shown = np.clip(shown, 0, 1)
        if s.lut == "sigmoid":
            shown = smoothstep(shown * 0.94 + 0.03).astype(np.float32)
        if s.gamma != 1:
            shown = shown ** np.float32(s.gamma)
        return shown * self.field_edge

"""Mapping from atlas coordinates to image pixels: patient shape and posture, then projection."""

from __future__ import annotations

import numpy as np

from .shapes import smoothstep
from .spec import PhantomSpec

__all__ = ["Posture"]

_C1 = np.array([250.0, 150.0])  # the head rotates about the atlanto-occipital joint
_CONDYLE = np.array([214.0, 208.0])  # the jaw rotates about its condyle


class Posture:
    """Maps atlas points to pixels for one patient; time enters as small rigid motion and jaw rotation.

    Atlas coordinates: x posterior (patient facing left), y down, one unit about 0.37 mm.

    Args:
        spec: posture, build and framing.
    """

    def __init__(self, spec: PhantomSpec):
        self.spec = spec
        rng = np.random.default_rng([spec.anatomy_seed, 1])
        # smooth shape variation between patients: a few low spatial frequencies
        self._waves = rng.uniform(0.6, 1.8, (5, 2)) * 2 * np.pi / 512 * rng.choice([-1, 1], (5, 2))
        self._phases = rng.uniform(0, 2 * np.pi, (5, 2))
        self._amplitudes = rng.normal(0, 3.2, (5, 2))
        child = float(1 - smoothstep(spec.age, 3, 16))
        self._stretch = np.array([rng.normal(1, 0.05), rng.normal(1, 0.05) - 0.06 * child])
        self._jaw = float(rng.normal(1, 0.06) - 0.12 * child)
        self._neck = float(rng.normal(0.97, 0.08))
        short = min(spec.rows, spec.cols)
        self.scale = short / 512 * spec.zoom
        self._centre = np.array([spec.cols / 2, spec.rows / 2]) + np.array(spec.shift) * short
        a = np.deg2rad(spec.tilt_deg)
        self._rotation = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])

    def patient(self, points: np.ndarray) -> np.ndarray:
        """Atlas points (N, 2) -> the patient's own shape and posture, still in atlas units."""
        s = self.spec
        p = np.asarray(points, float)
        q = (p - 256) * self._stretch + 256
        jaw = smoothstep(-p[:, 0], -215, -150) * smoothstep(p[:, 1], 205, 260) * smoothstep(-p[:, 1], -470, -420)
        q[:, 0] += (self._jaw - 1) * (p[:, 0] - 210) * jaw
        # relative neck length: height of vertebrae and larynx relative to the jaw
        q[:, 1] += (self._neck - 1) * np.maximum(p[:, 1] - 160, 0) * smoothstep(p[:, 0], 160, 300)
        phase = p @ self._waves.T
        for axis in (0, 1):
            q[:, axis] += (np.sin(phase + self._phases[:, axis]) * self._amplitudes[:, axis]).sum(-1)
        # curvature of the neck below the head: an arc (kyphosis) and an S (lordosis)
        y = np.clip((p[:, 1] - 170) / 260, 0, 1.6)
        q[:, 0] += s.kyphosis * 34 * y**2 - s.lordosis * 16 * np.sin(np.pi * np.clip(y, 0, 1))
        # head flexion about C1, fading out down the neck
        d = p - _C1
        along = np.minimum(0.9 * d[:, 0] + 0.45 * d[:, 1], d[:, 1] + 30)
        angle = np.deg2rad(-s.flexion_deg) * (1 - smoothstep(along, -20, 120))
        c, n = np.cos(angle), np.sin(angle)
        r = q - _C1
        return np.stack([c * r[:, 0] - n * r[:, 1], n * r[:, 0] + c * r[:, 1]], -1) + _C1

    def camera(self, points: np.ndarray, sway: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> np.ndarray:
        """Patient points -> pixel coordinates (x, y).

        Args:
            points: (N, 2) in atlas units.
            sway: rigid motion of the patient at this time: right, down (atlas units), rotation (degrees).
        """
        p = np.asarray(points, float) - 256
        a = np.deg2rad(sway[2])
        c, n = np.cos(a), np.sin(a)
        p = np.stack([c * p[:, 0] - n * p[:, 1] + sway[0], n * p[:, 0] + c * p[:, 1] + sway[1]], -1)
        if self.spec.facing == "right":
            p = p * np.array([-1.0, 1.0])
        return p @ self._rotation.T * self.scale + self._centre

    def sway_matrix(self, sway: tuple[float, float, float]) -> np.ndarray:
        """The 2 x 3 matrix mapping pixels of the resting image to the image under ``sway`` (cv2.warpAffine)."""
        source = np.array([[156.0, 156.0], [356.0, 156.0], [156.0, 356.0]])
        a, b = self.camera(source), self.camera(source, sway)
        return np.linalg.solve(np.hstack([a, np.ones((3, 1))]), b).T

    @staticmethod
    def open_jaw(points: np.ndarray, degrees: float) -> np.ndarray:
        """Rotate atlas points of the jaw about the condyle; positive opens the mouth."""
        a = np.deg2rad(-degrees)
        c, n = np.cos(a), np.sin(a)
        r = np.asarray(points, float) - _CONDYLE
        return np.stack([c * r[:, 0] - n * r[:, 1], n * r[:, 0] + c * r[:, 1]], -1) + _CONDYLE

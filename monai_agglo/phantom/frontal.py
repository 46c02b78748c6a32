"""Antero-posterior (AP) phantom: the same swallow in frontal view, as a negative for lateral views.

Only structures distinct in an AP view are labelled: bolus, trachea, pyriform sinuses and valleculae. Vertebrae overlap
each other and the jaw and are not labelled, like all other structures.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..swallow.structures import NAMES
from .lateral import VISIBLE_BARIUM
from .motion import S_END, S_HOLD, S_RAMUS, S_UES, SwallowState
from .shapes import Canvas, _blur, clip_below, ellipse, ribbon, smooth_closed, smooth_open
from .spec import PhantomSpec
from .xray import attenuation_coefficients

__all__ = ["AP_STRUCTURES", "FrontalPatient"]

AP_STRUCTURES = ("bolus", "trachea", "valleculae", "pyriform_sinuses")


class FrontalPatient:
    """Anatomy of one patient in frontal view (atlas units as in the lateral view; x to the patient's left).

    Args:
        spec: the study; ``facing`` is ignored.
    """

    def __init__(self, spec: PhantomSpec):
        self.spec = spec
        self.mu = attenuation_coefficients(spec.kvp)
        self.shape = (spec.rows, spec.cols)
        self.scale = min(self.shape) / 512 * spec.zoom
        rng = np.random.default_rng([spec.anatomy_seed, 16])
        self._jitter = rng.normal(0, 1, 8)
        self._bend = rng.normal(0, 8)
        self._depth = rng.uniform(10, 22)
        still = self.canvas((0, 0, 0))
        self._static = self._draw(still, rng)

    def canvas(self, sway: tuple[float, float, float]) -> Canvas:
        """A canvas for atlas outlines at one instant."""
        centre = np.array([self.spec.cols / 2, self.spec.rows / 2]) + np.array(self.spec.shift) * min(self.shape)
        angle = np.deg2rad(self.spec.tilt_deg * 0.6 + sway[2])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

        def to_pixels(points: np.ndarray) -> np.ndarray:
            p = np.asarray(points, float) - 256 + np.array([sway[0], sway[1]])
            p = p + np.stack([self._bend * np.sin((p[:, 1] + 256) / 160), np.zeros(len(p))], -1)
            return p @ turn.T * self.scale + centre

        return Canvas(self.shape, to_pixels, self.scale)

    def _draw(self, canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
        tissue = np.zeros(self.shape, np.float32)
        head = smooth_closed(
            np.array(
                [
                    [130, -420],
                    [382, -420],
                    [410, 60],
                    [392, 190],
                    [330, 268],
                    [256, 290],
                    [182, 268],
                    [120, 190],
                    [102, 60],
                ],
                float,
            )
        )
        neck = smooth_closed(
            np.array(
                [
                    [168, 180],
                    [344, 180],
                    [348, 380],
                    [420, 450],
                    [640, 500],
                    [640, 760],
                    [-130, 760],
                    [-130, 500],
                    [92, 450],
                    [164, 380],
                ],
                float,
            )
        )
        below = np.zeros(self.shape, np.float32)
        canvas.add(tissue, head, 150 * self.spec.build, 24)
        canvas.add(below, neck, 110 * self.spec.build, 22)
        np.maximum(tissue, below, out=tissue)
        bone = np.zeros(self.shape, np.float32)
        canvas.add(bone, smooth_closed(head[::6] * [0.86, 0.62] + [36, -10]), 9, 20, 6, 8)
        jaw = smooth_open(
            np.array([[118, 110], [128, 200], [178, 262], [256, 284], [334, 262], [384, 200], [394, 110]], float)
        )
        canvas.add(bone, ribbon(jaw, 19 + self._jitter[0]), 6, 5, 3)
        for x in np.linspace(196, 316, 10):  # teeth
            for y in (198, 226):
                canvas.add(bone, ellipse((x, y), (6, 12)), 4, 2, 2)
        for side in (-1, 1):
            canvas.add(bone, ellipse((256 + side * 62, 20), (34, 28)), -6, 8)
            canvas.add(bone, ellipse((256 + side * 58, 110), (26, 36)), -5, 8)
        for level in range(9):
            y = 238 + 40 * level + rng.normal(0, 1)
            w = 36 + 1.6 * level
            body = np.array(
                [
                    (-w, -15),
                    (-w * 0.6, -17),
                    (w * 0.6, -17),
                    (w, -15),
                    (w + 6, 6),
                    (w - 2, 15),
                    (-w + 2, 15),
                    (-w - 6, 6),
                ]
            )
            canvas.add(bone, smooth_closed(body + [256, y], 4), 8, 4, 3)
            canvas.add(bone, ellipse((256, y + 8), (5, 8)), 4, 1, 2)
            for side in (-1, 1):
                canvas.add(bone, ellipse((256 + side * (w + 10), y - 8), (11, 15), side * 10), 6, 3, 2)
        for side in (-1, 1):
            clavicle = smooth_open(
                np.array([[256 + side * 26, 560], [256 + side * 120, 520], [256 + side * 260, 500]], float)
            )
            canvas.add(bone, ribbon(clavicle, 13), 8, 4, 3)
        grain = rng.standard_normal(self.shape, dtype=np.float32)
        bone *= 1 + np.clip(0.2 * _blur(grain, 2 * self.scale) * 3, -0.5, 0.5)
        return tissue * np.float32(self.mu["tissue"]) + bone * np.float32(self.mu["bone"])

    def attenuation(self, state: SwallowState, sway: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
        """Optical depth (H, W) and masks (18, H, W) at one instant; see :class:`~.lateral.LateralPatient`."""
        canvas = self.canvas(sway)
        turn = canvas.to_pixels(np.array([[156.0, 156.0], [356.0, 156.0], [156.0, 356.0]]))
        rest = self.canvas((0, 0, 0)).to_pixels(np.array([[156.0, 156.0], [356.0, 156.0], [156.0, 356.0]]))
        matrix = np.linalg.solve(np.hstack([rest, np.ones((3, 1))]), turn).T
        total = cv2.warpAffine(self._static, matrix, self.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
        lift = float(state.hyoid[1]) * 0.8
        trachea = ribbon(
            np.array([[256, 400 + lift], [256, 430 + lift], [258, 520], [260, 700]], float), [7, 17, 19, 19]
        )
        air = np.zeros(self.shape, np.float32)
        canvas.add(air, trachea, 15, 5)
        canvas.add(air, ellipse((256, 320 + lift), (30, 60)), 9 * (1 - 0.8 * state.squeeze), 8)
        total += air * np.float32(self.mu["air"])
        np.maximum(total, 0, out=total)
        barium, pockets = self._barium(canvas, state, lift)
        total += barium
        masks = np.zeros((len(NAMES), *self.shape), bool)
        masks[NAMES.index("bolus")] = barium > VISIBLE_BARIUM
        masks[NAMES.index("trachea")] = canvas.mask(trachea)
        masks[NAMES.index("valleculae")] = canvas.mask(*pockets[:2])
        masks[NAMES.index("pyriform_sinuses")] = canvas.mask(*pockets[2:])
        return total, masks

    def _barium(self, canvas: Canvas, state: SwallowState, lift: float) -> tuple[np.ndarray, list[np.ndarray]]:
        out = np.zeros(self.shape, np.float32)
        mu = self.mu["barium"] * state.barium_mu
        pockets = [ellipse((256 + side * 17, 334 + lift * 0.7), (14, 12)) for side in (-1, 1)]
        pockets += [ellipse((256 + side * 30, 396 + lift), (9, 24), side * -14) for side in (-1, 1)]
        for pocket, level in zip(pockets, [state.valleculae] * 2 + [state.pyriform] * 2):
            if level > 0.02:
                top, bottom = pocket[:, 1].min(), pocket[:, 1].max()
                canvas.fill(out, clip_below(pocket, bottom - level * (bottom - top)), self._depth * mu, 4)
        if state.head is not None:
            # along the tube from the mouth (wide), through the pharynx (splits round the larynx), into the oesophagus
            u = np.linspace(max(state.tail, S_HOLD[0]), min(state.head, S_END), 24)
            y = np.interp(u, [*S_HOLD, S_RAMUS, 0.6, S_UES, S_END], [205, 232, 262, 350, 428, 600]) + lift * (
                (u > 0.4) & (u < 0.9)
            )
            size = np.clip(state.volume_ml / 6, 0.5, 1.5) ** 0.5
            taper = np.sqrt(np.clip(np.minimum(np.linspace(0.1, 3, 24), np.linspace(4, 0.1, 24)), 0, 1))
            half = np.interp(u, [0.05, 0.3, 0.45, 0.7, S_UES, S_END], [44, 26, 20, 12, 8, 9]) * size * taper
            spread = np.interp(u, [0.55, 0.68, 0.8, 0.88], [0, 24, 22, 0])
            for side in (-1, 1):
                line = np.stack([256 + side * spread, y], -1)
                across = np.stack([half, 0 * half], -1)
                canvas.fill(out, np.vstack([line + across, (line - across)[::-1]]), 0.55 * self._depth * mu, 5)
        if state.airway > 1:
            y = np.linspace(404 + lift, 404 + lift + 180 * (state.airway - 1), 12)
            canvas.add(out, ribbon(np.stack([np.full(12, 246.0), y], -1), 5.0), 7 * mu, 1.5)
        return out, pockets

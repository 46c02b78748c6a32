"""A lateral phantom: static attenuation once per patient, moving parts per frame, masks of the eighteen structures."""

from __future__ import annotations

import cv2
import numpy as np

from ..swallow.structures import NAMES
from .airway import SoftTissue, soft_tissue
from .atlas import SKIN, SPINE, Part, jaw_parts, shoulder_outline, skull_parts, vertebrae
from .hardware import hardware_parts
from .motion import SwallowState
from .posture import Posture
from .shapes import Canvas, _blur, smooth_closed
from .soft_detail import soft_detail_parts
from .spec import PhantomSpec
from .spine_look import spine_look
from .xray import XraySystem, attenuation_coefficients

__all__ = ["VISIBLE_BARIUM", "VISIBLE_CONTRAST", "LateralPatient"]

VISIBLE_BARIUM = 0.55
"""Minimum optical depth of barium labelled as bolus (42 % of the beam).

Annotators of real studies exclude penumbra and thin wall coating; a lower threshold gives wider masks than theirs."""

VISIBLE_CONTRAST = 0.02
"""Minimum mean contrast of a labelled vertebra, fraction of the display range (5 of 255 grey values)."""


class LateralPatient:
    """Anatomy of one patient in lateral view.

    Args:
        spec: the study.
    """

    def __init__(self, spec: PhantomSpec):
        self.spec = spec
        self.posture = Posture(spec)
        self.mu = attenuation_coefficients(spec.kvp)
        self.shape = (spec.rows, spec.cols)
        rng = np.random.default_rng([spec.anatomy_seed, 6])
        self.detail = np.clip(rng.standard_normal(12), -2, 2)
        self._widths = {"lumen": rng.uniform(10, 26), "trachea": rng.uniform(10, 18), "nose": rng.uniform(8, 22),
                        "vestibule": rng.uniform(7, 13), "bolus": rng.uniform(10, 22)}  # fmt: skip
        self._calcified = float(np.clip((spec.age - 30) / 60, 0, 1) * rng.uniform(0.2, 1))
        self._vertebrae = vertebrae(spec)
        self._jaw_outline, jaw = jaw_parts(spec)
        self._spine_strength = rng.uniform(0.7, 1.3)
        mix = np.random.default_rng([spec.anatomy_seed, 20])
        self._bolus_edge, self._coat_edge = mix.uniform(5.0, 10.0), mix.uniform(0.6, 2.0)
        self._mixture = self._uneven(mix)
        still = self.canvas((0, 0, 0))
        self._static = self._tissue(still, rng) + self._bones(still, rng)
        self._jaw = np.zeros(self.shape, np.float32)
        for part in jaw:
            self._draw(still, self._jaw, part)

    def canvas(self, sway: tuple[float, float, float], offset: np.ndarray | None = None) -> Canvas:
        """A canvas for atlas outlines at one instant."""

        def to_pixels(p: np.ndarray) -> np.ndarray:
            q = self.posture.patient(p)
            return self.posture.camera(q if offset is None else q + offset, sway)

        return Canvas(self.shape, to_pixels, self.posture.scale)

    def _uneven(self, rng: np.random.Generator) -> np.ndarray:
        """Inhomogeneity of contrast agent, saliva and bubbles: a factor near 1, float32 (H, W)."""
        rows, cols = (-(-n // 4) for n in self.shape)
        texture = np.zeros((rows, cols), np.float32)
        for size in (5, 14):
            noise = rng.standard_normal((rows, cols), dtype=np.float32)
            sigma = max(size * self.posture.scale / 4, 0.5)
            texture += 2 * np.sqrt(np.pi) * sigma * _blur(noise, sigma)
        factor = np.clip(1 + rng.uniform(0.04, 0.2) * texture, 0.6, 1.4).astype(np.float32)
        return cv2.resize(factor, self.shape[::-1], interpolation=cv2.INTER_LINEAR)

    def _draw(self, canvas: Canvas, out: np.ndarray, part: Part) -> None:
        value = part.value * self.mu[part.material]
        if part.line:
            canvas.stroke(out, part.polygon, part.line, value)
        else:
            canvas.add(out, part.polygon, value, part.edge, part.rim * self.mu[part.material])

    def _tissue(self, canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
        """Soft tissue thickness of head, neck and shoulders, computed at quarter resolution."""
        rows, cols = -(-self.shape[0] // 4), -(-self.shape[1] // 4)
        margin = max(rows, cols) // 2  # the outline outside of the image affects the thickness inside
        wide = Canvas(
            (rows + 2 * margin, cols + 2 * margin), lambda p: canvas.to_pixels(p) / 4 + margin, canvas.scale / 4
        )
        body = canvas.mask(smooth_closed(SKIN))
        outline = cv2.copyMakeBorder(wide.mask(smooth_closed(SKIN)).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
        depth = cv2.distanceTransform(outline, cv2.DIST_L2, 3)[1:-1, 1:-1] * 4 / self.posture.scale
        depth = depth[margin : margin + rows, margin : margin + cols]
        # lateral width: the neck is narrower than the head
        y, x = np.mgrid[0:rows, 0:cols].astype(np.float32) * 4
        top, bottom = canvas.to_pixels(np.array([[250.0, 150.0], [330.0, 420.0]]))
        axis = (bottom - top) / np.hypot(*(bottom - top))
        along = ((x - top[0]) * axis[0] + (y - top[1]) * axis[1]) / np.hypot(*(bottom - top))
        width = (148 - 38 * np.clip(along * 1.4 + 0.2, 0, 1)) * self.spec.build
        depth = _blur(depth, 2.0 * self.posture.scale + 0.5)  # no facets from the distance transform
        thickness = width * np.sqrt(np.clip(1 - (1 - np.clip(depth / 78, 0, 1)) ** 2, 0, 1))
        texture = np.zeros((rows, cols), np.float32)
        for size, weight in ((10, 1.0), (28, 1.6)):
            noise = rng.standard_normal((rows, cols), dtype=np.float32)
            texture += weight * size * _blur(noise, size * self.posture.scale / 4 + 0.5)
        thickness = thickness * (1 + 0.012 * texture)
        out = cv2.resize(thickness.astype(np.float32), self.shape[::-1], interpolation=cv2.INTER_LINEAR)
        out *= cv2.GaussianBlur(body.astype(np.float32), (0, 0), 1.0)
        canvas.add(out, shoulder_outline(self.spec), 230 * self.spec.build, edge=22)
        out *= np.float32(self.mu["tissue"])
        for part in soft_detail_parts(self.spec):
            self._draw(canvas, out, part)
        return out

    def _bones(self, canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
        out = np.zeros(self.shape, np.float32)
        for part in skull_parts(self.spec):
            self._draw(canvas, out, part)
        look = spine_look(self.spec)
        spine = np.zeros(self.shape, np.float32)
        for level, pieces in enumerate(self._vertebrae):
            k = self._spine_strength * look.gain[level] * self.mu["bone"]
            for n, (piece, value, rim) in enumerate(zip(pieces, (7.0, 5.5, 5.0), (5.5, 4.5, 4.0))):
                share = k * look.tubercle if level == n == 0 else k
                canvas.add(spine, piece, value * share, look.edge, rim * look.rim[n] * share, 2.2)
            for _ in range(3):  # facets, laminae and pedicle walls cross each other in projection
                piece = pieces[int(rng.integers(len(pieces)))]
                first = int(rng.integers(len(piece)))
                line = np.roll(piece, -first, 0)[: max(6, len(piece) // 3)] + rng.normal(0, 5, 2)
                canvas.stroke(spine, line, rng.uniform(2, 5), rng.uniform(1.5, 4.5) * k)
        # a quarter stays sharp: where the beam grazes the cortex there is a thin line within the penumbra
        self._spine = 0.75 * _blur(spine, max(look.soft * self.posture.scale, 0.3)) + 0.25 * spine
        out += self._spine
        grain = rng.standard_normal(self.shape, dtype=np.float32)
        grain = (
            _blur(grain, 1.5 * self.posture.scale) * 1.5 + _blur(grain, 7 * self.posture.scale) * 8 * self.posture.scale
        )
        out *= 1 + np.clip(0.12 * grain, -0.5, 0.5)
        for part in hardware_parts(self.spec):
            self._draw(canvas, out, part)
        return out

    def _jaw_matrix(self, state: SwallowState, sway: tuple[float, float, float]) -> np.ndarray:
        points = np.array([[40.0, 380.0], [190.0, 330.0], [180.0, 230.0]])
        before = self.posture.camera(self.posture.patient(points))
        after = self.posture.camera(self.posture.patient(self.posture.open_jaw(points, state.jaw)), sway)
        return np.linalg.solve(np.hstack([before, np.ones((3, 1))]), after).T

    def geometry(self, state: SwallowState) -> SoftTissue:
        """The moving soft tissue (atlas units)."""
        return soft_tissue(state, self.detail)

    def barium(self, canvas: Canvas, soft: SoftTissue, state: SwallowState) -> np.ndarray:
        """Optical depth of contrast agent, float32 (H, W)."""
        out = np.zeros(self.shape, np.float32)
        mu = self.mu["barium"] * state.barium_mu
        depth = self._widths["bolus"] * (0.6 + 0.4 * soft.fill)
        canvas.fill(out, soft.bolus, depth * mu, self._bolus_edge)
        for pool in soft.pools:
            canvas.fill(out, pool, 0.8 * self._widths["bolus"] * mu, 4.0)
        canvas.add(out, soft.airway_bolus, 8 * mu, 1.5)
        out *= self._mixture
        for coat in soft.coats:
            if len(coat) > 1:
                canvas.stroke(out, coat, 1.5 + 3 * state.coating, 2.2 * state.coating * mu, self._coat_edge)
        return out

    def attenuation(self, state: SwallowState, sway: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
        """Optical depth of everything and the masks at one instant.

        Args:
            state: from :func:`~monai_agglo.phantom.motion.state_at`.
            sway: rigid motion of the patient.

        Returns:
            float32 (H, W) optical depth, bool (18, H, W) masks in table order (field not applied).
        """
        canvas = self.canvas(sway)
        soft = self.geometry(state)
        size = self.shape[::-1]
        border = {"flags": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REPLICATE}
        total = cv2.warpAffine(self._static, self.posture.sway_matrix(sway), size, **border)
        jaw_matrix = self._jaw_matrix(state, sway)
        total += cv2.warpAffine(self._jaw, jaw_matrix, size, flags=cv2.INTER_LINEAR)
        air = np.zeros(self.shape, np.float32)
        canvas.add(air, soft.lumen, self._widths["lumen"], 5.0)
        canvas.add(air, soft.nasopharynx, self._widths["nose"], 9.0)
        canvas.add(air, soft.valleculae, 0.35 * self._widths["lumen"], 2.0)
        canvas.add(air, soft.pyriform, 0.4 * self._widths["lumen"], 2.0)
        canvas.add(air, soft.trachea, self._widths["trachea"], 7.0)
        canvas.add(air, soft.vestibule, self._widths["vestibule"], 2.0)
        leaf = np.zeros(self.shape, np.float32)
        canvas.add(leaf, soft.epiglottis, 0.75, 1.2)
        canvas.add(leaf, soft.vocal_folds, 0.5, 1.0)
        air *= 1 - np.minimum(leaf, 0.9)
        barium = self.barium(canvas, soft, state)
        air *= np.clip(1 - barium / 1.2, 0, 1)  # liquid replaces air
        total += air * np.float32(self.mu["air"])
        bone = np.zeros(self.shape, np.float32)
        for piece, value in zip(soft.hyoid, (3.2, 2.0)):
            canvas.add(bone, piece, value, 1.5, 1.4)
        for piece in soft.cartilages:
            canvas.add(bone, piece, 0.6 + 1.0 * self._calcified, 6.0, 0.5 + 1.8 * self._calcified)
        if "feeding_tube" in self.spec.hardware:
            canvas.stroke(bone, soft.feeding_tube, 3.5, 5.0)
        total += bone * np.float32(self.mu["bone"])
        np.maximum(total, 0, out=total)
        total += barium
        return total, self._masks(canvas, soft, barium, jaw_matrix)

    def _masks(self, canvas: Canvas, soft: SoftTissue, barium: np.ndarray, jaw_matrix: np.ndarray) -> np.ndarray:
        masks = np.zeros((len(NAMES), *self.shape), bool)
        outlines = {
            "epiglottis": [soft.epiglottis], "trachea": [soft.trachea, soft.vestibule], "pharynx": [soft.pharynx],
            "hyoid": soft.hyoid, "valleculae": [soft.valleculae], "pyriform_sinuses": [soft.pyriform],
            "laryngeal_vestibule": [soft.vestibule], "ues": [soft.ues], "vocal_folds": [soft.vocal_folds],
        }  # fmt: skip
        outlines.update({f"c{k + 1}": pieces for k, pieces in enumerate(self._vertebrae[:7])})
        for name, polygons in outlines.items():
            masks[NAMES.index(name)] = canvas.mask(*polygons)
        resting = self.posture.camera(self.posture.patient(self._jaw_outline))
        moved = resting @ jaw_matrix[:, :2].T + jaw_matrix[:, 2]
        masks[NAMES.index("mandible")] = Canvas(self.shape, lambda p: p, 1.0).mask(moved)
        masks[NAMES.index("bolus")] = barium > VISIBLE_BARIUM
        return masks

    def hidden_vertebrae(self, attenuation: np.ndarray, system: XraySystem) -> tuple[str, ...]:
        """Vertebrae invisible in the image, behind a shoulder or in saturated black.

        Args:
            attenuation: attenuation of the resting patient, from :meth:`attenuation`.
            system: imaging system.

        Returns:
            Names, from ``c1`` to ``c7``: without the spine, the noise-free image changes by less than
            :data:`VISIBLE_CONTRAST` in the mean over the exposed part of the vertebra. A faint vertebra between two
            visible ones is not hidden, since annotators draw it.
        """
        contrast = np.abs(system.display(attenuation) - system.display(np.maximum(attenuation - self._spine, 0)))
        canvas = self.canvas((0.0, 0.0, 0.0))
        levels = [contrast[canvas.mask(*pieces) & system.field_mask] for pieces in self._vertebrae[:7]]
        shown = [k for k, seen in enumerate(levels) if seen.size and float(seen.mean()) >= VISIBLE_CONTRAST]
        first, last = (shown[0], shown[-1]) if shown else (7, 7)
        return tuple(f"c{k + 1}" for k, seen in enumerate(levels) if seen.size and not first <= k <= last)

    def landmarks(self) -> np.ndarray:
        """Anterior-inferior corners of the bodies of C2 and C4 (2, 2), atlas units: the ends of the C2-C4 scalar."""
        corners = []
        for level in (1, 3):
            body = self._vertebrae[level][0]
            down = SPINE[level + 1] - SPINE[level - 1]
            down = down / np.hypot(*down)
            front = np.array([-down[1], down[0]])
            corners.append(body[np.argmax(body @ (down + front))])
        return np.array(corners)

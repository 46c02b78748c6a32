"""One synthetic study: frames, masks, events and quantities from a spec, in any order of access."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from ..swallow.structures import NAMES
from .lateral import LateralPatient
from .motion import SwallowCourse, SwallowState, state_at
from .spec import ATLAS_MM_PER_UNIT, PhantomSpec
from .video_export import through_video
from .xray import XraySystem

__all__ = ["PhantomStudy"]


class PhantomStudy:
    """A synthetic videofluoroscopic swallowing study.

    Frames are random access and independent of order and process.

    Args:
        spec: the specification; see :meth:`PhantomSpec.sample`.

    Raises:
        ValueError: for an invalid size, rate or view.
    """

    def __init__(self, spec: PhantomSpec):
        if min(spec.rows, spec.cols) < 64 or max(spec.rows, spec.cols) > 4096:
            raise ValueError(f"phantom frames are 64 to 4096 pixels wide, not {spec.rows} x {spec.cols}")
        if spec.n_frames < 1 or spec.frame_rate <= 0:
            raise ValueError("a phantom study needs at least one frame and a positive frame rate")
        if spec.bits_stored not in (8, 10, 12):
            raise ValueError(f"bits_stored is 8, 10 or 12, not {spec.bits_stored}")
        self.spec = spec
        if spec.view == "lateral":
            self.patient: Any = LateralPatient(spec)
        elif spec.view == "ap":
            from .frontal import FrontalPatient

            self.patient = FrontalPatient(spec)
        else:
            raise ValueError(f"view is 'lateral' or 'ap', not {spec.view!r}")
        self.courses = [SwallowCourse(s) for s in spec.swallows]
        rng = np.random.default_rng([spec.seed, 9])
        self._sway = rng.normal(0, 1, (3, 3)) * np.array([[2.5], [2.0], [0.5]])
        self._sway_phase = rng.uniform(0, 2 * np.pi, (3, 3))
        reference, _ = self.patient.attenuation(SwallowState(hyoid=np.zeros(2)), (0.0, 0.0, 0.0))
        self.system = XraySystem(spec, reference)
        self.hidden: tuple[str, ...] = ()
        """Invisible vertebrae in the field, without masks."""
        if spec.view == "lateral":
            self.hidden = self.patient.hidden_vertebrae(reference, self.system)
        self._former: tuple[int, np.ndarray] | None = None
        self._events: list[dict[str, int | None]] | None = None

    @property
    def n_frames(self) -> int:
        """Number of frames in the file (repeats included)."""
        return round(self.spec.n_frames * self.repeat)

    @property
    def repeat(self) -> int:
        """Frames per pulse (2 = 15 pulses in 30 frames per second)."""
        return max(1, round(self.spec.recorded_rate / self.spec.frame_rate))

    @property
    def frame_times_ms(self) -> np.ndarray:
        """Nominal time of each recorded frame, ms, float64 (n_frames,)."""
        return np.arange(self.n_frames) * 1000.0 / (self.spec.frame_rate * self.repeat)

    @property
    def field_mask(self) -> np.ndarray:
        """The exposed field, bool (H, W)."""
        return self.system.field_mask

    def pulse_time_s(self, pulse: int) -> float:
        """Time of a pulse, s."""
        return pulse / self.spec.frame_rate

    def state(self, pulse: int) -> SwallowState:
        """Anatomical state at a pulse."""
        return state_at(self.pulse_time_s(pulse), self.courses, self.spec.jaw_opening_deg)

    def sway(self, pulse: int, state: SwallowState | None = None) -> tuple[float, float, float]:
        """Rigid motion of the patient at a pulse: right, down (atlas units), rotation (degrees)."""
        t = self.pulse_time_s(pulse)
        rates = np.array([0.35, 0.9, 1.7])
        x, y, angle = (self._sway * np.sin(2 * np.pi * rates * t + self._sway_phase)).sum(-1)
        cough = state.cough if state is not None else 0.0
        return float(x + 6 * cough), float(y + 9 * cough), float(angle + 1.5 * cough)

    def _signal(self, pulse: int, attenuation: np.ndarray) -> np.ndarray:
        """Detector signal with first-order lag; the previous pulse is re-rendered if not cached."""
        now = self.system.signal(attenuation)
        former = None
        if self.spec.lag and pulse > 0:
            if self._former is not None and self._former[0] == pulse - 1:
                former = self._former[1]
            else:
                state = self.state(pulse - 1)
                former = self.system.signal(self.patient.attenuation(state, self.sway(pulse - 1, state))[0])
        self._former = (pulse, now)
        return now if former is None else now * (1 - self.spec.lag) + former * self.spec.lag

    def frame(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Image and masks of one recorded frame.

        Args:
            t: frame index, 0-based.

        Returns:
            uint16 (H, W) stored values within ``bits_stored`` (inverted when MONOCHROME1), bool (18, H, W) masks in
            table order, limited to the exposed field.

        Raises:
            IndexError: for a frame outside the study.
        """
        if not 0 <= t < self.n_frames:
            raise IndexError(f"frame {t} of {self.n_frames}")
        pulse = t // self.repeat
        state = self.state(pulse)
        attenuation, masks = self.patient.attenuation(state, self.sway(pulse, state))
        shown = self.system.expose(self._signal(pulse, attenuation), np.random.default_rng([self.spec.seed, 10, pulse]))
        if self.spec.burnt_in_text:
            self._burn_in(shown)
        shown = through_video(shown, self.spec.video_scale, self.spec.video_quality)
        top = (1 << self.spec.bits_stored) - 1
        stored = np.round(shown * np.float32(top)).astype(np.uint16)
        if self.spec.photometric == "MONOCHROME1":
            stored = np.uint16(top) - stored
        masks &= self.field_mask
        for name in self.hidden:
            masks[NAMES.index(name)] = False
        return stored, masks

    def _burn_in(self, shown: np.ndarray) -> None:
        """Text in the corner farthest from the exposed field."""
        rows, cols = shown.shape
        size = 0.45 * self.system.unit
        text = str(self.spec.burnt_in_text)
        (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
        corners = [
            (4, 4),
            (cols - width - 4, 4),
            (4, rows - height - base - 4),
            (cols - width - 4, rows - height - base - 4),
        ]
        x, y = min(
            corners,
            key=lambda c: self.field_mask[max(c[1], 0) : c[1] + height + base, max(c[0], 0) : c[0] + width].mean(),
        )
        text_layer = np.zeros(shown.shape, np.uint8)
        cv2.putText(text_layer, text, (int(x), int(y + height)), cv2.FONT_HERSHEY_SIMPLEX, size, 255, 1, cv2.LINE_AA)
        np.maximum(shown, text_layer.astype(np.float32) / 255, out=shown)

    def _frame_of(self, seconds: float) -> int | None:
        """The first recorded frame at or after a time, or None if it lies beyond the study."""
        pulse = int(np.ceil(seconds * self.spec.frame_rate - 1e-9))
        return max(pulse, 0) * self.repeat if pulse < self.spec.n_frames else None

    @property
    def swallows(self) -> list[dict[str, int | None]]:
        """Event frames (0-based) of each swallow.

        ``bpm`` bolus passes the mandible, ``hyb`` hyoid burst, ``lvc`` laryngeal vestibule closure, ``ueso`` / ``uesc``
        opening and closing of the upper oesophageal sphincter, ``ues_max`` widest UES, ``hyoid_peak`` largest hyoid
        excursion, ``mpc`` maximum pharyngeal constriction (smallest pharyngeal area), ``lvco`` vestibule re-opening,
        ``rest`` swallow rest; terms after Steele et al. 2019. None = outside the recording.
        """
        if self._events is not None:
            return self._events
        out: list[dict[str, int | None]] = []
        for course in self.courses:
            events = {
                name: self._frame_of(getattr(course, name))
                for name in ("bpm", "hyb", "lvc", "ueso", "uesc", "lvco", "rest")
            }
            first = max(int(np.floor(course.bpm * self.spec.frame_rate)), 0)
            last = min(int(np.ceil(course.rest * self.spec.frame_rate)) + 1, self.spec.n_frames)
            extremes: dict[str, tuple[float, int]] = {}
            for pulse in range(first, last):
                state = self.state(pulse)
                values = {"hyoid_peak": float(np.hypot(*state.hyoid))}
                if self.spec.view == "lateral":
                    soft = self.patient.geometry(state)
                    values.update(ues_max=soft.ues_gap, mpc=-soft.pharynx_area)
                for name, value in values.items():
                    if name not in extremes or value > extremes[name][0] + 1e-9:
                        extremes[name] = (value, pulse * self.repeat)
            complete = events["rest"] is not None
            for name in ("hyoid_peak", "ues_max", "mpc"):
                events[name] = extremes[name][1] if name in extremes and complete else None
            out.append(events)
        self._events = out
        return out

    @property
    def events(self) -> dict[str, int | None]:
        """Event frames of the first swallow; empty without swallows."""
        return self.swallows[0] if self.courses else {}

    @property
    def quantities(self) -> dict[str, Any]:
        """Ground-truth quantities of the study: scale, and per swallow times and excursions (units in the names)."""
        scale: dict[str, Any] = {"pixels_per_mm": self.posture_scale}
        if self.spec.view == "lateral":
            corners = self.patient.canvas((0.0, 0.0, 0.0)).to_pixels(self.patient.landmarks())
            scale["c2c4_px"] = float(np.hypot(*(corners[1] - corners[0])))
            scale["c2c4_mm"] = scale["c2c4_px"] / self.posture_scale
        per_swallow = []
        for course in self.courses:
            s = course.spec
            per_swallow.append({
                "volume_ml": s.volume_ml, "iddsi": s.iddsi, "airway": s.airway,
                "airway_depth": s.airway_depth if s.airway != "none" else None,
                "swallow_reaction_time_s": course.hyb - course.bpm, "hyb_to_ueso_s": course.ueso - course.hyb,
                "ues_open_duration_s": course.uesc - course.ueso, "time_to_lvc_s": course.lvc - course.hyb,
                "lvc_duration_s": course.lvco - course.lvc, "pharyngeal_transit_s": course.uesc - course.bpm,
                "hyoid_excursion_anterior_mm": s.excursion_mm[0], "hyoid_excursion_superior_mm": s.excursion_mm[1],
            })  # fmt: skip
        return {**scale, "swallows": per_swallow}

    @property
    def posture_scale(self) -> float:
        """Image pixels per millimetre in the patient's plane."""
        return min(self.spec.rows, self.spec.cols) / 512 * self.spec.zoom / ATLAS_MM_PER_UNIT

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of the mask channels."""
        return NAMES

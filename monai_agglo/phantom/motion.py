"""Time course of a swallow: all moving quantities as functions of time, and the resulting events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .shapes import smoothstep
from .spec import ATLAS_MM_PER_UNIT, SwallowSpec

__all__ = ["S_END", "S_FAUCES", "S_HOLD", "S_RAMUS", "S_UES", "SwallowState", "SwallowCourse", "state_at"]

# Positions along the swallowing tube (0 = lips, 1.1 = lower edge of the drawn oesophagus); see ``airway.TUBE``.
S_HOLD = (0.05, 0.27)
S_RAMUS = 0.33
S_FAUCES = 0.37
S_UES = 0.84
S_END = 1.1


@dataclass
class SwallowState:
    """State of motion at one instant. Displacements are in atlas units (x to the back, y down)."""

    hyoid: np.ndarray
    epiglottis: float = 0.0  # 0 upright .. 1 inverted
    closure: float = 0.0  # laryngeal vestibule, 0 open .. 1 closed
    velum: float = 0.0  # 0 hanging .. 1 elevated
    ues: float = 0.0  # 0 closed .. 1 fully open
    jaw: float = 0.0  # additional opening, degrees
    head: float | None = None  # bolus head and tail along the tube; None = no bolus in the tube
    tail: float = 0.0
    volume_ml: float = 0.0
    barium_mu: float = 0.25
    squeeze: float = 0.0  # degree of wall closure behind the tail
    stripped: float = 0.0  # the tube is contracted up to this position
    valleculae: float = 0.0  # filled fraction
    pyriform: float = 0.0
    coating: float = 0.0
    coated_to: float = 0.0
    airway: float = -1.0  # front of the airway bolus: 0 = inlet, 1 = vocal folds, 2 = lower edge of the trachea
    cough: float = 0.0


class SwallowCourse:
    """Times of one swallow, s, derived from its spec.

    Attributes ``bpm, hyb, lvc, ueso, uesc, lvco, rest`` are the event times: bolus passes the mandible, hyoid burst,
    laryngeal vestibule closure, opening and closing of the upper oesophageal sphincter, vestibule re-opening, rest.
    """

    def __init__(self, spec: SwallowSpec):
        self.spec = s = spec
        self.hyb = s.onset_s
        self.bpm = s.onset_s - s.reaction_s
        self.ueso = max(self.bpm + s.pharyngeal_s, self.hyb + 0.12)
        self.uesc = self.ueso + s.ues_open_s
        self.lvc = self.hyb + s.closure_delay_s
        self.lvco = max(self.lvc + s.closure_s, self.ueso + 0.1)
        self.peak = self.hyb + 0.28 + 0.35 * (self.ueso - self.hyb)
        self.rest = max(self.uesc, self.lvco) + 0.5
        oral = 0.35
        self._head = (
            [self.bpm - oral, self.bpm, self.ueso, self.ueso + 0.45],
            [S_HOLD[1], S_RAMUS, S_UES, S_END + 0.1],
        )
        leave = self.bpm - 0.55 * oral
        clear = self.bpm + 0.5 * (self.uesc - self.bpm)
        self._tail = ([leave, clear, self.uesc, self.uesc + 0.5], [S_HOLD[0], S_RAMUS + 0.02, S_UES, S_END + 0.1])
        self.airway_start = self.ueso + 0.06

    def head(self, t: float) -> float:
        """Position of the bolus head along the tube."""
        return float(np.interp(t, *self._head))

    def tail(self, t: float) -> float:
        """Position of the bolus tail along the tube; never ahead of the head."""
        return float(min(np.interp(t, *self._tail), self.head(t) - 0.03))

    def hyoid(self, t: float) -> np.ndarray:
        """Hyoid displacement, atlas units (x, y): up first, then forward, back to rest after UES closure."""
        forward, up = (mm / ATLAS_MM_PER_UNIT for mm in self.spec.excursion_mm)
        fall = 1 - smoothstep(t, self.uesc - 0.08, self.rest)
        rise_up = smoothstep(t, self.hyb - 1e-6, self.peak - 0.06)
        rise_forward = smoothstep(t, self.hyb + 0.05, self.peak)
        return np.array(
            [-forward * rise_forward * fall, -up * rise_up * fall * (1 - 0.15 * smoothstep(t, self.peak, self.uesc))]
        )


def state_at(t: float, courses: list[SwallowCourse], jaw_rest: float = 0.0) -> SwallowState:
    """The state of the anatomy at time ``t`` (s) for a sequence of swallows that do not overlap in time.

    Args:
        t: seconds from the first frame.
        courses: swallows in order of time.
        jaw_rest: jaw opening at rest, degrees.
    """
    state = SwallowState(hyoid=np.zeros(2), jaw=jaw_rest)
    for k, c in enumerate(courses):
        s = c.spec
        last = k + 1 == len(courses)
        begins = -np.inf if k == 0 else courses[k - 1].rest
        ends = np.inf if last else c.rest
        if t < begins and k > 0:
            break
        state.hyoid = state.hyoid + c.hyoid(t)
        state.closure = max(
            state.closure, float(smoothstep(t, c.lvc - 0.12, c.lvc) * (1 - smoothstep(t, c.lvco, c.lvco + 0.15)))
        )
        fall = 1 - smoothstep(t, c.lvco, c.lvco + 0.25)
        state.epiglottis = max(state.epiglottis, float(s.inversion * smoothstep(t, c.hyb + 0.04, c.lvc + 0.1) * fall))
        state.velum = max(
            state.velum, float(smoothstep(t, c.bpm - 0.3, c.bpm - 0.02) * (1 - smoothstep(t, c.uesc, c.uesc + 0.3)))
        )
        state.ues = max(
            state.ues, float(smoothstep(t, c.ueso - 1e-6, c.ueso + 0.12) * (1 - smoothstep(t, c.uesc - 0.1, c.uesc)))
        )
        state.jaw = (
            jaw_rest * float(1 - smoothstep(t, c.bpm - 0.8, c.bpm - 0.4))
            if t < c.uesc
            else jaw_rest * float(smoothstep(t, c.uesc, c.rest))
        )
        if begins <= t < ends:
            head, tail = c.head(t), c.tail(t)
            if tail < S_END:
                state.head, state.tail = head, tail
            state.volume_ml, state.barium_mu = s.volume_ml, s.barium_mu
        squeezing = float(smoothstep(t, c.bpm - 0.2, c.bpm) * (1 - smoothstep(t, c.uesc + 0.08, c.rest)))
        if squeezing > state.squeeze:
            state.squeeze, state.stripped = squeezing * s.constriction, c.tail(t)
        # valleculae and pyriform sinuses: premature spill, then residue
        left_v = float(smoothstep(t, c.uesc - 0.2, c.uesc + 0.1))
        spill = (
            s.spill
            * float(smoothstep(t, c.hyb - 0.9, c.hyb - 0.35))
            * (1 - float(smoothstep(t, c.ueso - 0.1, c.ueso + 0.1)))
        )
        state.valleculae = max(state.valleculae * (1 - left_v), spill, s.residue_valleculae * left_v)
        state.pyriform = max(
            state.pyriform * (1 - left_v), s.residue_pyriform * left_v, max(0.0, s.spill - 0.5) * (spill > 0)
        )
        if t > c.bpm - 0.35:
            state.coated_to = max(state.coated_to, min(c.head(t), S_UES))
            state.coating = max(state.coating, s.coating)
        if s.airway != "none" and t >= c.airway_start:
            depth = s.airway_depth if s.airway == "penetration" else 1 + s.airway_depth
            front = depth * float(smoothstep(t, c.airway_start, c.airway_start + 0.35 + 0.25 * s.airway_depth))
            if s.cough:
                start = c.airway_start + 0.9
                front *= 1 - 0.7 * float(smoothstep(t, start, start + 0.25))
                if start <= t < start + 0.5:
                    state.cough = float(np.sin((t - start) * 2 * np.pi * 5) * np.exp(-(t - start) * 5))
            state.airway = max(state.airway, front)
    return state

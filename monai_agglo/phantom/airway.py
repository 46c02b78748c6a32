"""Moving soft tissue at one instant: mouth, pharynx, larynx, hyoid, trachea and their contents."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .motion import S_END, S_FAUCES, S_UES, SwallowState
from .shapes import clip_below, ellipse, polyline_at, ribbon, smooth_closed, smooth_open, smoothstep
from .spec import ATLAS_MM_PER_UNIT

__all__ = ["TUBE", "SoftTissue", "soft_tissue"]

# The swallowing tube: position s, dorsal wall (palate, then posterior pharyngeal wall), ventral wall (tongue,
# epiglottis, larynx) when wide open, and how closed it is at rest.
TUBE = np.array(
    [
        [0.00, 28, 222, 32, 250, 0.70], [0.06, 50, 206, 52, 242, 0.78], [0.13, 90, 197, 88, 234, 0.82],
        [0.20, 135, 196, 128, 232, 0.85], [0.27, 172, 206, 158, 240, 0.82], [0.33, 204, 224, 182, 256, 0.60],
        [0.37, 226, 224, 199, 270, 0.35], [0.41, 242, 242, 206, 282, 0.18], [0.46, 252, 264, 211, 298, 0.12],
        [0.52, 264, 291, 216, 324, 0.08], [0.57, 273, 313, 228, 355, 0.08], [0.62, 281, 331, 250, 362, 0.12],
        [0.67, 288, 346, 266, 370, 0.30], [0.73, 297, 362, 276, 383, 0.55], [0.79, 306, 378, 286, 397, 0.80],
        [0.84, 314, 393, 295, 407, 0.95], [0.92, 338, 433, 317, 445, 0.985], [1.00, 364, 482, 342, 493, 0.985],
        [1.10, 394, 545, 372, 554, 0.985],
    ],
    float,
)  # fmt: skip

_S = np.linspace(0, S_END, 96)
_B = np.stack([np.interp(_S, TUBE[:, 0], TUBE[:, k]) for k in (1, 2)], -1)
_A = np.stack([np.interp(_S, TUBE[:, 0], TUBE[:, k]) for k in (3, 4)], -1)
_REST = np.interp(_S, TUBE[:, 0], TUBE[:, 5])
# how much of the hyolaryngeal excursion the ventral wall follows, and which share of closure the ventral wall makes
_FOLLOW = np.interp(_S, [0.3, 0.46, 0.57, 0.79, 0.86, 1.0], [0, 0.3, 0.75, 0.8, 0.55, 0])
_VENTRAL = np.interp(_S, [0.0, 0.3, 0.42, 1.0], [1.0, 1.0, 0.78, 0.6])
_ML_TO_AREA = 1000 / 11 / ATLAS_MM_PER_UNIT**2  # lateral projection of 1 ml, mean width 11 mm, square atlas units

_AIRWAY = smooth_open(np.array([[258, 408], [266, 432], [282, 462], [303, 500], [326, 545], [360, 620]], float))
_VALLECULA = np.array([[214, 296], [217, 328], [225, 352], [233, 364], [240, 352], [241, 328], [243, 300]], float)
_PYRIFORM = np.array([[277, 350], [291, 352], [301, 372], [308, 388], [301, 399], [290, 394], [281, 374]], float)
_NASOPHARYNX = np.array(
    [
        [160, 172],
        [172, 128],
        [198, 108],
        [213, 138],
        [222, 172],
        [236, 212],
        [236, 244],
        [216, 240],
        [204, 214],
        [186, 190],
    ],
    float,
)
_NASOPHARYNX_UP = np.array(
    [
        [160, 166],
        [172, 128],
        [198, 108],
        [213, 138],
        [220, 160],
        [222, 168],
        [220, 172],
        [212, 168],
        [200, 162],
        [182, 164],
    ],
    float,
)


@dataclass
class SoftTissue:
    """Outlines in atlas units, before patient shape and posture; empty outlines have no area."""

    lumen: np.ndarray
    pharynx: np.ndarray
    bolus: np.ndarray
    valleculae: np.ndarray
    pyriform: np.ndarray
    pools: list[np.ndarray]
    airway_bolus: np.ndarray
    coats: list[np.ndarray]
    nasopharynx: np.ndarray
    epiglottis: np.ndarray
    vestibule: np.ndarray
    vocal_folds: np.ndarray
    trachea: np.ndarray
    ues: np.ndarray
    hyoid: list[np.ndarray]
    cartilages: list[np.ndarray]
    feeding_tube: np.ndarray
    fill: float
    ues_gap: float
    pharynx_area: float
    detail: dict[str, float] = field(default_factory=dict)


def polygon_area(polygon: np.ndarray) -> float:
    """Area of a simple polygon, square units."""
    x, y = np.asarray(polygon, float).T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2) if len(polygon) > 2 else 0.0


def _bolus_profile(tail: float, head: float) -> np.ndarray:
    u = (_S - tail) / max(head - tail, 1e-3)
    inside = (u > 0) & (u < 1)
    front = np.sqrt(np.clip((1 - u) / 0.18, 0, 1))
    back = np.sqrt(np.clip(u / 0.3, 0, 1))
    return np.where(inside, np.minimum(front, back), 0.0)


def soft_tissue(state: SwallowState, shape: np.ndarray) -> SoftTissue:
    """Geometry of the soft tissue for one state.

    Args:
        state: from :func:`~monai_agglo.phantom.motion.state_at`.
        shape: 12 standard-normal shape parameters of the patient.

    Returns:
        Outlines in atlas units, before posture.
    """
    hyoid = state.hyoid
    larynx = hyoid * np.array([0.6, 0.9]) + np.array([0.0, 2.5 * state.cough])
    gap = (_A + _FOLLOW[:, None] * hyoid) - _B
    gap = gap * (1 + 0.12 * shape[0] * smoothstep(_S, 0.36, 0.5) * (1 - smoothstep(_S, 0.75, 0.84)))[:, None]
    closed = np.clip(_REST + (0.16 + 0.11 * shape[1]) * (_REST < 0.6), 0.02, 0.99)
    # behind the bolus tail the walls close; ahead of its head they are at rest
    swept = smoothstep(state.stripped - _S, -0.02, 0.05) * (_S < S_UES + 0.02) * (_S > 0.12)
    closed = np.maximum(closed, state.squeeze * swept * np.interp(_S, [0.1, 0.4, 0.6, 0.8], [1, 1, 0.98, 1]))
    opening = state.ues * np.exp(-(((_S - S_UES) / 0.05) ** 2))
    closed = np.minimum(closed, 1 - 0.55 * opening)
    fill = 0.0
    profile = np.zeros_like(_S)
    if state.head is not None:
        profile = _bolus_profile(state.tail, state.head)
        width = np.hypot(*gap.T)
        step = np.hypot(*np.gradient(_B * 0.5 + _A * 0.5, axis=0).T)
        full = float((width * profile * step).sum())
        fill = float(np.clip(state.volume_ml * _ML_TO_AREA / max(full, 1), 0.3, 1.0))
        closed = np.where(profile > 0, 1 - np.clip(profile * fill, 0, 1), closed)
    ventral = _B + gap - (closed * _VENTRAL)[:, None] * gap
    dorsal = _B + (closed * (1 - _VENTRAL))[:, None] * gap
    lumen = np.vstack([dorsal, ventral[::-1]])

    part = (_S >= S_FAUCES) & (_S <= S_UES + 0.005)
    pharynx = np.vstack([dorsal[part], ventral[part][::-1]])
    ues_part = (_S >= S_UES - 0.045) & (_S <= S_UES + 0.04)
    ues_line = (dorsal + ventral)[ues_part] / 2
    ues_gap = float(np.hypot(*(ventral - dorsal)[np.argmin(abs(_S - S_UES))]))
    inside = profile > 0
    bolus = np.zeros((0, 2))
    if inside.sum() > 1:
        # surface irregularities travel with the bolus
        along = 40 * (_S[inside] - state.tail)
        rough = (0.06 + 0.03 * abs(shape[10])) * np.sin(along[:, None] * [1.0, 2.3] + shape[10:12] * 3)
        across = (ventral - dorsal)[inside]
        bolus = np.vstack([dorsal[inside] - rough[:, :1] * across, (ventral[inside] + rough[:, 1:] * across)[::-1]])

    # epiglottis: rotates backwards about its base and bends over the inlet
    base = np.array([238.0, 386.0]) + larynx
    e = state.epiglottis
    length = 98 + 6 * shape[2]
    u = np.linspace(0, 1, 14)
    rest_angle = np.deg2rad(-87 + 5 * shape[3])
    angles = (
        rest_angle
        + np.deg2rad(128) * e * smoothstep(u, -0.1, 0.55 + 0.25 * (1 - e))
        - np.deg2rad(10 + 5 * shape[4]) * (u - 0.5) * (1 - e)
    )
    steps = np.stack([np.cos(angles), np.sin(angles)], -1) * length * (1 - 0.12 * e) / len(u)
    leaf = base + np.cumsum(steps, 0)
    epiglottis = ribbon(
        leaf, (9.0 + 0.8 * shape[5]) * np.sqrt(np.clip(np.minimum((u + 0.12) / 0.4, (1.04 - u) / 0.22), 0, 1))
    )

    # larynx: inlet between epiglottis and arytenoids, vocal folds, then the trachea with decreasing excursion
    closure = state.closure
    petiole = np.array([241.0, 384.0])
    arytenoid = np.array([272.0, 372.0]) + closure * np.array([-20.0, 2.0])
    vestibule = smooth_closed(
        np.array([petiole, [245, 362], np.array([252.0, 346.0]) + closure * np.array([6.0, 18.0]), arytenoid + [-4, -6],
                  arytenoid + [-3 - 4 * closure, 10], [270 - 18 * closure, 398], [240 + 4 * closure, 408]]) + larynx, 4
    )  # fmt: skip
    if closure > 0.85:
        vestibule = np.zeros((0, 2))
    folds = ellipse((256, 408), (19, 4.0 + closure), 12) + larynx
    follow = np.linspace(1, 0, len(_AIRWAY))[:, None] ** 0.7
    axis = _AIRWAY + larynx * follow
    width = (21.5 + 1.5 * shape[6]) * (0.45 + 0.55 * smoothstep(np.linspace(0, 1, len(axis)), -0.05, 0.22))
    trachea = ribbon(axis, width)

    pocket = smooth_closed(_VALLECULA, 4) + hyoid * 0.8
    pocket = pocket.mean(0) + (pocket - pocket.mean(0)) * np.array([1 - 0.75 * e, 1 - 0.4 * e])
    sinus = smooth_closed(_PYRIFORM, 4) + larynx * 0.7
    pools = []
    # a passing bolus also fills valleculae and pyriform sinuses
    passing = [float(np.interp(at, _S, profile)) * min(1.0, 1.6 * fill) for at in (0.57, 0.76)]
    for outline, level in ((pocket, max(state.valleculae, passing[0])), (sinus, max(state.pyriform, passing[1]))):
        if level > 0.02:
            top, bottom = outline[:, 1].min(), outline[:, 1].max()
            pools.append(clip_below(outline, bottom - level * (bottom - top)))
    airway_bolus = np.zeros((0, 2))
    if state.airway > 0.02:
        inlet = arytenoid + [-8, 2] + larynx
        lean = (10 if shape[7] > 0 else -10) * follow * np.array([0.9, -0.4])
        path = np.vstack(
            [inlet, inlet * 0.5 + axis[0] * 0.5, axis + lean * np.clip(np.arange(len(axis)) / 4, 0, 1)[:, None]]
        )
        reach = min(state.airway, 1.0) * 0.14 + max(state.airway - 1.0, 0.0) * 0.8
        line = polyline_at(path, np.linspace(0, reach, 16))
        airway_bolus = ribbon(
            line,
            np.sqrt(np.linspace(0.25, 1, 16)) * (5 + 2 * abs(shape[8])) * (1 - 0.5 * (np.linspace(0, 1, 16) > 0.93)),
        )
    coats = []
    if state.coating > 0.03:
        for wall in (dorsal, ventral):
            coats.append(wall[(_S > 0.2) & (state.coated_to > _S)])
        coats.append(leaf)
    nasopharynx = smooth_closed(_NASOPHARYNX * (1 - state.velum) + _NASOPHARYNX_UP * state.velum, 4)
    body = np.array([[176, 368], [184, 360], [193, 366], [190, 378], [180, 380]], float)
    horn = ribbon(
        smooth_open(np.array([[188, 366], [206, 358], [226, 348 + 3 * shape[9]], [240, 342]], float)),
        np.linspace(4.5, 3, 19),
    )
    thyroid = smooth_closed(
        np.array([[206, 388], [222, 380], [262, 372], [270, 388], [262, 424], [240, 432], [220, 420]], float)
    )
    cricoid = smooth_closed(np.array([[232, 432], [262, 424], [284, 408], [294, 422], [284, 446], [250, 448]], float))
    centre = (dorsal + ventral)[(_S >= 0.36)] / 2
    tube = np.vstack([[[150, 150], [196, 150], [214, 190]], centre])
    return SoftTissue(
        lumen=lumen, pharynx=pharynx, bolus=bolus, valleculae=pocket, pyriform=sinus, pools=pools,
        airway_bolus=airway_bolus, coats=coats, nasopharynx=nasopharynx, epiglottis=epiglottis, vestibule=vestibule,
        vocal_folds=folds, trachea=trachea, ues=ribbon(ues_line, max(ues_gap / 2, 4.5)),
        hyoid=[smooth_closed(body, 4) + hyoid, horn + hyoid], cartilages=[thyroid + larynx, cricoid + larynx],
        feeding_tube=smooth_open(tube[::4]), fill=fill, ues_gap=ues_gap, pharynx_area=polygon_area(pharynx),
    )  # fmt: skip

"""The resting anatomy of a lateral head and neck, drawn in atlas units (facing left, 512 x 512 grid, 0.37 mm per unit).

Positions and sizes of the labelled structures follow the published mask statistics of VFSS-5K (area, centroid and box
per structure at 512 x 512; arXiv 2504.02351), all else general anatomy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .overlap import overlap_parts
from .part import Part
from .restorations import restoration_parts
from .shapes import ellipse, smooth_closed, smooth_open, smoothstep
from .spec import PhantomSpec
from .teeth import teeth_parts

__all__ = [
    "SKIN",
    "SPINE",
    "Part",
    "jaw_parts",
    "mandible",
    "shoulder_outline",
    "skull_parts",
    "vertebra_outline",
    "vertebrae",
]

SPINE = np.array(
    [[241, 147], [268, 204], [287, 258], [309, 302], [334, 346], [361, 390], [387, 435], [411, 481], [434, 528]], float
)
"""Centres of the bodies of C1 (its arch) to C7, T1 and T2."""

SKIN = np.array(
    [
        [-30, -190], [-45, -60], [-28, 10], [-46, 60], [-78, 128], [-44, 150], [-40, 172], [-58, 196], [-42, 222],
        [-56, 248], [-36, 288], [-42, 350], [-30, 408], [14, 436], [90, 432], [158, 428], [184, 462], [196, 500],
        [226, 560], [262, 630], [250, 740], [700, 740], [660, 520], [560, 430], [512, 350], [492, 260], [494, 170],
        [530, 90], [560, -20], [560, -120], [420, -230], [120, -250],
    ],
    float,
)  # fmt: skip


def _frame(level: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre, caudal unit vector and posterior unit vector of vertebra ``level`` (0 = C1)."""
    lo, hi = max(level - 1, 0), min(level + 1, len(SPINE) - 1)
    down = SPINE[hi] - SPINE[lo]
    down = down / np.hypot(*down)
    return SPINE[level], down, np.array([down[1], -down[0]])


def vertebra_outline(
    level: int, rng: np.random.Generator, osteophytes: float, age: float, tilt_deg: float = 0.0, arch: float = 1.0
) -> list[np.ndarray]:
    """Outlines of one vertebra: body, articular pillar with lamina, spinous process (``level`` 0 = C1 .. 6 = C7).

    Args:
        level: 0 for C1 to 6 for C7.
        rng: random generator of shape details.
        osteophytes: bone spurs, 0..1.
        age: years.
        tilt_deg: caudal tilt of the posterior end, degrees.
        arch: height of C1's posterior arch relative to the mean; its tubercle keeps its size.
    """
    centre, down, back = _frame(level)
    young = 1 - 0.12 * float(age < 14)

    def place(points: Sequence[tuple[float, float]], share: float = 1.0) -> np.ndarray:
        p = np.array(points) * young * rng.normal(1, 0.03, 2) + rng.normal(0, 0.8, (len(points), 2))
        offset = p[:, :1] * back + p[:, 1:] * down
        angle = np.deg2rad(tilt_deg * share)
        return centre + offset @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])

    if level == 0:
        ring = [(-10, -17), (2, -16), (8, 0), (2, 17), (-11, 16), (-18, 1)]
        lateral_mass = [(6, -19), (46, -22), (56, 0), (46, 21), (8, 18)]
        rod = np.array([(44, -12), (72, -13), (92, -16), (106, -12), (111, 2), (103, 14), (84, 9), (60, 9), (44, 12)])
        rod = rod * np.where(rod[:, :1] > 100, 1, [1, arch])
        return [smooth_closed(place(p)) for p in (ring, lateral_mass, rod)]
    body: list[tuple[float, float]]
    pillar: list[tuple[float, float]]
    spinous: list[tuple[float, float]]
    if level == 1:
        body = [
            (-20, -20),
            (-13, -52),
            (-6, -72),
            (3, -72),
            (8, -50),
            (18, -22),
            (22, 20),
            (0, 24),
            (-24, 25),
            (-22, 0),
        ]
        pillar = [(10, -26), (40, -28), (54, -12), (52, 14), (36, 24), (14, 14)]
        spinous = [(46, -20), (80, -24), (112, -14), (124, 4), (122, 20), (104, 22), (76, 12), (50, 10)]
        return [smooth_closed(place(body, 0.3)), smooth_closed(place(pillar)), smooth_closed(place(spinous))]
    w, h = 22.5 + 0.5 * level, 17.5 + 0.35 * level
    degenerate = osteophytes * rng.uniform(0.3, 1) * (level >= 3)
    spur = 9 * degenerate
    h *= 1 - 0.12 * degenerate
    body = [
        (-w - spur, -h + 1), (-w + 3, -h * 0.4), (-w + 3, h * 0.4), (-w - 1 - spur, h + 3), (-w * 0.3, h), (w * 0.5, h),
        (w, h - 1), (w - 1, 0), (w, -h), (w * 0.4, -h - 1), (-w * 0.4, -h),
    ]  # fmt: skip
    pillar = [(w - 8, -h + 2), (w + 12, -h - 9), (w + 26, -h + 4), (w + 24, h - 1), (w + 10, h + 7), (w - 6, h - 8)]
    reach = [0, 0, 88, 92, 98, 116, 122][level] * rng.normal(1, 0.06)
    drop = [0, 0, 8, 10, 14, 18, 20][level] + rng.normal(0, 3)
    thick = [0, 0, 9, 9, 9.5, 10.5, 11.5][level]
    blade = rng.uniform(0.45, 1.0)  # from a slender neck to a plate
    spinous = [
        (w + 12, -h * 0.7), (reach * 0.72, -thick * blade + drop * 0.45), (reach * 0.95, drop - thick * 0.9),
        (reach + 6, drop + rng.normal(0, 3)), (reach * 0.95, drop + thick * 1.1),
        (reach * 0.72, thick * blade + drop * 0.6), (w + 12, h * 0.8),
    ]  # fmt: skip
    return [smooth_closed(place(body, 0.3), 5), smooth_closed(place(pillar), 4), smooth_closed(place(spinous), 4)]


def vertebrae(spec: PhantomSpec) -> list[list[np.ndarray]]:
    """Outlines of C1..C7 and T1, T2 (a list of polygons each)."""
    rng = np.random.default_rng([spec.anatomy_seed, 2])
    draw = np.random.default_rng([spec.anatomy_seed, 12])
    hang, arch = draw.normal(4, 6), draw.uniform(0.5, 1)
    tilts = [float(np.clip(draw.normal(12, 10), -6, 34)), *(hang + draw.normal(0, 2, 6))]
    out = [vertebra_outline(level, rng, spec.osteophytes, spec.age, tilt, arch) for level, tilt in enumerate(tilts)]
    for level in (7, 8):
        centre, down, back = _frame(level)
        body = np.array([(-26, -20), (26, -20), (26, 20), (-26, 20)])
        out.append([smooth_closed(centre + body[:, :1] * back + body[:, 1:] * down, 5)])
    return out


def mandible(rng: np.random.Generator, age: float) -> np.ndarray:
    """Outline of body and ramus of the mandible, mouth closed."""
    points = np.array(
        [
            [214, 203], [222, 215], [214, 250], [205, 290], [196, 318], [172, 338], [130, 366], [84, 396], [46, 413],
            [18, 412], [4, 396], [6, 368], [14, 338], [12, 306], [24, 294], [60, 288], [100, 276], [132, 262],
            [150, 238], [160, 210], [170, 204], [182, 222], [198, 214],
        ],
        float,
    )  # fmt: skip
    if age > 65 and rng.random() < 0.3:  # no alveolar ridge in the edentulous jaw
        points[13:17, 1] += rng.uniform(10, 30)
    return smooth_closed(points + rng.normal(0, 1.5, points.shape), 5)


def jaw_parts(spec: PhantomSpec) -> tuple[np.ndarray, list[Part]]:
    """Outline of the mandible (the mask) and all bodies moving with it (both halves, lower teeth, fillings)."""
    rng = np.random.default_rng([spec.anatomy_seed, 3])
    outline = mandible(rng, spec.age)
    strength = rng.uniform(0.7, 1.25) * (0.75 if spec.age < 12 else 1.0)
    other = outline + rng.normal(0, 4, 2) * np.array([1, 1.4])
    # slight head rotation projects the far angle and ramus over C2 and C3
    turn = np.random.default_rng([spec.anatomy_seed, 21])
    other[:, 0] += turn.uniform(5, 24) * (turn.random() < 0.35) * smoothstep(outline[:, 0], 110, 180)
    parts = [
        Part(outline, "bone", 5.0 * strength, 8, 4.5 * strength),
        Part(other, "bone", 4.0 * strength, 8, 3.5 * strength),
    ]
    canal = smooth_open(np.array([[190, 262], [168, 312], [120, 345], [60, 360]], float) + rng.normal(0, 3, (4, 2)))
    parts.append(Part(canal, "bone", -2.0, line=7))
    necks = np.array([[22, 292], [60, 285], [100, 272], [130, 260]], float)
    parts += teeth_parts(rng, spec, necks, up=False) + restoration_parts(spec, necks, up=False)
    return outline, parts


def skull_parts(spec: PhantomSpec) -> list[Part]:
    """Static parts of the head: cranium, skull base, facial bones, palate, upper teeth, sinuses."""
    rng = np.random.default_rng([spec.anatomy_seed, 4])

    def jitter(points: list[list[float]], sigma: float = 4) -> np.ndarray:
        return np.array(points, float) + rng.normal(0, sigma, (len(points), 2))

    vault = smooth_open(
        jitter(
            [
                [-12, -60],
                [20, -160],
                [150, -215],
                [330, -200],
                [470, -120],
                [505, -20],
                [480, 60],
                [420, 105],
                [350, 112],
                [300, 100],
            ],
            5,
        )
    )
    base = smooth_closed(
        jitter(
            [
                [90, 20],
                [180, 30],
                [240, 60],
                [300, 72],
                [350, 92],
                [330, 118],
                [285, 116],
                [240, 104],
                [200, 88],
                [120, 66],
            ],
            5,
        )
    )
    petrous = smooth_closed(jitter([[225, 20], [275, 0], [330, 30], [345, 75], [290, 100], [245, 80]], 6))
    brain = smooth_closed(
        jitter(
            [
                [0, -60],
                [60, -160],
                [220, -200],
                [400, -150],
                [480, -20],
                [430, 85],
                [330, 90],
                [230, 55],
                [110, 25],
                [20, 10],
            ],
            6,
        )
    )
    maxilla = smooth_closed(
        jitter([[6, 150], [16, 120], [70, 95], [140, 95], [165, 130], [160, 178], [90, 192], [20, 205]], 4)
    )
    zygoma = smooth_closed(jitter([[90, 70], [150, 75], [190, 90], [185, 108], [140, 120], [95, 110]], 4))
    palate = smooth_open(jitter([[8, 196], [60, 188], [110, 184], [150, 186]], 2))
    pterygoid = smooth_closed(jitter([[158, 110], [182, 108], [186, 160], [180, 200], [166, 196], [160, 150]], 3))
    styloid = smooth_open(jitter([[246, 104], [236, 150], [222, 196]], 4))
    mastoid = smooth_closed(jitter([[290, 90], [330, 95], [336, 140], [312, 158], [292, 130]], 5))
    k = rng.uniform(0.7, 1.3)
    parts = [
        Part(vault, "bone", 12 * k, line=rng.uniform(9, 16)),
        Part(brain, "bone", 8 * k, 26),
        Part(base, "bone", 15 * k, 9, 3),
        Part(petrous, "bone", 22 * k, 14, 3),
        Part(maxilla, "bone", 5 * k, 12, 2),
        Part(zygoma, "bone", 6 * k, 8, 3),
        Part(pterygoid, "bone", 4.5 * k, 4, 2),
        Part(mastoid, "bone", 8 * k, 8, 2),
        Part(palate, "bone", 10 * k, line=rng.uniform(3.5, 7)),
        Part(styloid, "bone", 3 * k, line=4),
        Part(
            smooth_closed(jitter([[40, 118], [110, 108], [140, 140], [120, 172], [48, 172]], 5)),
            "air",
            rng.uniform(18, 40),
            12,
        ),
        Part(
            smooth_closed(jitter([[-5, 40], [60, 25], [95, 60], [80, 98], [15, 98]], 5)), "air", rng.uniform(10, 28), 10
        ),
        Part(smooth_closed(jitter([[168, 42], [215, 52], [222, 86], [180, 84]], 4)), "air", rng.uniform(10, 30), 8),
    ]
    draw = np.random.default_rng([spec.anatomy_seed, 13])
    lift = draw.uniform(0, 45) * (draw.random() < 0.7)  # variable distance between C1 and skull base
    for part in parts:
        p = part.polygon
        p[:, 1] -= lift * smoothstep(p[:, 0], 150, 230) * smoothstep(-p[:, 1], -200, -120)
    for _ in range(rng.integers(4, 9)):  # superposition of the facial skeleton
        c = rng.uniform([10, 0], [330, 120])
        line = smooth_open(c + np.cumsum(rng.normal(0, 22, (5, 2)), 0))
        parts.append(Part(line, "bone", rng.uniform(2, 7), line=rng.uniform(3, 8)))
    necks = np.array([[10, 206], [60, 200], [100, 196], [138, 194]], float)
    parts += teeth_parts(rng, spec, necks, up=True) + restoration_parts(spec, necks, up=True) + overlap_parts(spec)
    if "earring" in spec.hardware:
        parts.append(Part(ellipse((rng.uniform(250, 300), rng.uniform(95, 150)), (9, 9)), "metal", 2.5, line=3))
    return parts


def shoulder_outline(spec: PhantomSpec) -> np.ndarray:
    """Outline of shoulders, chest and upper arms projected over the lower neck."""
    rng = np.random.default_rng([spec.anatomy_seed, 5])
    points = np.array(
        [
            [255, 620],
            [300, 560],
            [360, 512],
            [430, 468],
            [500, 446],
            [580, 440],
            [760, 470],
            [760, 800],
            [200, 800],
            [235, 690],
        ],
        float,
    )
    points[:7, 1] -= spec.shoulder
    points[2:5, 1] += rng.normal(0, 9, 3)
    return smooth_closed(points)

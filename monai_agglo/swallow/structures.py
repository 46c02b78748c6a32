"""Table of the structures and their labels.

The twelve target structures follow VFSS-5K (arXiv 2504.02351; ids and priors reconstructed from the authors' figures);
auxiliary structures, written by the phantom and optionally labelled by users, follow. The table order is the channel
order of the network, of mask files and of reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["AUXILIARY", "NAMES", "STRUCTURES", "TARGETS", "TARGET_NAMES", "Structure", "flatten", "index_of"]

SCT = "SCT"
PRIVATE = "99AGGLO"
"""Coding scheme of codes missing in pydicom's SNOMED CT tables ("99...": private, PS3.3 section 8.2)."""


@dataclass(frozen=True)
class Structure:
    """An anatomical structure or material to be segmented.

    Args:
        id: label value in a flattened label map, 1-based; 0 is background.
        name: identifier in configs, files and reports.
        title: display name.
        color: sRGB triplet, each 0..255.
        code: coded concept ``(value, scheme designator, meaning)``; scheme ``99AGGLO`` marks a private code.
        priority: of overlapping structures the one with the highest priority is kept in a flattened label map.
        auxiliary: structure beyond the twelve targets.
        scattered: structure with several components.
    """

    id: int
    name: str
    title: str
    color: tuple[int, int, int]
    code: tuple[str, str, str]
    priority: int
    auxiliary: bool = False
    scattered: bool = False


STRUCTURES: tuple[Structure, ...] = (
    Structure(1, "epiglottis", "Epiglottis", (255, 127, 14), ("epiglottis", PRIVATE, "Epiglottis"), 90),
    Structure(2, "mandible", "Mandible", (227, 119, 194), ("91609006", SCT, "Mandible"), 17),
    Structure(3, "c1", "C1 vertebra", (255, 221, 85), ("14806007", SCT, "C1 vertebra"), 16),
    Structure(4, "c2", "C2 vertebra", (44, 160, 44), ("39976000", SCT, "C2 vertebra"), 15),
    Structure(5, "c3", "C3 vertebra", (188, 189, 34), ("113205007", SCT, "C3 vertebra"), 14),
    Structure(6, "c4", "C4 vertebra", (31, 119, 180), ("5329002", SCT, "C4 vertebra"), 13),
    Structure(7, "c5", "C5 vertebra", (148, 103, 189), ("36978003", SCT, "C5 vertebra"), 12),
    Structure(8, "c6", "C6 vertebra", (140, 86, 75), ("36054005", SCT, "C6 vertebra"), 11),
    Structure(9, "c7", "C7 vertebra", (152, 223, 138), ("87391001", SCT, "C7 vertebra"), 10),
    # as in VFSS-5K: the airway below the laryngeal inlet, including the laryngeal vestibule
    Structure(10, "trachea", "Trachea", (23, 190, 207), ("44567001", SCT, "Trachea"), 80),
    Structure(11, "pharynx", "Pharynx", (174, 199, 232), ("54066008", SCT, "Pharynx"), 70),
    Structure(12, "bolus", "Bolus", (214, 39, 40), ("bolus", PRIVATE, "Swallowed bolus"), 100, scattered=True),
    Structure(13, "hyoid", "Hyoid bone", (255, 152, 150), ("21387005", SCT, "Hyoid bone"), 95, True),
    Structure(14, "valleculae", "Valleculae", (219, 219, 141), ("valleculae", PRIVATE, "Valleculae"), 75, True),
    Structure(
        15, "pyriform_sinuses", "Pyriform sinuses", (158, 218, 229), ("6217003", SCT, "pyriform sinus"), 74, True,
    ),
    Structure(
        16, "laryngeal_vestibule", "Laryngeal vestibule", (197, 176, 213),
        ("vestibule", PRIVATE, "Laryngeal vestibule"), 73, True,
    ),
    Structure(
        17, "ues", "Upper oesophageal sphincter", (196, 156, 148),
        ("ues", PRIVATE, "Upper oesophageal sphincter"), 72, True,
    ),
    Structure(18, "vocal_folds", "Vocal folds", (247, 182, 210), ("vocal-folds", PRIVATE, "Vocal folds"), 76, True),
)  # fmt: skip

TARGETS: tuple[Structure, ...] = tuple(s for s in STRUCTURES if not s.auxiliary)
AUXILIARY: tuple[Structure, ...] = tuple(s for s in STRUCTURES if s.auxiliary)
TARGET_NAMES: tuple[str, ...] = tuple(s.name for s in TARGETS)
NAMES: tuple[str, ...] = tuple(s.name for s in STRUCTURES)


def index_of(name: str) -> int:
    """Channel index (0-based) of a structure.

    Args:
        name: name of the structure.

    Returns:
        Its position in :data:`STRUCTURES`.

    Raises:
        ValueError: unknown structure; the message lists the known names.
    """
    try:
        return NAMES.index(name)
    except ValueError:
        raise ValueError(f"unknown structure {name!r}; known: {', '.join(NAMES)}") from None


def flatten(masks: np.ndarray, structures: Sequence[Structure] = TARGETS, axis: int = 0) -> np.ndarray:
    """Flatten overlapping masks into one label map by priority.

    Args:
        masks: binary masks with one channel per structure along ``axis``.
        structures: structures of the channels, in order.
        axis: the channel axis.

    Returns:
        uint8 label map of :attr:`Structure.id` without the channel axis; 0 is background.

    Raises:
        ValueError: the number of channels differs from the number of structures.
    """
    channels = np.moveaxis(np.asarray(masks), axis, 0)
    if len(channels) != len(structures):
        raise ValueError(f"{len(channels)} mask channels for {len(structures)} structures")
    labels = np.zeros(channels.shape[1:], np.uint8)
    for structure, mask in sorted(zip(structures, channels), key=lambda pair: pair[0].priority):
        labels[mask.astype(bool)] = structure.id
    return labels

from .parts import keep_main_parts
from .structures import AUXILIARY, NAMES, STRUCTURES, TARGET_NAMES, TARGETS, Structure, flatten, index_of

__all__ = [
    "AUXILIARY",
    "NAMES",
    "STRUCTURES",
    "TARGETS",
    "TARGET_NAMES",
    "Structure",
    "flatten",
    "index_of",
    "keep_main_parts",
]

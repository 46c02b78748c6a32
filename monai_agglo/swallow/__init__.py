from .definitions import DEFINITIONS, Definition
from .measure import measure
from .measurement import Measurement
from .norms import NO_RANGE, Reference, reference_for
from .parts import keep_main_parts
from .region import Region
from .results import COLUMNS, CineMeasures, measures_json, table_rows
from .scale import Scale, find_scale
from .structures import AUXILIARY, NAMES, STRUCTURES, TARGET_NAMES, TARGETS, Structure, flatten, index_of
from .timing import EVENTS
from .uncertainty import perturbed, with_spread

__all__ = [
    "AUXILIARY",
    "COLUMNS",
    "DEFINITIONS",
    "EVENTS",
    "NAMES",
    "NO_RANGE",
    "STRUCTURES",
    "TARGETS",
    "TARGET_NAMES",
    "CineMeasures",
    "Definition",
    "Measurement",
    "Reference",
    "Region",
    "Scale",
    "Structure",
    "find_scale",
    "flatten",
    "index_of",
    "keep_main_parts",
    "measure",
    "measures_json",
    "perturbed",
    "reference_for",
    "table_rows",
    "with_spread",
]

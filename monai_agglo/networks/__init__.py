from .cine_segmenter import CineSegmenter
from .light_decoder import LightDecoder
from .light_encoder import CORE_BACKBONES, LightEncoder, SeparableConv, parameter_groups
from .temporal_shift import TemporalShift

__all__ = [
    "CORE_BACKBONES",
    "CineSegmenter",
    "LightDecoder",
    "LightEncoder",
    "SeparableConv",
    "TemporalShift",
    "parameter_groups",
]

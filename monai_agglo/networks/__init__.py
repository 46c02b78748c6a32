from .bundle_networks import PromptNetwork, TeacherNetwork, bundle_network
from .cine_segmenter import CineSegmenter
from .light_decoder import LightDecoder
from .light_encoder import CORE_BACKBONES, LightEncoder, SeparableConv, parameter_groups
from .temporal_shift import TemporalShift

__all__ = [
    "CORE_BACKBONES",
    "CineSegmenter",
    "LightDecoder",
    "LightEncoder",
    "PromptNetwork",
    "SeparableConv",
    "TeacherNetwork",
    "TemporalShift",
    "bundle_network",
    "parameter_groups",
]

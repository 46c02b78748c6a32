from .alignment import student_affine, to_teacher_grid
from .bundle_networks import PromptNetwork, TeacherNetwork, bundle_network
from .cine_segmenter import CineSegmenter
from .light_decoder import LightDecoder
from .light_encoder import CORE_BACKBONES, LightEncoder, SeparableConv, parameter_groups
from .projectors import PROJECTORS, make_projector
from .student import StudentEncoder
from .student_file import load_encoder, read_student, write_student
from .student_for_sam import StudentForSam, StudentPromptNetwork
from .student_heads import StudentOutput, StudentWithHeads
from .temporal_shift import TemporalShift

__all__ = [
    "CORE_BACKBONES",
    "PROJECTORS",
    "CineSegmenter",
    "LightDecoder",
    "LightEncoder",
    "PromptNetwork",
    "SeparableConv",
    "StudentForSam",
    "StudentEncoder",
    "StudentOutput",
    "StudentPromptNetwork",
    "StudentWithHeads",
    "TeacherNetwork",
    "TemporalShift",
    "bundle_network",
    "load_encoder",
    "make_projector",
    "parameter_groups",
    "read_student",
    "student_affine",
    "to_teacher_grid",
    "write_student",
]

SplicedStudent = StudentForSam
"""Former name of :class:`StudentForSam`; valid for one release."""

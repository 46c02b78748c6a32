from .base import Teacher
from .checkpoint import CheckpointError, Layout, read_checkpoint
from .geometry import FrameGrid, TeacherFeatures, sample_on_frame
from .preprocess import FrameError
from .registry import TEACHERS, WeightsMissingError, create_teacher, find_weights, teacher_class, weights_folders
from .spec import TeacherSpec, WeightFile

__all__ = [
    "TEACHERS",
    "CheckpointError",
    "FrameError",
    "FrameGrid",
    "Layout",
    "Teacher",
    "TeacherFeatures",
    "TeacherSpec",
    "WeightFile",
    "WeightsMissingError",
    "create_teacher",
    "find_weights",
    "read_checkpoint",
    "sample_on_frame",
    "teacher_class",
    "weights_folders",
]

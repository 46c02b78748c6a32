from .dataset import make_dataset
from .spec import PhantomSpec, SwallowSpec
from .study import StudyPaths, choose_frames, write_study
from .study_model import PhantomStudy

__all__ = [
    "PhantomSpec",
    "PhantomStudy",
    "StudyPaths",
    "SwallowSpec",
    "choose_frames",
    "make_dataset",
    "write_study",
]

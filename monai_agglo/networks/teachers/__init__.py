"""Teachers: frozen vision encoders with their own preprocessing and published weights.

Names load on first use.
"""

from monai_agglo import lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "base": ["Teacher"],
        "checkpoint": ["CheckpointError", "Layout", "read_checkpoint"],
        "geometry": ["FrameGrid", "TeacherFeatures", "sample_on_frame"],
        "preprocess": ["FrameError"],
        "registry": [
            "TEACHERS",
            "WeightsMissingError",
            "create_teacher",
            "find_weights",
            "teacher_class",
            "weights_folders",
        ],
        "spec": ["TeacherSpec", "WeightFile"],
    },
)

"""The student, the segmenter, and the networks of the teachers.

Names load on first use.
"""

from monai_agglo import lazy

_names, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "alignment": ["student_affine", "to_teacher_grid"],
        "bundle_networks": ["PromptNetwork", "TeacherNetwork", "bundle_network"],
        "cine_segmenter": ["CineSegmenter"],
        "light_decoder": ["LightDecoder"],
        "light_encoder": ["CORE_BACKBONES", "LightEncoder", "SeparableConv", "parameter_groups"],
        "projectors": ["PROJECTORS", "make_projector"],
        "student_for_sam": ["StudentForSam", "StudentPromptNetwork"],
        "student": ["StudentEncoder"],
        "student_file": ["load_encoder", "load_student", "read_student", "write_student"],
        "student_heads": ["StudentOutput", "StudentWithHeads"],
        "temporal_shift": ["TemporalShift"],
    },
)


def __getattr__(name: str):
    """``SplicedStudent``, the former name of :class:`StudentForSam`, is valid for one release."""
    return _names("StudentForSam" if name == "SplicedStudent" else name)

"""The student, the segmenter, and the networks of the teachers.

Names load on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "alignment": ["fit_frames", "student_affine", "to_teacher_grid"],
        "bundle_networks": ["PromptNetwork", "TeacherNetwork", "bundle_network"],
        "cine_segmenter": ["CineSegmenter"],
        "light_decoder": ["LightDecoder"],
        "light_encoder": ["CORE_BACKBONES", "LightEncoder", "SeparableConv", "parameter_groups"],
        "projectors": ["PROJECTORS", "make_projector"],
        "spliced_student": ["SplicedStudent", "StudentPromptNetwork"],
        "student": ["StudentEncoder"],
        "student_file": ["load_encoder", "load_student", "read_student", "write_student"],
        "student_heads": ["StudentOutput", "StudentWithHeads"],
        "temporal_shift": ["TemporalShift"],
    },
)

"""Distillation of several teachers into one light encoder, and probes of the students.

Names load on first use.
"""

from monai_agglo import lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "student_probe": ["probe_student"],
        "publish_student": ["ship_student"],
    },
)

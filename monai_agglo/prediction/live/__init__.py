"""Segmentation of frames as they arrive: a growing file, a pipe, a folder that fills, a video device.

Names load on first use.
"""

from monai_agglo import lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "run": ["FollowReport", "follow"],
    },
)

"""Segmentation of cines: one, thousands, or one that is still being recorded.

Names load on first use.
"""

from monai_agglo import lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "live": ["FollowReport", "follow"],
        "many": ["ManyReport", "predict_many"],
        "mask_store": ["MaskStore"],
        "run": ["CaseResult", "PredictReport", "predict"],
        "segmenter": ["BundleError", "SegmentedFrame", "Segmenter"],
    },
)

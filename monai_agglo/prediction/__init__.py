"""Segmentation of cines: one, thousands, or one that is still being recorded.

Names load on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "follow": ["FollowReport", "follow"],
        "many": ["ManyReport", "predict_many"],
        "mask_store": ["MaskStore"],
        "run": ["CaseResult", "PredictReport", "predict"],
        "segmenter": ["BundleError", "Segmenter"],
    },
)

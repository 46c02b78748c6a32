"""Teacher features, computed once and cached on disk.

Names load on first use.
"""

from monai_agglo import lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "build": ["build_feature_cache"],
        "cache": ["FeatureCache", "TeacherStatistics"],
        "command": ["CacheReport", "build_cache", "describe_cache"],
        "dataset": ["FeatureCacheDataset"],
        "frames": ["frame_hash"],
        "store": ["FeatureCacheError"],
        "view": ["FeatureView"],
    },
)

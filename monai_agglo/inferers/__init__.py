from .cine_inferer import AutocastInferer, CineInferer
from .feature_inferer import CachedFeatureInferer

__all__ = ["AutocastInferer", "CachedFeatureInferer", "CineInferer"]

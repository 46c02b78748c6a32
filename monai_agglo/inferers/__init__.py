from .cine_inferer import AutocastInferer, CineInferer
from .feature_inferer import CachedFeatureInferer
from .student_inferer import StudentFeatureInferer

__all__ = ["AutocastInferer", "CachedFeatureInferer", "CineInferer", "StudentFeatureInferer"]

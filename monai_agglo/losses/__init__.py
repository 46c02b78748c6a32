from .feature import FeatureLoss
from .structure_loss import StructureLoss
from .targets import TargetNormalizer

__all__ = ["FeatureLoss", "StructureLoss", "TargetNormalizer"]

from .agglomeration import AgglomerationLoss, AgglomerationResult, TargetSpace, check_teacher_set
from .balancers import BALANCERS, Balancer, BalancerContext, make_balancer
from .feature import FeatureLoss
from .structure_loss import StructureLoss
from .targets import TargetNormalizer

__all__ = [
    "BALANCERS",
    "AgglomerationLoss",
    "AgglomerationResult",
    "Balancer",
    "BalancerContext",
    "FeatureLoss",
    "StructureLoss",
    "TargetNormalizer",
    "TargetSpace",
    "check_teacher_set",
    "make_balancer",
]

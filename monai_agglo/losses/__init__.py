"""Losses of the distillation and of the segmentation.

Names load on first use.
"""

from monai_agglo import lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "agglomeration": ["AgglomerationLoss", "AgglomerationResult", "TargetSpace", "check_teacher_set"],
        "balancers": ["BALANCERS", "Balancer", "BalancerContext", "make_balancer"],
        "feature": ["FeatureLoss"],
        "structure_loss": ["StructureLoss"],
        "targets": ["TargetNormalizer"],
    },
)

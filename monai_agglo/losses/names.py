"""Names of balancers and of target normalisations, to check before anything heavy is imported."""

from __future__ import annotations

__all__ = ["BALANCER_CLASSES", "KINDS", "TARGETS", "check_balancer_name", "check_targets_name"]

BALANCER_CLASSES: dict[str, str] = {
    "single": "single:SingleTeacher",
    "equal": "equal:EqualWeights",
    "fixed": "fixed:FixedWeights",
    "mlp": "mlp:MLPBalancer",
    "attention": "attention:AttentionBalancer",
    "image_attention": "attention:ImageAttentionBalancer",
    "adaloss": "adaloss:AdaLossBalancer",
    "uncertainty": "uncertainty:UncertaintyBalancer",
    "dwa": "dwa:DWABalancer",
    "random": "random:RandomWeights",
    "famo": "famo:FAMOBalancer",
    "tchebycheff": "tchebycheff:TchebycheffBalancer",
    "gradnorm": "gradnorm:GradNormBalancer",
    "dropping": "dropping:TeacherDropping",
}
"""Balancer by name: ``module:Class`` in :mod:`monai_agglo.losses.balancers`."""

KINDS = ("identity", "standardise", "phi_s")
"""Normalisations with fixed statistics, see :class:`~.targets.TargetNormalizer`."""

TARGETS = (*KINDS, "running")
"""All normalisations of a distillation's targets, see :class:`~.agglomeration.TargetSpace`."""


def check_balancer_name(name: str) -> None:
    """Refuse an unknown balancer.

    Raises:
        ValueError: with the names there are.
    """
    if name not in BALANCER_CLASSES:
        raise ValueError(f"there is no balancer {name!r}: choose one of {', '.join(BALANCER_CLASSES)}")


def check_targets_name(kind: str) -> None:
    """Refuse an unknown normalisation of targets.

    Raises:
        ValueError: with the names there are.
    """
    if kind not in TARGETS:
        raise ValueError(f"unknown normalisation of targets {kind!r}; known are {', '.join(TARGETS)}")

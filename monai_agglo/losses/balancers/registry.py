"""Balancers by name."""

from __future__ import annotations

import inspect
from typing import Any

from .adaloss import AdaLossBalancer
from .attention import AttentionBalancer, ImageAttentionBalancer
from .base import Balancer
from .dropping import TeacherDropping
from .dwa import DWABalancer
from .equal import EqualWeights
from .famo import FAMOBalancer
from .fixed import FixedWeights
from .gradnorm import GradNormBalancer
from .mlp import MLPBalancer
from .random import RandomWeights
from .single import SingleTeacher
from .tchebycheff import TchebycheffBalancer
from .uncertainty import UncertaintyBalancer

__all__ = ["BALANCERS", "make_balancer"]

BALANCERS: dict[str, type[Balancer]] = {
    "single": SingleTeacher,
    "equal": EqualWeights,
    "fixed": FixedWeights,
    "mlp": MLPBalancer,
    "attention": AttentionBalancer,
    "image_attention": ImageAttentionBalancer,
    "adaloss": AdaLossBalancer,
    "uncertainty": UncertaintyBalancer,
    "dwa": DWABalancer,
    "random": RandomWeights,
    "famo": FAMOBalancer,
    "tchebycheff": TchebycheffBalancer,
    "gradnorm": GradNormBalancer,
    "dropping": TeacherDropping,
}


def make_balancer(name: str, n_teachers: int, **options: Any) -> Balancer:
    """Make a balancer.

    Args:
        name: a key of :data:`BALANCERS`.
        n_teachers: T.
        **options: of its class.

    Returns:
        The balancer.

    Raises:
        ValueError: for an unknown name, an unknown or missing option, or one out of range.
    """
    if name not in BALANCERS:
        raise ValueError(f"there is no balancer {name!r}: choose one of {', '.join(BALANCERS)}")
    kind = BALANCERS[name]
    try:
        inspect.signature(kind).bind(n_teachers, **options)
    except TypeError as error:
        raise ValueError(f"balancer {name}: {error}; see the options of {kind.__name__}") from None
    return kind(n_teachers, **options)

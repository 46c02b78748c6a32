"""Balancers: how the losses of several teachers become one. One file each, one interface, see :class:`Balancer`."""

from .adaloss import AdaLossBalancer
from .attention import AttentionBalancer, ImageAttentionBalancer
from .base import Balance, Balancer, BalancerContext, Weighting
from .dropping import TeacherDropping
from .dwa import DWABalancer
from .equal import EqualWeights
from .famo import FAMOBalancer
from .fixed import FixedWeights
from .gradnorm import GradNormBalancer
from .mlp import MLPBalancer
from .random import RandomWeights
from .registry import BALANCERS, make_balancer
from .single import SingleTeacher
from .tchebycheff import TchebycheffBalancer
from .uncertainty import UncertaintyBalancer

__all__ = [
    "BALANCERS",
    "AdaLossBalancer",
    "AttentionBalancer",
    "Balance",
    "Balancer",
    "BalancerContext",
    "DWABalancer",
    "EqualWeights",
    "FAMOBalancer",
    "FixedWeights",
    "GradNormBalancer",
    "ImageAttentionBalancer",
    "MLPBalancer",
    "RandomWeights",
    "SingleTeacher",
    "TchebycheffBalancer",
    "TeacherDropping",
    "UncertaintyBalancer",
    "Weighting",
    "make_balancer",
]

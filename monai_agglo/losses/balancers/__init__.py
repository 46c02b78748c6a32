"""Balancers: how the losses of several teachers become one. One file each, one interface, see :class:`Balancer`.

Names load on first use.
"""

from monai_agglo import lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "adaloss": ["AdaLossBalancer"],
        "attention": ["AttentionBalancer", "ImageAttentionBalancer"],
        "base": ["Balance", "Balancer", "BalancerContext", "Weighting"],
        "dropping": ["TeacherDropping"],
        "dwa": ["DWABalancer"],
        "equal": ["EqualWeights"],
        "famo": ["FAMOBalancer"],
        "fixed": ["FixedWeights"],
        "gradnorm": ["GradNormBalancer"],
        "mlp": ["MLPBalancer"],
        "random": ["RandomWeights"],
        "registry": ["BALANCERS", "make_balancer"],
        "single": ["SingleTeacher"],
        "tchebycheff": ["TchebycheffBalancer"],
        "uncertainty": ["UncertaintyBalancer"],
    },
)

"""Thousands of cines on many processes or computers: a local pool, or Ray.

Names load on first use.
"""

from monai_agglo import lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "run": ["ManyReport", "predict_many"],
    },
)

"""Thousands of cines on many processes or computers: a local pool, or Ray.

Names load on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "run": ["ManyReport", "predict_many"],
    },
)

"""Networks in the forms that other programs run, each compared with PyTorch before it is kept.

Names load on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "run": ["Exported", "export"],
        "student": ["export_student"],
    },
)

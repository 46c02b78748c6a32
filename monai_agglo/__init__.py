"""Light encoders distilled from large medical ones, and the segmentation of swallowing studies with them.

Names load on first use: ``import monai_agglo`` imports nothing heavy.
"""

from monai_agglo import lazy

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "monai_agglo.distill.agglomerate": ["agglomerate"],
        "monai_agglo.networks.student_file": ["load_student"],
        "monai_agglo.prediction.run": ["predict"],
        "monai_agglo.reporting.run": ["report"],
    },
)
__all__ += ["__version__"]

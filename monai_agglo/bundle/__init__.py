"""Tools for bundles: search, checks, packing, export, weights and published results.

Names load on first use.
"""

from monai_agglo import lazy

from .doctor import Check, doctor
from .pack import pack

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "calibrate_view": ["calibrate_view_check"],
        "cines": ["ensure_cine", "readable_cines"],
        "dataset": ["ensure_dataset"],
        "exports": ["Exported", "export", "export_student"],
        "monai_agglo.locate": ["bundle_folders", "find_bundle"],
        "moved": ["refuse_flag"],
        "prompts": ["with_prompts"],
        "results": ["publish"],
        "weights": ["WeightStatus", "fill_model", "get_and_fill", "get_weights", "weights_status", "weights_table"],
    },
)
__all__ += ["Check", "doctor", "pack"]

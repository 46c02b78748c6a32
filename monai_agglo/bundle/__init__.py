from monai_agglo.bundle.export.student import export_student

from .cines import ensure_cine, readable_cines
from .dataset import ensure_dataset
from .doctor import Check, doctor
from .locate import bundle_folders, find_bundle
from .pack import pack
from .prompts import with_prompts
from .results import publish

__all__ = [
    "Check",
    "bundle_folders",
    "doctor",
    "ensure_cine",
    "ensure_dataset",
    "export_student",
    "find_bundle",
    "pack",
    "publish",
    "readable_cines",
    "with_prompts",
]

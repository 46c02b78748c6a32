"""Agglomerated light encoders for videofluoroscopic swallowing studies, as MONAI bundles."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

FACE = {
    "agglomerate": "monai_agglo.distill.agglomerate",
    "load_student": "monai_agglo.networks.student_file",
}
"""Functions of the package's face and their modules, which load on first use."""


def __getattr__(name: str) -> Any:
    if name not in FACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(FACE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *FACE})

"""Agglomerated light encoders for videofluoroscopic swallowing studies, as MONAI bundles."""

__version__ = "0.1.0"

from .cine_inferer import AutocastInferer, CineInferer

__all__ = ["AutocastInferer", "CineInferer"]

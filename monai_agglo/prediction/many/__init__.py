"""Thousands of cines on many processes or computers: a local pool, or Ray."""

from .run import ManyReport, predict_many

__all__ = ["ManyReport", "predict_many"]

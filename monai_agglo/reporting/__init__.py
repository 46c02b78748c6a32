"""The report: one self-contained page per cine, with the tables beside it."""

from .corrections import Corrections, SwallowCorrection, read_corrections
from .index_page import write_index
from .run import ReportCase, ReportRun, report

__all__ = [
    "Corrections",
    "ReportCase",
    "ReportRun",
    "SwallowCorrection",
    "read_corrections",
    "report",
    "write_index",
]

"""The report: one self-contained page per cine, with its tables.

Names are imported on first use.
"""

from monai_agglo import lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "corrections": ["Corrections", "SwallowCorrection", "read_corrections"],
        "index_page": ["write_index"],
        "case_measures": ["measure_case"],
        "run": ["ReportCase", "ReportRun", "report"],
    },
)

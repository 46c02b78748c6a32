"""The report: one self-contained page per cine, with its tables.

Names are imported on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "corrections": ["Corrections", "SwallowCorrection", "read_corrections"],
        "index_page": ["write_index"],
        "measure_case": ["measure_case"],
        "run": ["ReportCase", "ReportRun", "report"],
    },
)

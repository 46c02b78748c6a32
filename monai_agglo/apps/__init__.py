"""Jobs a person runs. Names load on first use: what needs no network answers at once."""

from importlib import import_module

_MODULES = {
    "monai_agglo.bundle.calibrate_view": ("calibrate_view_check",),
    "monai_agglo.cine.datalist": (
        "DatalistReport",
        "make_datalist",
    ),
    "monai_agglo.dicom.deidentification": (
        "DeidentifyReport",
        "deidentify",
    ),
    "monai_agglo.bundle.export.run": (
        "Exported",
        "export",
    ),
    "monai_agglo.data.feature_cache.command": (
        "CacheReport",
        "build_cache",
        "describe_cache",
    ),
    "monai_agglo.prediction.follow": (
        "FollowReport",
        "follow",
    ),
    "monai_agglo.cine.info": ("describe",),
    "monai_agglo.prediction.run": (
        "CaseResult",
        "PredictReport",
        "predict",
    ),
    "monai_agglo.reporting": (
        "ReportCase",
        "ReportRun",
        "report",
    ),
    "monai_agglo.prediction.many": (
        "ManyReport",
        "predict_many",
    ),
    "monai_agglo.distill.publish_student": ("ship_student",),
    "monai_agglo.distill.probe_student": ("probe_student",),
    "monai_agglo.bundle.weights": (
        "WeightStatus",
        "fill_model",
        "get_and_fill",
        "get_weights",
        "weights_status",
        "weights_table",
    ),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

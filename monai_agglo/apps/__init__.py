"""Old names: what was ``monai_agglo.apps`` lies in rooms of its own. They stay valid for one release.

Configs and scripts name ``monai_agglo.apps.sources.find_cases`` and the like; each works and warns with the new name.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from monai_agglo.lazy import warn_moved

_MOVED = {
    "calibrate_view": "bundle.calibrate_view",
    "datalist": "cine.datalist",
    "deidentification": "dicom.deidentification",
    "distillation": "distill.run",
    "distillation_data": "distill.data",
    "distillation_decoder": "distill.decoder",
    "distillation_probe": "distill.segmentation_probe",
    "exporting": "bundle",
    "feature_cache": "data.feature_cache",
    "following": "prediction",
    "info": "cine.info",
    "measure": "reporting.case_measures",
    "outputs": "outputs",
    "pacs": "pacs",
    "prediction": "prediction",
    "record": "prediction.record",
    "reporting": "reporting",
    "scale_out": "prediction.many",
    "segmenter": "prediction.segmenter",
    "serve": "node",
    "shipping": "distill",
    "sources": "cine",
    "student_probe": "distill.student_probe",
    "view_check": "prediction.view_check",
    "weights": "bundle.weights",
}


class _Moved(ModuleType):
    """A module that has another name now."""

    def __init__(self, name: str, home: str) -> None:
        super().__init__(name)
        self.__dict__.update(_home=f"monai_agglo.{home}", __path__=[])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = getattr(import_module(self._home), name)
        warn_moved(f"{self.__name__}.{name}", f"{self._home}.{name}")
        return found


for _old, _home in _MOVED.items():
    sys.modules[f"{__name__}.{_old}"] = globals()[_old] = _Moved(f"{__name__}.{_old}", _home)


def __getattr__(name: str) -> Any:
    for home in ("cine", "dicom", "prediction", "reporting", "distill", "bundle", "data.feature_cache"):
        room = import_module(f"monai_agglo.{home}")
        if name in room.__all__:
            warn_moved(f"{__name__}.{name}", f"{room.__name__}.{name}")
            return getattr(room, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

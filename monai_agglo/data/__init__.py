"""MONAI readers, transforms and data sets of cines.

Names load on first use.
"""

from importlib import import_module
from typing import Any

from monai_agglo import lazy

_own, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "augment_fluoroscopy": ["RandFluoroscopyd"],
        "augment_geometry": ["RandCineGeometryd"],
        "cine_frames_source": ["CineFrames"],
        "cine_masks": ["LoadCineMasksd"],
        "cine_reader": ["CineDicomReader", "CineReader", "CineVideoReader"],
        "datalist": ["describe_datalist", "load_datalist"],
        "feature_cache": [
            "FeatureCache",
            "FeatureCacheDataset",
            "FeatureCacheError",
            "FeatureView",
            "TeacherStatistics",
            "build_feature_cache",
            "frame_hash",
        ],
        "flatten_structures": ["FlattenStructuresd"],
        "frame_dataset": ["CineFrameDataset"],
        "guidance": ["AddPromptGuidanced"],
        "pca_picture": ["pca_colours", "write_pca_picture"],
        "pseudonymize": ["PseudonymizeMetad"],
        "samplers": ["EpochBatchSampler", "ShareSampler", "StepBatchSampler"],
        "save_features": ["SaveFeaturesd"],
        "save_overlay": ["SaveOverlayd"],
        "save_pca_picture": ["SavePcaPictured"],
        "student_dataset": ["StudentFrameDataset", "fit_to_square"],
        "transforms": ["FitFramesd", "PackCined", "ScaleCineIntensityd", "UnpackCined"],
    },
)

_MOVED = {
    "cine": (
        "Cine",
        "CineReadError",
        "blank_outside",
        "find_field",
        "open_cine",
        "pack_masks",
        "pseudonym",
        "read_cine_masks",
        "unpack_masks",
    ),
    "dicom": ("ResultSource", "SrRecord", "read_seg", "write_overlay_dicom", "write_seg", "write_sr"),
    "pictures": ("draw_overlay", "write_contact_sheet", "write_overlay_video"),
    "prediction": ("MaskStore",),
}
"""Names that moved to another package; they stay valid here for one release."""


def __getattr__(name: str) -> Any:
    home = next((f"monai_agglo.{room}" for room, names in _MOVED.items() if name in names), None)
    if home is None:
        return _own(name)
    lazy.warn_moved(f"{__name__}.{name}", f"{home}.{name}")
    return getattr(import_module(home), name)

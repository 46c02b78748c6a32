"""Readers, transforms and data sets of cines.

Names load on first use: MONAI and torch take many seconds to import, and to open a cine or make a phantom neither is
needed.
"""

from importlib import import_module

_MODULES = {
    ".augment_fluoroscopy": ("RandFluoroscopyd",),
    ".augment_geometry": ("RandCineGeometryd",),
    "monai_agglo.cine.cine": (
        "Cine",
        "open_cine",
    ),
    "monai_agglo.cine.errors": ("CineReadError",),
    ".cine_frames_source": ("CineFrames",),
    ".cine_masks": (
        "LoadCineMasksd",
        "pack_masks",
        "read_cine_masks",
        "unpack_masks",
    ),
    ".cine_reader": (
        "CineDicomReader",
        "CineReader",
        "CineVideoReader",
    ),
    "monai_agglo.pictures.contact_sheet": ("write_contact_sheet",),
    ".datalist": (
        "describe_datalist",
        "load_datalist",
    ),
    "monai_agglo.data.feature_cache.cache": (
        "FeatureCache",
        "TeacherStatistics",
    ),
    "monai_agglo.data.feature_cache.build": ("build_feature_cache",),
    "monai_agglo.data.feature_cache.dataset": ("FeatureCacheDataset",),
    "monai_agglo.data.feature_cache.errors": ("FeatureCacheError",),
    "monai_agglo.data.feature_cache.frames": ("frame_hash",),
    "monai_agglo.data.feature_cache.view": ("FeatureView",),
    ".flatten_structures": ("FlattenStructuresd",),
    ".frame_dataset": ("CineFrameDataset",),
    ".guidance": ("AddPromptGuidanced",),
    "monai_agglo.cine.identity": ("pseudonym",),
    "monai_agglo.prediction.mask_store": ("MaskStore",),
    "monai_agglo.cine.exposed_field": (
        "blank_outside",
        "find_field",
    ),
    "monai_agglo.pictures.overlay": (
        "draw_overlay",
        "write_overlay_video",
    ),
    "monai_agglo.dicom.overlay": ("write_overlay_dicom",),
    ".pca_picture": (
        "pca_colours",
        "write_pca_picture",
    ),
    ".pseudonymize": ("PseudonymizeMetad",),
    "monai_agglo.dicom.result_source": ("ResultSource",),
    ".samplers": (
        "EpochBatchSampler",
        "ShareSampler",
    ),
    ".save_features": ("SaveFeaturesd",),
    ".save_overlay": ("SaveOverlayd",),
    ".save_pca_picture": ("SavePcaPictured",),
    ".student_dataset": (
        "StudentFrameDataset",
        "fit_to_square",
    ),
    "monai_agglo.dicom.seg_reader": ("read_seg",),
    "monai_agglo.dicom.seg_writer": ("write_seg",),
    "monai_agglo.dicom.sr_writer": (
        "SrRecord",
        "write_sr",
    ),
    ".transforms": (
        "FitFramesd",
        "PackCined",
        "ScaleCineIntensityd",
        "UnpackCined",
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

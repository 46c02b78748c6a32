"""Results as DICOM (segmentation, structured report, overlay), and de-identified copies of cines.

Names are imported on first use.
"""

from monai_agglo import lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "deidentification": ["DeidentifyReport", "deidentify"],
        "overlay": ["write_overlay_dicom"],
        "result_source": ["ResultSource"],
        "seg_reader": ["read_seg"],
        "seg_writer": ["write_seg"],
        "sr_writer": ["SrRecord", "write_sr"],
    },
)

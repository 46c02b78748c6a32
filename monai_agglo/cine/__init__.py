"""Cines from DICOM, video, NIfTI, NRRD and stills: frames, frame times, spacing, polarity, pseudonyms, masks.

Names are imported on first use.
"""

from monai_agglo import lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "cine": ["Cine", "open_cine"],
        "datalist": ["DatalistReport", "make_datalist"],
        "errors": ["CineReadError"],
        "exposed_field": ["blank_outside", "find_field"],
        "identity": ["pseudonym"],
        "info": ["describe"],
        "intensity": ["exposed_range", "resize_plane"],
        "masks": ["pack_masks", "read_cine_masks", "unpack_masks"],
        "search": ["Case", "find_cases"],
    },
)

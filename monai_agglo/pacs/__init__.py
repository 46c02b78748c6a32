"""Client of a PACS: query, fetch and send, over DICOMweb and DIMSE.

Names are imported on first use.
"""

from monai_agglo import lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "commands": ["DimseAddress", "fetch", "parse_pacs", "send"],
        "web": ["DicomWeb"],
    },
)

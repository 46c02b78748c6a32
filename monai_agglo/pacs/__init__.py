"""Client of a PACS: query, fetch and send, over DICOMweb and DIMSE.

Names are imported on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "commands": ["DimseAddress", "fetch", "parse_pacs", "send"],
        "web": ["DicomWeb"],
    },
)

"""A DICOM node that segments the cines it receives: ``python -m monai_agglo serve``.

Names load on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["ConfigError", "Limits", "Peer", "Retry", "ServeConfig", "Tls", "read_config"],
        "service": ["Service", "serve"],
    },
)

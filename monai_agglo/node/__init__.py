"""A DICOM node that segments received cines: ``python -m monai_agglo serve``.

Names are imported on first use.
"""

from monai_agglo import lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "config": ["ConfigError", "Limits", "Peer", "Retry", "ServeConfig", "Tls", "read_config"],
        "service": ["Service", "serve"],
    },
)

"""A DICOM node that segments what it is sent: ``python -m monai_agglo serve``."""

from .config import ConfigError, Limits, Peer, Retry, ServeConfig, Tls, read_config
from .service import Service, serve

__all__ = ["ConfigError", "Limits", "Peer", "Retry", "ServeConfig", "Service", "Tls", "read_config", "serve"]

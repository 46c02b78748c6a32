"""A PACS as the other side: fetch cines from it, give results back, ask what it has."""

from .commands import DimseAddress, fetch, parse_pacs, send
from .web import DicomWeb

__all__ = ["DicomWeb", "DimseAddress", "fetch", "parse_pacs", "send"]

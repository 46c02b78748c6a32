from .cine import Cine, open_cine
from .cine_errors import CineReadError
from .cine_reader import CineDicomReader, CineReader, CineVideoReader
from .identity import pseudonym
from .pseudonymize import PseudonymizeMetad

__all__ = [
    "Cine",
    "CineDicomReader",
    "CineReadError",
    "CineReader",
    "CineVideoReader",
    "PseudonymizeMetad",
    "open_cine",
    "pseudonym",
]

"""Where the elements of a DICOM file begin, and how they are written where the file does not say.

The standard wants 128 bytes, "DICM" and a meta group that names the transfer syntax. Old workstations and raw dumps
leave out one or all of them.
"""

from __future__ import annotations

import struct

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
HEAD_BYTES = 1024  # enough to tell by

_SHORT = frozenset([b"AE", b"CS", b"DA", b"DT", b"LO", b"SH", b"TM", b"UI", b"UL", b"OB"])  # what may come first
_LAST = 0x0070  # a data set begins with one of the first elements of group 0008
_LONGEST = 256


def find_start(head: bytes) -> int | None:
    """Where the first element lies.

    Args:
        head: the first :data:`HEAD_BYTES` of a file, or all of a shorter one.

    Returns:
        132 behind a preamble, 0 for a file that begins with its elements, None for one that is not DICOM.
    """
    if head[128:132] == b"DICM":
        return 132
    meta = head[:2] == b"\x02\0" and head[3:4] == b"\0" and head[4:6] in (b"UL", b"OB", b"UI")
    return 0 if meta or guess_syntax(head) else None


def guess_syntax(head: bytes) -> str | None:
    """How an uncompressed data set is written, from its first two elements.

    Args:
        head: its first bytes.

    Returns:
        The transfer syntax UID, None where this is no beginning of a data set.
    """
    for syntax in (EXPLICIT_LITTLE, EXPLICIT_BIG, IMPLICIT_LITTLE):
        first = _element(head, syntax)
        second = _element(head[first[1] :], syntax) if first else None
        if first and second and first[0] < second[0]:
            return syntax
    return None


def _element(head: bytes, syntax: str) -> tuple[int, int] | None:
    """Number and size in bytes of an element of group 0008 with a short value; None for anything else."""
    if len(head) < 8:
        return None
    order = ">" if syntax == EXPLICIT_BIG else "<"
    group, number = struct.unpack(order + "HH", head[:4])
    if syntax == IMPLICIT_LITTLE:
        length = struct.unpack("<L", head[4:8])[0]
    elif head[4:6] in _SHORT:
        length = struct.unpack(order + "H", head[6:8])[0]
    else:
        return None
    return (number, 8 + length) if group == 0x0008 and number <= _LAST and length <= _LONGEST else None

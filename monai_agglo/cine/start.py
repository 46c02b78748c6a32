"""Start of the data elements of a DICOM file, and its encoding where the file does not state it.

The standard requires a preamble of 128 bytes, "DICM", and a meta group with the transfer syntax. Old workstations and
raw dumps omit some or all of them.
"""

from __future__ import annotations

import struct

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
HEAD_BYTES = 1024  # bytes needed for detection

_SHORT = frozenset([b"AE", b"CS", b"DA", b"DT", b"LO", b"SH", b"TM", b"UI", b"UL", b"OB"])  # VRs of first elements
_LAST = 0x0070  # a data set begins with an element up to (0008,0070)
_LONGEST = 256  # bytes


def find_start(head: bytes) -> int | None:
    """Offset of the first data element.

    Args:
        head: the first :data:`HEAD_BYTES` bytes of a file, or all of a shorter one.

    Returns:
        132 after a preamble, 0 without one, None if the file is not DICOM.
    """
    if head[128:132] == b"DICM":
        return 132
    meta = head[:2] == b"\x02\0" and head[3:4] == b"\0" and head[4:6] in (b"UL", b"OB", b"UI")
    return 0 if meta or guess_syntax(head) else None


def guess_syntax(head: bytes) -> str | None:
    """Detect the transfer syntax of an uncompressed data set from its first two elements.

    Args:
        head: its first bytes.

    Returns:
        The transfer syntax UID, None if the bytes do not begin a data set.
    """
    for syntax in (EXPLICIT_LITTLE, EXPLICIT_BIG, IMPLICIT_LITTLE):
        first = _element(head, syntax)
        second = _element(head[first[1] :], syntax) if first else None
        if first and second and first[0] < second[0]:
            return syntax
    return None


def _element(head: bytes, syntax: str) -> tuple[int, int] | None:
    """Number and size in bytes of an element of group 0008 with a short value, otherwise None."""
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

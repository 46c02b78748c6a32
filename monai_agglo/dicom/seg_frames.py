"""Per-frame functional groups of a segmentation, encoded directly (explicit VR).

A cine of 300 frames has 3000 items that differ in a few numbers; pydicom takes 2 ms per item and leaves cyclic garbage.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from .result_source import ResultSource

__all__ = ["frame_item"]

_LONG = (b"SQ", b"OB", b"UN")


def frame_item(source: ResultSource, frame: int, segment: int | None, part: int = 1, geometry: bool = False) -> bytes:
    """Encode the functional groups of one segmentation frame: derivation, content, plane position and segment.

    Args:
        source: the cine.
        frame: 0-based frame of the cine.
        segment: segment number; None in a label map.
        part: 1-based index along the segment dimension.
        geometry: add an (invented) plane position.

    Returns:
        The item of the Per-Frame Functional Groups Sequence, with its item tag.
    """
    kind, uid, number = source.reference(frame)
    image = [
        _element(0x00081150, b"UI", kind.encode("ascii")),
        _element(0x00081155, b"UI", uid.encode("ascii")),
        _element(0x00081160, b"IS", b"%d" % number) if number is not None else b"",
        _element(0x0028135A, b"CS", b"YES"),  # Spatial Locations Preserved
        _code(0x0040A170, b"121322", b"DCM", b"Source image for image processing operation"),
    ]
    derived = _sequence(0x00082112, b"".join(image)) + _code(0x00089215, b"113076", b"DCM", b"Segmentation")
    index = (frame + 1,) if segment is None else (part, frame + 1)
    content = _element(0x00209128, b"UL", struct.pack("<L", frame + 1))  # Temporal Position Index
    content += _element(0x00209157, b"UL", struct.pack(f"<{len(index)}L", *index))  # Dimension Index Values
    groups = _sequence(0x00089124, derived) + _sequence(0x00209111, content)
    if geometry:
        groups += _sequence(0x00209113, _element(0x00200032, b"DS", b"0\\0\\%d" % frame))
    if segment is not None:
        groups += _sequence(0x0062000A, _element(0x0062000B, b"US", struct.pack("<H", segment)))
    return _item(groups)


@lru_cache(maxsize=8)
def _code(tag: int, value: bytes, scheme: bytes, meaning: bytes) -> bytes:
    item = (
        _element(0x00080100, b"SH", value) + _element(0x00080102, b"SH", scheme) + _element(0x00080104, b"LO", meaning)
    )
    return _sequence(tag, item)


def _element(tag: int, vr: bytes, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if vr == b"UI" else b" "
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    return head + (struct.pack("<HL", 0, len(value)) if vr in _LONG else struct.pack("<H", len(value))) + value


def _sequence(tag: int, content: bytes) -> bytes:
    """A sequence of one item."""
    return _element(tag, b"SQ", _item(content))


def _item(content: bytes) -> bytes:
    return struct.pack("<HHL", 0xFFFE, 0xE000, len(content)) + content

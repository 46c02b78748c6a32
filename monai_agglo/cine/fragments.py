"""Offsets of the frames of encapsulated pixel data, found without reading the frames."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from typing import Any

from .errors import MAX_ITEMS, fail
from .header import DicomHeader, value

_ITEM = b"\xfe\xff\x00\xe0"
_END = b"\xfe\xff\xdd\xe0"
_CODESTREAM_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP")

Span = tuple[int, int]  # offset in the file, length in bytes


def list_fragments(header: DicomHeader, shown: object) -> tuple[list[int], list[Span]]:
    """List the items of encapsulated pixel data.

    Args:
        header: header of a file with an encapsulated transfer syntax.
        shown: path shown in error messages.

    Returns:
        The basic offset table (may be empty) and the span of every fragment.

    Raises:
        CineReadError: the items are damaged or truncated.
    """
    end = header.file_size if header.length is None else min(header.file_size, header.offset + header.length)
    fragments: list[Span] = []
    table: list[int] = []
    with open(header.path, "rb") as file:
        position = header.offset
        first = True
        while True:
            file.seek(position)
            head = file.read(8)
            if len(head) < 8 or position + 8 > end or head[:4] == _END:
                break
            if head[:4] != _ITEM:
                raise fail(shown, f"the compressed pixel data are damaged after fragment {len(fragments)}")
            length = struct.unpack("<L", head[4:])[0]
            if position + 8 + length > end:
                raise fail(shown, f"the file is cut off inside fragment {len(fragments) + 1} of its pixel data")
            if first:
                if length % 4 == 0 and length <= 4 * MAX_ITEMS:
                    table = list(struct.unpack(f"<{length // 4}L", file.read(length)))
            elif length:
                fragments.append((position + 8, length))
                if len(fragments) > MAX_ITEMS:
                    raise fail(shown, f"the pixel data have more than {MAX_ITEMS} fragments")
            first = False
            position += 8 + length
            if length & 1:  # the standard pads to even; some writers do not count the padding, some do not pad
                file.seek(position)
                position += file.read(4) not in (_ITEM, _END)
    if not fragments:
        raise fail(shown, "the compressed pixel data are empty")
    return table, fragments


def group_frames(header: DicomHeader, frames: int, shown: object) -> list[list[Span]]:
    """Group the fragments by frame.

    Args:
        header: the file's header.
        frames: value of NumberOfFrames.
        shown: path shown in error messages.

    Returns:
        One list of spans per frame.

    Raises:
        CineReadError: the pixel data contain another number of frames.
    """
    table, fragments = list_fragments(header, shown)
    extended = _extended_table(header, frames)
    for offsets in (extended, table):
        groups = _by_offsets(offsets, fragments) if len(offsets) == frames else None
        if groups is not None and not (len(fragments) > frames and _hides_frames(header, groups)):
            return groups
    if len(fragments) < frames:
        raise fail(shown, f"NumberOfFrames is {frames} but the pixel data hold {len(fragments)}")
    if len(fragments) == frames:
        return [[span] for span in fragments]
    starts = _starts(header, fragments)
    if len(starts) == frames and starts[0] == 0:
        return [fragments[begin:end] for begin, end in zip(starts, [*starts[1:], len(fragments)])]
    if frames == 1 and len(starts) <= 1 and header.syntax != "1.2.840.10008.1.2.5":
        return [fragments]
    held = len(starts) or len(fragments)
    raise fail(shown, f"NumberOfFrames is {frames} but the pixel data hold {held}")


def read_spans(file: Any, spans: Sequence[Span]) -> bytes:
    """Read the codestream of a frame.

    Args:
        file: the open DICOM file.
        spans: the frame's fragments.

    Returns:
        The joined fragments.
    """
    parts = []
    for offset, length in spans:
        file.seek(offset)
        parts.append(file.read(length))
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _by_offsets(offsets: Sequence[int], fragments: list[Span]) -> list[list[Span]] | None:
    """Fragments grouped by an offset table; None if the table does not match the items."""
    base = fragments[0][0] - 8
    index = {span[0] - 8 - base: number for number, span in enumerate(fragments)}
    starts = [index.get(offset, -1) for offset in offsets]
    if not starts or starts[0] != 0 or any(b <= a for a, b in itertools.pairwise(starts)):
        return None
    return [fragments[begin:end] for begin, end in zip(starts, [*starts[1:], len(fragments)])]


def _extended_table(header: DicomHeader, frames: int) -> list[int]:
    raw = value(header.dataset, "ExtendedOffsetTable")
    if not isinstance(raw, bytes) or len(raw) != 8 * frames:
        return []
    return list(struct.unpack(f"<{frames}Q", raw))


def _starts(header: DicomHeader, fragments: list[Span]) -> list[int]:
    """Indices of the fragments that begin a codestream."""
    found = []
    with open(header.path, "rb") as file:
        for number, (offset, _) in enumerate(fragments):
            file.seek(offset)
            if file.read(8).startswith(_CODESTREAM_STARTS):
                found.append(number)
    return found


def _hides_frames(header: DicomHeader, groups: list[list[Span]]) -> bool:
    """Whether a frame of several fragments contains a second codestream: table and NumberOfFrames are both wrong."""
    return any(_starts(header, spans[1:]) for spans in groups if len(spans) > 1)

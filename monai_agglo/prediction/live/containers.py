"""End markers of video containers, found in their bytes."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["is_finished", "needs_its_end", "unread_frame"]

Bytes = Callable[[int, int], bytes]
"""Gives bytes of the stream from an offset and a count."""

_SEGMENT, _CUES, _TAGS, _CLUSTER = b"\x18\x53\x80\x67", b"\x1c\x53\xbb\x6b", b"\x12\x54\xc3\x67", b"\x1f\x43\xb6\x75"
PACKET = 188
"""Bytes of a packet of an MPEG transport stream."""
_LARGEST_HEADER = 64
"""A Matroska block's header, and what may follow its frame within a block group, is shorter than this."""


def is_finished(container: str, tail: Bytes, total: int) -> bool:
    """Whether the writer of a file has finished it: containers carry their length once it is known.

    Args:
        container: PyAV's name of the format.
        tail: gives bytes of the file.
        total: its length in bytes.

    Returns:
        False where the format has no such mark, too.
    """
    if container == "avi":
        head = tail(0, 8)
        return len(head) == 8 and int.from_bytes(head[4:], "little") + 8 in (total, total - 1)
    if container == "matroska":
        head = tail(0, 4096)
        at = head.find(_SEGMENT)
        if at < 0 or at + 12 > len(head):
            return False
        first = head[at + 4]
        length = 9 - first.bit_length()
        if first == 0 or length > 8:
            return False
        size = int.from_bytes(head[at + 4 : at + 4 + length], "big") & ((1 << 7 * length) - 1)
        return at + 4 + length + size == total
    end = tail(max(0, total - 4), 4)
    return (container == "mpegvideo" and end == b"\0\0\1\xb7") or (container == "mpeg" and end == b"\0\0\1\xb9")


def needs_its_end(head: bytes) -> bool:
    """Whether a MOV or MP4 has its index behind the pictures, so that nobody can read it before it is finished.

    Args:
        head: its first bytes.
    """
    at = 0
    while at + 8 <= len(head):
        size, kind = int.from_bytes(head[at : at + 4], "big"), head[at + 4 : at + 8]
        if kind in (b"moov", b"moof"):
            return False
        if kind == b"mdat" or size < 8:
            return True
        at += size
    return False


def unread_frame(container: str, begin: int, end: int, pid: int, tail: Bytes, total: int) -> bool:
    """Whether a frame had begun after the last one that was read: some demuxers drop an unfinished one silently.

    Args:
        container: PyAV's name of the format.
        begin: offset at which the last frame that was read begins.
        end: offset at which it ends, at the latest.
        pid: packet identifier of the pictures in an MPEG transport stream.
        tail: gives bytes of the stream.
        total: how many there were.
    """
    if container == "mpegts":
        if total % PACKET:
            return True
        for at in range(begin - begin % PACKET + PACKET, total, PACKET):
            head = tail(at, 3)
            if len(head) < 3 or (head[1] & 0x40 and (head[1] & 0x1F) << 8 | head[2] == pid):
                return True
        return False
    rest = total - end
    if container != "matroska" or rest <= 0:
        return False
    following = tail(end, _LARGEST_HEADER)
    if any(mark in following for mark in (_CUES, _TAGS)):
        return False
    return rest > _LARGEST_HEADER or _CLUSTER in following

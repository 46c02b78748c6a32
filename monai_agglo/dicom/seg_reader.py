"""Read masks of a cine from a DICOM Segmentation, also after editing in a viewer."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from monai_agglo.cine.errors import CineReadError, check_size, fail
from monai_agglo.cine.header import is_dicom, items, number, numbers, quiet_pydicom, read_header, text
from monai_agglo.swallow import TARGETS, Structure

from .deidentify_uid import remap_uid
from .result_source import ResultSource

__all__ = ["read_seg"]

logger = logging.getLogger(__name__)

_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
_MAX_BYTES = 16 << 30


def read_seg(
    path: str | os.PathLike,
    source: ResultSource | str | os.PathLike | Sequence[str | os.PathLike] | None = None,
    structures: Sequence[Structure] = TARGETS,
    *,
    frames: int | None = None,
) -> np.ndarray:
    """Read the masks in a DICOM Segmentation of a cine.

    Segments are identified by their code, otherwise by tracking id or label, so that they may be renumbered. Frames are
    assigned by their reference to a frame (or instance) of the cine, or without references by the plane positions of
    our invented geometry.

    Args:
        path: the segmentation: BINARY, FRACTIONAL (threshold 0.5) or LABELMAP.
        source: the cine, with or without identity, that the segmentation must refer to; None to skip the check.
        structures: structures of the returned channels, in order; a structure without a segment is empty.
        frames: number of frames of the cine; by default that of ``source``, otherwise the last referenced frame.

    Returns:
        (H, W, T, S) uint8, 0 or 1.

    Raises:
        CineReadError: the file is not a segmentation, belongs to another cine, or is inconsistent with it.
    """
    if source is not None and not isinstance(source, ResultSource):
        source = ResultSource.read(source)
    header = _header(path)
    rows, columns = int(header.Rows), int(header.Columns)
    if source is not None and (rows, columns) != (int(source.header.Rows), int(source.header.Columns)):
        size = f"{int(source.header.Rows)} x {int(source.header.Columns)}"
        raise fail(path, f"it has {rows} x {columns} pixels, the cine {size}")
    channels = _channels(header, structures, path)
    places = _places(header, source, path)
    wanted = frames or (source.frames if source is not None else 0)
    total = wanted or max(place for place, _ in places) + 1
    outside = [place for place, _ in places if not 0 <= place < total]
    if outside:
        raise fail(path, f"it refers to frame {outside[0] + 1} of a cine of {total} frames")
    check_size(path, rows, columns, total)
    if rows * columns * total * len(structures) > _MAX_BYTES:
        raise fail(path, f"its masks take more than {_MAX_BYTES >> 30} GB")
    masks = np.zeros((total, len(structures), rows, columns), np.uint8)
    _fill(masks, path, header, channels, places)
    return masks.transpose(2, 3, 0, 1)


def _header(path: str | os.PathLike) -> Dataset:
    if not os.path.isfile(path):
        raise fail(path, "there is no such file")
    if not is_dicom(path):
        raise fail(path, "it is not a DICOM file")
    try:
        with quiet_pydicom():
            header = dcmread(path, stop_before_pixels=True)
    except Exception as error:
        raise fail(path, f"the DICOM header is damaged ({type(error).__name__})") from None
    if text(header, "SOPClassUID") not in _CLASSES:
        raise fail(path, "it is not a DICOM Segmentation")
    sizes = [int(number(header, keyword) or 0) for keyword in ("Rows", "Columns", "NumberOfFrames")]
    check_size(path, sizes[0], sizes[1], min(sizes[2], 1))
    if sizes[2] != len(items(header, "PerFrameFunctionalGroupsSequence")):
        raise fail(path, "NumberOfFrames differs from the number of its functional groups")
    return header


def _channels(header: Dataset, structures: Sequence[Structure], path: object) -> dict[int, int]:
    """Channel of each segment number."""
    found: dict[int, int] = {}
    for segment in items(header, "SegmentSequence"):
        codes = {
            (text(c, "CodeValue"), text(c, "CodingSchemeDesignator"))
            for c in items(segment, "SegmentedPropertyTypeCodeSequence")
        }
        names = {text(segment, keyword).lower() for keyword in ("TrackingID", "SegmentLabel", "SegmentDescription")}
        channel = next((i for i, s in enumerate(structures) if s.code[:2] in codes), None)
        if channel is None:
            channel = next((i for i, s in enumerate(structures) if names & {s.name, s.title.lower()}), None)
        if channel is None:
            # the label is free text and not logged
            logger.warning("a segment does not match any of the requested structures and is ignored")
            continue
        found[int(number(segment, "SegmentNumber") or 0)] = channel
    if not found:
        raise fail(path, f"no segment matches any of: {', '.join(s.name for s in structures)}")
    return found


def _places(header: Dataset, source: ResultSource | None, path: object) -> list[tuple[int, int | None]]:
    """0-based frame of the cine, and segment number (None in a label map), of each frame of the segmentation."""
    known: dict[str, int] = {}
    if source is not None:
        uids = zip(source.originals, (uid for _, uid in source.instances))
        known = {name: i for i, both in enumerate(uids) for name in (*both, remap_uid(both[0]))}
        series = len(source.instances) > 1
    else:
        listed = [
            text(item, "ReferencedSOPInstanceUID")
            for group in items(header, "ReferencedSeriesSequence")
            for item in items(group, "ReferencedInstanceSequence")
        ]
        known = {uid: i for i, uid in enumerate(listed)}
        series = len(listed) > 1
    found = []
    for item in items(header, "PerFrameFunctionalGroupsSequence"):
        segment = next((int(number(s, "ReferencedSegmentNumber") or 0)
                        for s in items(item, "SegmentIdentificationSequence")), None)  # fmt: skip
        references = [
            image
            for derived in items(item, "DerivationImageSequence")
            for image in items(derived, "SourceImageSequence")
        ]
        if not references:
            found.append((_by_position(header, item, source, path), segment))
            continue
        uid, counted = text(references[0], "ReferencedSOPInstanceUID"), number(references[0], "ReferencedFrameNumber")
        if known and uid not in known:
            raise fail(path, "it belongs to another cine (its frames refer to an instance outside of this one)")
        found.append((known.get(uid, 0) if series else int(counted or 1) - 1, segment))
    return found


def _by_position(header: Dataset, item: Dataset, source: ResultSource | None, path: object) -> int:
    """Frame of the cine by the plane position of our invented geometry."""
    ours = source is not None and text(header, "FrameOfReferenceUID") in {
        remap_uid(f"invented for {uid}") for uid in (source.instances[0][1], source.originals[0])
    }
    shared = items(header, "SharedFunctionalGroupsSequence")
    axes = next((numbers(o, "ImageOrientationPatient") for group in (item, *shared)
                 for o in items(group, "PlaneOrientationSequence")), [])  # fmt: skip
    place = next((numbers(p, "ImagePositionPatient") for p in items(item, "PlanePositionSequence")), [])
    if not ours or not np.allclose(axes or [0], [1, 0, 0, 0, 1, 0]) or len(place) != 3 or any(place[:2]):
        raise fail(path, "its frames do not refer to frames of the cine")
    return round(place[2])


def _fill(
    masks: np.ndarray,
    path: str | os.PathLike,
    header: Dataset,
    channels: dict[int, int],
    places: list[tuple[int, int | None]],
) -> None:
    cut = 0.5
    if text(header, "SegmentationType") == "FRACTIONAL":
        cut = 0.5 * (number(header, "MaximumFractionalValue") or 255)
    count = 0
    try:
        with quiet_pydicom():
            for (place, segment), pixels in zip(places, _frames(path, header)):
                count += 1
                if segment is None:
                    for value, channel in channels.items():
                        masks[place, channel] |= pixels == value
                elif segment in channels:
                    masks[place, channels[segment]] |= pixels > cut if cut == 0.5 else pixels >= cut
    except Exception as error:  # decoders raise any type
        raise fail(path, f"its pixels cannot be decoded ({type(error).__name__})") from None
    if count != len(places):
        raise CineReadError(f"{path}: it is cut off: {count} of {len(places)} frames are present")


def _frames(path: str | os.PathLike, header: Dataset) -> Iterator[np.ndarray]:
    """Frames of the segmentation, (H, W), one at a time."""
    from pydicom.pixels import iter_pixels

    if header.BitsAllocated != 1 or header.file_meta.TransferSyntaxUID.is_encapsulated:
        yield from iter_pixels(path, raw=True)
        return
    # pydicom's iterator (3.0) does not support single-bit frames that start within a byte.
    rows, columns = int(header.Rows), int(header.Columns)
    size, pixels = rows * columns, read_header(path)
    with pixels.open() as file:
        for frame in range(int(header.NumberOfFrames)):
            first, lead = divmod(frame * size, 8)
            count = -(-(lead + size) // 8)
            file.seek(pixels.offset + first)
            data = file.read(min(count, (pixels.length or 0) - first))
            if len(data) < count:
                return
            bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
            yield bits[lead : lead + size].reshape(rows, columns)

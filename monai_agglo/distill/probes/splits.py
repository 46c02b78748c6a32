"""Parts of a task by patient: the same on every computer, whatever order the files come in."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence

__all__ = ["PARTS", "check_leakage", "split"]

PARTS = ("train", "val", "test")


def split(
    task: str, sources: Sequence[str], seed: int = 0, test: float = 0.3, val: float = 0.2, least: int = 2
) -> list[str]:
    """Give every image a part; images of one source go together.

    Sources are ordered by a hash of seed, task and name. In this order they go to the test part, then to the validation
    part, as long as they fit into its share of the images; the rest is for training.

    Args:
        task: its name.
        sources: per image its patient or original.
        seed: another one gives another split.
        test: share of the images, rounded up.
        val: share of the images, rounded up.
        least: sources in each of test and validation.

    Returns:
        Per image ``train``, ``val`` or ``test``.

    Raises:
        ValueError: if there are too few sources for three parts.
    """
    counts = Counter(sources)
    if len(counts) < 2 * least + 1:
        raise ValueError(f"{task}: {len(counts)} sources are too few for three parts of at least {least}")
    order = sorted(counts, key=lambda source: hashlib.sha256(f"{seed}|{task}|{source}".encode()).hexdigest())
    part_of: dict[str, str] = {}
    for part, share, others in (("test", test, least + 1), ("val", val, 1)):  # others: sources the next parts need
        room = math.ceil(share * len(sources))
        free = [source for source in order if source not in part_of]
        for source in free:
            if counts[source] <= room and len(order) - len(part_of) > others:
                part_of[source] = part
                room -= counts[source]
        # Where the sources are too large for the share, the smallest are taken all the same.
        for source in sorted(free, key=lambda source: counts[source]):
            if list(part_of.values()).count(part) >= least:
                break
            part_of.setdefault(source, part)
    part_of = {source: part_of.get(source, "train") for source in order}
    return [part_of[source] for source in sources]


def check_leakage(task: str, sources: Sequence[str], parts: Sequence[str]) -> None:
    """Make sure that no source is in two parts.

    Raises:
        ValueError: naming the first that is.
    """
    first: dict[str, str] = {}
    for source, part in zip(sources, parts):
        if first.setdefault(source, part) != part:
            raise ValueError(f"{task}: source {source} is in {first[source]} and in {part}")

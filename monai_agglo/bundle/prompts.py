"""Prompts of the command line, for every image of a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["with_prompts"]


def with_prompts(items: Iterable[dict[str, Any]], **prompts: Any) -> list[dict[str, Any]]:
    """Add prompts to items; None and empty prompts are omitted because MONAI cannot collate None.

    Args:
        items: items of a data set.
        prompts: ``box``, ``foreground``, ``background`` and ``frame``, see
            :class:`monai_agglo.data.AddPromptGuidanced`.

    Returns:
        Copies of the items with the prompts.
    """
    given = {key: value for key, value in prompts.items() if value is not None and value != []}
    return [{**item, **given} for item in items]

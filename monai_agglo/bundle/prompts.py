"""Prompts of the command line, given to every image of a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["with_prompts"]


def with_prompts(items: Iterable[dict[str, Any]], **prompts: Any) -> list[dict[str, Any]]:
    """Add prompts to items; those that are None or empty are left out, because MONAI cannot batch None.

    Args:
        items: what a data set is made of.
        prompts: ``box``, ``foreground``, ``background`` and ``frame``, see
            :class:`monai_agglo.data.AddPromptGuidanced`.

    Returns:
        Copies of the items with the prompts.
    """
    given = {key: value for key, value in prompts.items() if value is not None and value != []}
    return [{**item, **given} for item in items]

"""What a cine is taken for: a lateral swallow study, a frontal one, something else, or not examined."""

from __future__ import annotations

from typing import Any

__all__ = ["verdict_of"]


def verdict_of(record: dict[str, Any], view: str | None = None) -> dict[str, str]:
    """The verdict on a cine.

    Args:
        record: the content of ``predict.json``.
        view: ``lateral`` or ``ap`` where the user knows better; None takes the record's.

    Returns:
        ``kind``: ``lateral``, ``ap``, ``other`` (does not look like lateral VFSS) or ``unknown`` (not examined);
        ``headline`` and ``text``, in words.
    """
    check = record.get("view")
    if view == "lateral":
        return _verdict("lateral", "Lateral swallow study", "The user says that this is a lateral view.")
    stated = record["source"].get("view")
    if view == "ap" or (view is None and stated == "ap"):
        who = "The user" if view == "ap" else "The file"
        text = f"{who} says that this is a frontal (AP) view. Lateral measures do not apply, so none were taken."
        return _verdict("ap", "Frontal (AP) view: no lateral measures", text)
    if check is None:
        if stated == "lateral":
            return _verdict("lateral", "Lateral swallow study", "The file says that this is a lateral view.")
        text = (
            "The model has no view check and the file does not name the view, so no lateral measures were taken. "
            "If you know that it is lateral, say --view lateral."
        )
        return _verdict("unknown", "Not known to be a lateral swallow study", text)
    if not check["looks_like_lateral_vfss"]:
        text = (
            f"It is not taken for a swallow: {check['reason'] or 'the anatomy of a lateral neck was not found'}. No "
            "lateral measures were taken, and the masks of the network are not shown: they mean nothing here."
        )
        return _verdict("other", "This does not look like a lateral swallow study", text)
    return _verdict("lateral", "Lateral swallow study", "")


def _verdict(kind: str, headline: str, text: str) -> dict[str, str]:
    return {"kind": kind, "headline": headline, "text": text}

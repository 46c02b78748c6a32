"""Verdict on a cine: lateral swallow study, frontal view, something else, or not examined."""

from __future__ import annotations

from typing import Any

__all__ = ["verdict_of"]


def verdict_of(record: dict[str, Any], view: str | None = None) -> dict[str, str]:
    """Verdict on a cine.

    Args:
        record: content of ``predict.json``.
        view: ``lateral`` or ``ap`` as stated by the user; None for the view of the record.

    Returns:
        ``kind``: ``lateral``, ``ap``, ``other`` (does not look like lateral VFSS) or ``unknown`` (not examined);
        ``headline`` and ``text`` for display.
    """
    check = record.get("view")
    if view == "lateral":
        return _verdict("lateral", "Lateral swallow study", "Stated by the user as a lateral view.")
    stated = record["source"].get("view")
    if view == "ap" or (view is None and stated == "ap"):
        who = "the user" if view == "ap" else "the file"
        text = f"Stated by {who} as a frontal (AP) view. Lateral measures do not apply, so none were taken."
        return _verdict("ap", "Frontal (AP) view: no lateral measures", text)
    if check is None:
        if stated == "lateral":
            return _verdict("lateral", "Lateral swallow study", "Stated by the file as a lateral view.")
        text = (
            "The model has no view check and the file does not state the view, so no lateral measures were taken. "
            "If the view is lateral, add --view lateral."
        )
        return _verdict("unknown", "Not confirmed as a lateral swallow study", text)
    if not check["looks_like_lateral_vfss"]:
        text = (
            f"Rejected by the view check: {check['reason'] or 'the anatomy of a lateral neck was not found'}. No "
            "lateral measures were taken, and the masks of the network are not shown: they are meaningless here."
        )
        return _verdict("other", "This does not look like a lateral swallow study", text)
    return _verdict("lateral", "Lateral swallow study", "")


def _verdict(kind: str, headline: str, text: str) -> dict[str, str]:
    return {"kind": kind, "headline": headline, "text": text}

"""Latency of every frame, and the few numbers that a person wants to know of it."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Latencies"]


class Latencies:
    """Milliseconds from the last byte of a frame to its masks. Eight bytes a frame; frames of a cine are limited."""

    def __init__(self) -> None:
        self._values: list[float] = []

    def add(self, milliseconds: float | None) -> None:
        """Note a frame; None for one that lay there before the start, which says nothing about latency."""
        self._values.append(float("nan") if milliseconds is None else milliseconds)

    @property
    def last(self) -> float | None:
        """That of the last frame."""
        return None if not self._values or np.isnan(self._values[-1]) else self._values[-1]

    def summary(self) -> dict[str, Any]:
        """``measured_frames``, and ``median``, ``p95`` and ``worst`` in milliseconds (None without any)."""
        values = np.array(self._values)
        values = values[~np.isnan(values)]
        found = [float(v) for v in np.percentile(values, [50, 95, 100])] if values.size else [None] * 3
        rounded = [None if v is None else round(v, 2) for v in found]
        return {"measured_frames": int(values.size), **dict(zip(("median", "p95", "worst"), rounded))}

    def per_frame(self) -> list[float | None]:
        """Every frame's, None where it says nothing."""
        return [None if np.isnan(value) else round(value, 2) for value in self._values]

    def __str__(self) -> str:
        known = self.summary()
        if not known["measured_frames"]:
            return "no latency yet"
        last = f"{self.last:.0f}" if self.last is not None else "-"
        return f"latency {last} ms, median {known['median']:.0f}, p95 {known['p95']:.0f}, worst {known['worst']:.0f}"

"""One measured value with everything that belongs to it: unit, uncertainty, reference range, or why there is none."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from .norms import NO_RANGE, Reference

__all__ = ["Measurement"]


@dataclass(frozen=True)
class Measurement:
    """A measure of a swallow.

    Args:
        name: key of :data:`~monai_agglo.swallow.definitions.DEFINITIONS`.
        value: the number; nan when it could not be measured, and then ``reason`` says why.
        unit: ``"s"``, ``"%C2-4"``, ``"%(C2-4)^2"``, ``"ratio"``, ``"deg"``, ``"%"``, ``"px"``, ``"mm"``, ``"frames"``.
        uncertainty: standard deviation over perturbed or repeated masks, in ``unit``; nan when that was not done.
        plus_minus: half width that the frame rate alone gives a time: one frame, s; nan for what is no time.
        frames: 0-based frames that the value was taken from.
        reason: why there is no value; empty when there is one.
        note: what the reader must know of the value; empty when there is nothing.
        reference: reference range in words; ``"no range"`` when none was found.
        outside: whether the value lies outside the reference range; None without value or range.
        source: where the range comes from; empty without range.
    """

    name: str
    value: float
    unit: str
    uncertainty: float = float("nan")
    plus_minus: float = float("nan")
    frames: tuple[int, ...] = ()
    reason: str = ""
    note: str = ""
    reference: str = NO_RANGE
    outside: bool | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if math.isnan(self.value) != bool(self.reason):
            raise ValueError(f"{self.name}: a measurement has either a value or a reason, not {self.value!r} with both")

    @classmethod
    def none(cls, name: str, unit: str, reason: str) -> Measurement:
        """A measure that could not be taken.

        Args:
            name, unit: of the measure.
            reason: why, one sentence.
        """
        return cls(name, float("nan"), unit, reason=reason)

    @property
    def measured(self) -> bool:
        """Whether there is a value."""
        return not self.reason

    def with_reference(self, reference: Reference | None) -> Measurement:
        """The same with a reference range beside it."""
        if reference is None:
            return self
        outside = reference.outside(self.value) if self.measured else None
        return dataclasses.replace(self, reference=reference.text, outside=outside, source=reference.source)

    def with_uncertainty(self, uncertainty: float) -> Measurement:
        """The same with the spread over repeats."""
        return dataclasses.replace(self, uncertainty=float(uncertainty))

    def to_json(self) -> dict[str, Any]:
        """JSON-able built-ins; nan becomes null."""
        content = dataclasses.asdict(self)
        content["frames"] = list(self.frames)
        for key in ("value", "uncertainty", "plus_minus"):
            content[key] = None if not math.isfinite(content[key]) else float(content[key])
        return content

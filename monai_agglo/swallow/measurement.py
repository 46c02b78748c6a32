"""A measured value with unit, uncertainty and reference range, or the reason of a missing value."""

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
        value: the value; nan if it could not be measured.
        unit: ``"s"``, ``"%C2-4"``, ``"%(C2-4)^2"``, ``"ratio"``, ``"deg"``, ``"%"``, ``"px"``, ``"mm"``, ``"frames"``.
        uncertainty: root mean square difference to perturbed or repeated masks, in ``unit``; nan if not computed.
        plus_minus: uncertainty of a time due to the frame rate (one frame) in seconds; nan for other measures.
        frames: 0-based frames of the measurement.
        reason: why there is no value; otherwise empty.
        note: remark for the reader; may be empty.
        reference: reference range as text, ``"no range"`` without one.
        outside: whether the value is outside the reference range; None without value or range.
        source: source of the range; empty without one.
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
            raise ValueError(
                f"{self.name}: a measurement has either a value or a reason, not {self.value!r} and {self.reason!r}"
            )

    @classmethod
    def none(cls, name: str, unit: str, reason: str) -> Measurement:
        """A measurement without a value.

        Args:
            name: name of the measure.
            unit: unit of the measure.
            reason: why there is no value, one sentence.
        """
        return cls(name, float("nan"), unit, reason=reason)

    @property
    def measured(self) -> bool:
        """Whether there is a value."""
        return not self.reason

    def with_reference(self, reference: Reference | None) -> Measurement:
        """A copy with a reference range."""
        if reference is None:
            return self
        outside = reference.outside(self.value) if self.measured else None
        return dataclasses.replace(self, reference=reference.text, outside=outside, source=reference.source)

    def with_uncertainty(self, uncertainty: float) -> Measurement:
        """A copy with an uncertainty."""
        return dataclasses.replace(self, uncertainty=float(uncertainty))

    def to_json(self) -> dict[str, Any]:
        """JSON-serialisable content with nan as None."""
        content = dataclasses.asdict(self)
        content["frames"] = list(self.frames)
        for key in ("value", "uncertainty", "plus_minus"):
            content[key] = None if not math.isfinite(content[key]) else float(content[key])
        return content

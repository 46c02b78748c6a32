"""Pictures that are no lateral VFSS, drawn from numbers: what the view check learns to refuse without anybody's data.

They share with medical pictures what a network could fall for: bodies and bones of soft outline, rows of blocks, fans
of speckle, circular fields, noise of every grain. Frontal (AP) swallow views come from the phantom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.random import Generator

__all__ = ["KINDS", "other_pictures"]


def _clouds(rng: Generator, side: int, grain: float | None = None) -> np.ndarray:
    """Noise of one grain, (side, side) float32 in 0..1."""
    cells = int(side / (grain or 2 ** rng.uniform(1, 7.5))) + 2
    noise = cv2.resize(rng.random((cells, cells), np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(noise, 0, 1)


def _ellipse(rng: Generator, picture: np.ndarray, center: tuple[float, float], radii: tuple[float, float]) -> None:
    """Fill an ellipse with a random grey."""
    cv2.ellipse(
        picture, tuple(map(round, center)), tuple(max(1, round(r)) for r in radii), float(rng.uniform(0, 180)),
        0, 360, float(rng.uniform(0, 1)), -1, cv2.LINE_AA,
    )  # fmt: skip


def _noise(rng: Generator, side: int) -> np.ndarray:
    """Clouds of two grains."""
    return 0.5 * _clouds(rng, side) + 0.5 * _clouds(rng, side)


def _slice(rng: Generator, side: int) -> np.ndarray:
    """A cross-section: an outline on black with organs and bright bones in it."""
    picture = np.zeros((side, side), np.float32)
    middle, radii = (side / 2, side / 2), (side * rng.uniform(0.28, 0.46), side * rng.uniform(0.25, 0.42))
    cv2.ellipse(picture, tuple(map(round, middle)), tuple(map(round, radii)), 0, 0, 360, 0.45, -1, cv2.LINE_AA)
    body = picture > 0
    for _ in range(rng.integers(5, 25)):
        _ellipse(rng, picture, rng.normal(side / 2, side / 7, 2), side * rng.uniform(0.01, 0.16, 2))
    return cv2.GaussianBlur(picture * body, (0, 0), rng.uniform(0.5, 4))


def _fan(rng: Generator, side: int) -> np.ndarray:
    """Speckle in a fan or a box, brighter in layers, as ultrasound shows it."""
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    angle, depth = np.arctan2(x - 0.5, y + 0.15), np.hypot(x - 0.5, y + 0.15)
    inside = (np.abs(angle) < rng.uniform(0.4, 0.8)) & (depth < 1.1) if rng.random() < 0.5 else x > 0.05
    layers = 0.4 + 0.4 * np.sin(depth * rng.uniform(8, 40) + 3 * _clouds(rng, side, side / 4))
    speckle = rng.exponential(1, (side, side)).astype(np.float32) * _clouds(rng, side, side / 6)
    return np.clip(cv2.GaussianBlur(speckle, (0, 0), rng.uniform(0.7, 2.5)) * layers, 0, 1.5) * inside


def _chest(rng: Generator, side: int) -> np.ndarray:
    """A trunk from the front: two dark fields, a bright column with a grid of blocks, and ribs."""
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    picture = 0.7 - 0.2 * np.abs(x - 0.5)
    for sign in (-1, 1):
        cx = 0.5 + sign * rng.uniform(0.18, 0.25)
        lung = ((x - cx) / rng.uniform(0.12, 0.18)) ** 2 + ((y - rng.uniform(0.42, 0.55)) / rng.uniform(0.28, 0.4)) ** 2
        picture -= 0.45 / (1 + np.exp(np.minimum(10 * (lung - 1), 50)))
    spine = np.exp(-(((x - 0.5) / rng.uniform(0.03, 0.07)) ** 2))
    picture += 0.25 * spine * (1 + 0.5 * np.sin(y * rng.uniform(50, 130)))
    picture += (
        rng.uniform(0, 0.15) * np.sin((y + 0.5 * np.abs(x - 0.5)) * rng.uniform(60, 110)) * (np.abs(x - 0.5) > 0.1)
    )
    return picture


def _vessels(rng: Generator, side: int) -> np.ndarray:
    """Dark branching lines on a soft ground."""
    picture = 0.4 + 0.4 * _clouds(rng, side, side / rng.uniform(2, 5))
    for _ in range(rng.integers(4, 14)):
        walk = np.cumsum(rng.normal(0, 1, (40, 2)) + rng.normal(0, 1.5, 2), axis=0) * side / 60
        points = (walk + rng.uniform(0, side, 2)).round().astype(np.int32)
        dark = float(rng.uniform(0, 0.35))
        cv2.polylines(picture, [points], False, dark, int(rng.integers(1, max(2, side // 40))), cv2.LINE_AA)
    return cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 2))


def _blocks(rng: Generator, side: int) -> np.ndarray:
    """A straight or bent row of blocks and discs: vertebrae of somewhere else, without a jaw or an airway."""
    picture = 0.2 + 0.3 * _clouds(rng, side, side / 3)
    count, lean = rng.integers(3, 9), rng.normal(0, 0.35)
    size = side * rng.uniform(0.03, 0.09)
    for i in range(count):
        down = side * (0.1 + 0.85 * i / count)
        along = side / 2 + lean * (down - side / 2) + side * 0.1 * np.sin(3 * i / count)
        box = cv2.boxPoints(((along, down), (size * 2.4, size * 1.5), float(np.degrees(-lean))))
        cv2.fillPoly(picture, [box.round().astype(np.int32)], float(rng.uniform(0.6, 1)), cv2.LINE_AA)
    picture[:, : rng.integers(1, side // 3)] *= rng.uniform(0, 0.6)
    return cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 4))


def _page(rng: Generator, side: int) -> np.ndarray:
    """Text, boxes and lines: a screenshot, a scanned report, a test pattern."""
    picture = np.full((side, side), int(rng.choice([0, 128, 255])), np.uint8)
    for _ in range(rng.integers(5, 30)):
        at = tuple(int(v) for v in rng.integers(0, side, 2))
        word = "".join(rng.choice(list("ABCDEFGHKLMRSTX0123456789"), rng.integers(2, 14)))
        cv2.putText(picture, word, at, cv2.FONT_HERSHEY_SIMPLEX, rng.uniform(0.3, 2.5), int(rng.integers(256)), 2)
    for _ in range(rng.integers(0, 12)):
        a, b = (tuple(int(v) for v in rng.integers(0, side, 2)) for _ in range(2))
        cv2.rectangle(picture, a, b, int(rng.integers(256)), int(rng.choice([-1, 1, 3])))
    return picture.astype(np.float32) / 255


def _bodies(rng: Generator, side: int) -> np.ndarray:
    """Overlapping soft bodies and rods, as any radiograph of any part."""
    picture = np.ones((side, side), np.float32) * rng.uniform(0.6, 1)
    for _ in range(rng.integers(3, 18)):
        layer = np.zeros_like(picture)
        _ellipse(rng, layer, rng.uniform(0, side, 2), side * rng.uniform(0.02, 0.45, 2))
        picture *= np.exp(-rng.uniform(0.2, 1.2) * cv2.GaussianBlur(layer, (0, 0), rng.uniform(1, side / 25)))
    return picture


KINDS: dict[str, Callable[[Generator, int], np.ndarray]] = {
    "noise": _noise, "slice": _slice, "fan": _fan, "chest": _chest, "vessels": _vessels, "blocks": _blocks,
    "page": _page, "bodies": _bodies,
}  # fmt: skip
"""What is drawn."""


def other_pictures(count: int, seed: int = 0, side: int = 512) -> Iterator[tuple[str, np.ndarray]]:
    """Draw pictures, the kinds in turn.

    Args:
        count: how many.
        seed: the same seed gives the same pictures.
        side: rows and columns in pixels.

    Yields:
        The kind, and the picture: (side, side) uint8.
    """
    names = list(KINDS)
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        name = names[number % len(names)]
        picture = KINDS[name](rng, side) + rng.normal(0, abs(rng.normal(0, 0.03)), (side, side))
        if rng.random() < 0.25:  # a circular field
            y, x = np.mgrid[:side, :side] - side / 2
            picture = np.where(np.hypot(x, y) < side * rng.uniform(0.42, 0.52), picture, rng.choice([0.0, 1.0]))
        low, high = np.percentile(picture, (0.5, 99.5))
        grey = np.clip((picture - low) / max(high - low, 1e-6), 0, 1) ** rng.uniform(0.6, 1.6)
        yield name, (255 * (grey if rng.random() < 0.7 else 1 - grey)).round().astype(np.uint8)

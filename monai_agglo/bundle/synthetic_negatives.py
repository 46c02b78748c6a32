"""Synthetic negatives of the view check: images other than lateral VFSS, without external data.

They resemble medical images in features that could confuse a network: soft-edged bodies and bones, rows of blocks, fans
of speckle, circular fields, noise of any grain. Frontal (AP) swallow views come from the phantom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.random import Generator

__all__ = ["KINDS", "other_pictures"]


def _clouds(rng: Generator, side: int, grain: float | None = None) -> np.ndarray:
    """Noise of one grain size, (side, side) float32 in 0..1."""
    cells = int(side / (grain or 2 ** rng.uniform(1, 7.5))) + 2
    noise = cv2.resize(rng.random((cells, cells), np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(noise, 0, 1)


def _ellipse(rng: Generator, image: np.ndarray, center: tuple[float, float], radii: tuple[float, float]) -> None:
    """Fill an ellipse with a random grey."""
    cv2.ellipse(
        image, tuple(map(round, center)), tuple(max(1, round(r)) for r in radii), float(rng.uniform(0, 180)),
        0, 360, float(rng.uniform(0, 1)), -1, cv2.LINE_AA,
    )  # fmt: skip


def _noise(rng: Generator, side: int) -> np.ndarray:
    """Sum of noise of two grain sizes."""
    return 0.5 * _clouds(rng, side) + 0.5 * _clouds(rng, side)


def _slice(rng: Generator, side: int) -> np.ndarray:
    """Axial slice: a body on black with organs and bright bones."""
    image = np.zeros((side, side), np.float32)
    middle, radii = (side / 2, side / 2), (side * rng.uniform(0.28, 0.46), side * rng.uniform(0.25, 0.42))
    cv2.ellipse(image, tuple(map(round, middle)), tuple(map(round, radii)), 0, 0, 360, 0.45, -1, cv2.LINE_AA)
    body = image > 0
    for _ in range(rng.integers(5, 25)):
        _ellipse(rng, image, rng.normal(side / 2, side / 7, 2), side * rng.uniform(0.01, 0.16, 2))
    return cv2.GaussianBlur(image * body, (0, 0), rng.uniform(0.5, 4))


def _fan(rng: Generator, side: int) -> np.ndarray:
    """Ultrasound: speckle in a fan or box, with brighter layers."""
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    angle, depth = np.arctan2(x - 0.5, y + 0.15), np.hypot(x - 0.5, y + 0.15)
    inside = (np.abs(angle) < rng.uniform(0.4, 0.8)) & (depth < 1.1) if rng.random() < 0.5 else x > 0.05
    layers = 0.4 + 0.4 * np.sin(depth * rng.uniform(8, 40) + 3 * _clouds(rng, side, side / 4))
    speckle = rng.exponential(1, (side, side)).astype(np.float32) * _clouds(rng, side, side / 6)
    return np.clip(cv2.GaussianBlur(speckle, (0, 0), rng.uniform(0.7, 2.5)) * layers, 0, 1.5) * inside


def _chest(rng: Generator, side: int) -> np.ndarray:
    """Chest radiograph: two dark fields, a bright column of blocks, and ribs."""
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    image = 0.7 - 0.2 * np.abs(x - 0.5)
    for sign in (-1, 1):
        cx = 0.5 + sign * rng.uniform(0.18, 0.25)
        lung = ((x - cx) / rng.uniform(0.12, 0.18)) ** 2 + ((y - rng.uniform(0.42, 0.55)) / rng.uniform(0.28, 0.4)) ** 2
        image -= 0.45 / (1 + np.exp(np.minimum(10 * (lung - 1), 50)))
    spine = np.exp(-(((x - 0.5) / rng.uniform(0.03, 0.07)) ** 2))
    image += 0.25 * spine * (1 + 0.5 * np.sin(y * rng.uniform(50, 130)))
    image += rng.uniform(0, 0.15) * np.sin((y + 0.5 * np.abs(x - 0.5)) * rng.uniform(60, 110)) * (np.abs(x - 0.5) > 0.1)
    return image


def _vessels(rng: Generator, side: int) -> np.ndarray:
    """Angiogram: dark branching lines on a smooth background."""
    image = 0.4 + 0.4 * _clouds(rng, side, side / rng.uniform(2, 5))
    for _ in range(rng.integers(4, 14)):
        walk = np.cumsum(rng.normal(0, 1, (40, 2)) + rng.normal(0, 1.5, 2), axis=0) * side / 60
        points = (walk + rng.uniform(0, side, 2)).round().astype(np.int32)
        dark = float(rng.uniform(0, 0.35))
        cv2.polylines(image, [points], False, dark, int(rng.integers(1, max(2, side // 40))), cv2.LINE_AA)
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2))


def _blocks(rng: Generator, side: int) -> np.ndarray:
    """Spine: a straight or curved row of vertebrae and discs without jaw or airway."""
    image = 0.2 + 0.3 * _clouds(rng, side, side / 3)
    count, lean = rng.integers(3, 9), rng.normal(0, 0.35)
    size = side * rng.uniform(0.03, 0.09)
    for i in range(count):
        down = side * (0.1 + 0.85 * i / count)
        along = side / 2 + lean * (down - side / 2) + side * 0.1 * np.sin(3 * i / count)
        box = cv2.boxPoints(((along, down), (size * 2.4, size * 1.5), float(np.degrees(-lean))))
        cv2.fillPoly(image, [box.round().astype(np.int32)], float(rng.uniform(0.6, 1)), cv2.LINE_AA)
    image[:, : rng.integers(1, side // 3)] *= rng.uniform(0, 0.6)
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 4))


def _page(rng: Generator, side: int) -> np.ndarray:
    """Text, boxes and lines: screenshots, scanned reports, test patterns."""
    image = np.full((side, side), int(rng.choice([0, 128, 255])), np.uint8)
    for _ in range(rng.integers(5, 30)):
        at = tuple(int(v) for v in rng.integers(0, side, 2))
        word = "".join(rng.choice(list("ABCDEFGHKLMRSTX0123456789"), rng.integers(2, 14)))
        cv2.putText(image, word, at, cv2.FONT_HERSHEY_SIMPLEX, rng.uniform(0.3, 2.5), int(rng.integers(256)), 2)
    for _ in range(rng.integers(0, 12)):
        a, b = (tuple(int(v) for v in rng.integers(0, side, 2)) for _ in range(2))
        cv2.rectangle(image, a, b, int(rng.integers(256)), int(rng.choice([-1, 1, 3])))
    return image.astype(np.float32) / 255


def _bodies(rng: Generator, side: int) -> np.ndarray:
    """Overlapping soft bodies and rods: radiograph of any body part."""
    image = np.ones((side, side), np.float32) * rng.uniform(0.6, 1)
    for _ in range(rng.integers(3, 18)):
        layer = np.zeros_like(image)
        _ellipse(rng, layer, rng.uniform(0, side, 2), side * rng.uniform(0.02, 0.45, 2))
        image *= np.exp(-rng.uniform(0.2, 1.2) * cv2.GaussianBlur(layer, (0, 0), rng.uniform(1, side / 25)))
    return image


KINDS: dict[str, Callable[[Generator, int], np.ndarray]] = {
    "noise": _noise, "slice": _slice, "fan": _fan, "chest": _chest, "vessels": _vessels, "blocks": _blocks,
    "page": _page, "bodies": _bodies,
}  # fmt: skip
"""Generators by kind."""


def other_pictures(count: int, seed: int = 0, side: int = 512) -> Iterator[tuple[str, np.ndarray]]:
    """Generate images, cycling through the kinds.

    Args:
        count: number of images.
        seed: random seed.
        side: rows and columns in pixels.

    Yields:
        Kind and image, (side, side) uint8.
    """
    names = list(KINDS)
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        name = names[number % len(names)]
        image = KINDS[name](rng, side) + rng.normal(0, abs(rng.normal(0, 0.03)), (side, side))
        if rng.random() < 0.25:  # a circular field
            y, x = np.mgrid[:side, :side] - side / 2
            image = np.where(np.hypot(x, y) < side * rng.uniform(0.42, 0.52), image, rng.choice([0.0, 1.0]))
        low, high = np.percentile(image, (0.5, 99.5))
        grey = np.clip((image - low) / max(high - low, 1e-6), 0, 1) ** rng.uniform(0.6, 1.6)
        yield name, (255 * (grey if rng.random() < 0.7 else 1 - grey)).round().astype(np.uint8)

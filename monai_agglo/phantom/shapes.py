"""Curves and their rasterisation: closed splines, ribbons, half-plane clips, antialiased fills."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["Canvas", "clip_below", "ellipse", "polyline_at", "ribbon", "smooth_closed", "smooth_open", "smoothstep"]

_SHIFT = 4  # fractional bits of OpenCV's fixed-point vertices: 1/16 pixel


def smoothstep(x: np.ndarray | float, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Cubic step from 0 at ``low`` to 1 at ``high``."""
    u = np.clip((np.asarray(x, float) - low) / (high - low), 0, 1)
    return u * u * (3 - 2 * u)


def _catmull(p0: np.ndarray, p1: np.ndarray, p2: np.ndarray, p3: np.ndarray, steps: int) -> np.ndarray:
    u = (np.arange(steps) / steps)[None, :, None]
    p0, p1, p2, p3 = (p[:, None, :] for p in (p0, p1, p2, p3))
    curve = 0.5 * (2 * p1 + (p2 - p0) * u + (2 * p0 - 5 * p1 + 4 * p2 - p3) * u**2 + (3 * p1 - p0 - 3 * p2 + p3) * u**3)
    return curve.reshape(-1, 2)


def smooth_closed(points: np.ndarray, steps: int = 6) -> np.ndarray:
    """Closed Catmull-Rom curve through ``points`` (N, 2) as a polygon (N * steps, 2)."""
    p = np.asarray(points, float)
    return _catmull(np.roll(p, 1, 0), p, np.roll(p, -1, 0), np.roll(p, -2, 0), steps)


def smooth_open(points: np.ndarray, steps: int = 6) -> np.ndarray:
    """Open Catmull-Rom curve through ``points`` (N, 2), ends included."""
    p = np.asarray(points, float)
    ext = np.vstack([2 * p[0] - p[1], p, 2 * p[-1] - p[-2]])
    return np.vstack([_catmull(ext[:-3], ext[1:-2], ext[2:-1], ext[3:], steps), p[-1:]])


def polyline_at(points: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Points at the given fractions (0..1) of the arc length of a polyline (N, 2)."""
    p = np.asarray(points, float)
    arc = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(p, axis=0).T))])
    at = np.asarray(fractions) * arc[-1]
    return np.stack([np.interp(at, arc, p[:, 0]), np.interp(at, arc, p[:, 1])], -1)


def ribbon(centre: np.ndarray, half_width: np.ndarray | float) -> np.ndarray:
    """Polygon of a band around a centre line (N, 2) with the given half widths (N,) or one half width."""
    c = np.asarray(centre, float)
    tangent = np.gradient(c, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], -1) / (np.hypot(*tangent.T)[:, None] + 1e-9)
    w = np.broadcast_to(np.asarray(half_width, float), len(c))[:, None]
    return np.vstack([c + normal * w, (c - normal * w)[::-1]])


def ellipse(
    centre: tuple[float, float], radii: tuple[float, float], angle_deg: float = 0.0, steps: int = 24
) -> np.ndarray:
    """Polygon of an ellipse."""
    a = np.linspace(0, 2 * np.pi, steps, endpoint=False)
    c, s = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    x, y = radii[0] * np.cos(a), radii[1] * np.sin(a)
    return np.stack([centre[0] + c * x - s * y, centre[1] + s * x + c * y], -1)


def clip_below(polygon: np.ndarray, level: float) -> np.ndarray:
    """The part of a polygon with y >= ``level`` (Sutherland-Hodgman against one half plane); may be empty (0, 2)."""
    out = []
    for a, b in zip(polygon, np.roll(polygon, -1, 0)):
        if a[1] >= level:
            out.append(a)
        if (a[1] >= level) != (b[1] >= level):
            u = (level - a[1]) / (b[1] - a[1])
            out.append(a + u * (b - a))
    return np.array(out) if out else np.zeros((0, 2))


class Canvas:
    """Fills polygons, given in atlas coordinates, on a pixel grid.

    Args:
        shape: rows, cols.
        to_pixels: maps atlas points (N, 2) to pixel coordinates (x, y).
        scale: pixels per atlas unit, for widths.
    """

    def __init__(self, shape: tuple[int, int], to_pixels, scale: float):
        self.shape = shape
        self.to_pixels = to_pixels
        self.scale = scale

    def _vertices(self, polygon: np.ndarray) -> np.ndarray:
        pixels = np.clip(self.to_pixels(polygon), -8000, 8000)
        return np.round(pixels * (1 << _SHIFT)).astype(np.int32)

    def _box(self, polygon: np.ndarray, margin: float) -> tuple[slice, slice] | None:
        p = self.to_pixels(polygon)
        x0, y0 = np.floor(p.min(0) - margin).astype(int)
        x1, y1 = np.ceil(p.max(0) + margin).astype(int) + 1
        x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, self.shape[1]), min(y1, self.shape[0])
        return (slice(y0, y1), slice(x0, x1)) if x1 > x0 and y1 > y0 else None

    def mask(self, *polygons: np.ndarray) -> np.ndarray:
        """Boolean union (H, W) of polygons; pixels with their centre inside, to 1/16 pixel."""
        out = np.zeros(self.shape, np.uint8)
        for polygon in polygons:
            if len(polygon) >= 3:
                cv2.fillPoly(out, [self._vertices(polygon)], 1, lineType=cv2.LINE_8, shift=_SHIFT)
        return out.view(bool)

    def add(
        self,
        out: np.ndarray,
        polygon: np.ndarray,
        value: float,
        edge: float = 0.0,
        rim: float = 0.0,
        rim_width: float = 3,
    ) -> None:
        """Add a body of the given thickness to a map, in place.

        Args:
            out: float32 (H, W), thickness in mm.
            polygon: outline in atlas coordinates.
            value: thickness at the centre, mm.
            edge: fall-off inside the outline (atlas units, Gaussian sigma); 0 = a slab.
            rim: extra thickness of a cortical rim along the outline, mm.
            rim_width: width of the rim, atlas units.
        """
        sigma = edge * self.scale
        found = self._cover(polygon, 3 * sigma + 3 + rim_width * self.scale)
        if found is None:
            return
        box, cover = found
        inside = cover.astype(np.float32) * np.float32(1 / 255)
        body = inside
        if sigma > 0.6:
            # a smooth bump: 2 * (blurred - 1/2) is 0 on a straight edge and 1 deep inside
            blurred = _blur(inside, sigma)
            body = inside * (0.15 + 0.85 * np.clip(2 * blurred - 1, 0, 1))
        if rim:
            width = max(rim_width * self.scale, 0.8)
            soft = _blur(inside, width)
            body = body * value + inside * np.clip(2 - 2 * soft, 0, 1) * rim
            out[box] += body
        else:
            out[box] += body * np.float32(value)

    def fill(self, out: np.ndarray, polygon: np.ndarray, value: float, edge: float) -> None:
        """Add the filling of a cavity, in place, with a parabolic fall-off to 0 at the wall.

        Unlike in :meth:`add` the thickness depends on the distance from the wall only: narrow cavities stay filled.

        Args:
            out: float32 (H, W), thickness in mm.
            polygon: the cavity, in atlas coordinates.
            value: thickness far from the wall, mm; less in a narrow cavity.
            edge: distance from the wall at full thickness, atlas units.
        """
        found = self._cover(polygon, 3)
        if found is None:
            return
        box, cover = found
        away = cv2.distanceTransform((cover > 0).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
        missing = 1 - np.minimum(away * np.float32(1 / max(edge * self.scale, 1.0)), 1)
        out[box] += cover * (1 - missing * missing) * np.float32(value / 255)

    def _cover(self, polygon: np.ndarray, margin: float) -> tuple[tuple[slice, slice], np.ndarray] | None:
        """Image region around an outline with ``margin`` pixels on each side, and the outline's coverage, 0..255."""
        box = self._box(polygon, margin) if len(polygon) >= 3 else None
        if box is None:
            return None
        cover = np.zeros((box[0].stop - box[0].start, box[1].stop - box[1].start), np.uint8)
        vertices = self._vertices(polygon) - (np.array([box[1].start, box[0].start]) << _SHIFT).astype(np.int32)
        cv2.fillPoly(cover, [vertices], 255, lineType=cv2.LINE_AA, shift=_SHIFT)
        return box, cover

    def stroke(self, out: np.ndarray, line: np.ndarray, width: float, value: float, soft: float = 0.0) -> None:
        """Add a thin line (``width`` in atlas units, at least one pixel) of the given thickness, in place.

        Args:
            out: float32 (H, W), thickness in mm.
            line: (N, 2) in atlas coordinates.
            width: atlas units.
            value: thickness, mm.
            soft: Gaussian sigma of its borders, atlas units.
        """
        sigma = soft * self.scale
        box = self._box(line, width * self.scale + 3 + 3 * sigma)
        if box is None:
            return
        cover = np.zeros((box[0].stop - box[0].start, box[1].stop - box[1].start), np.uint8)
        vertices = self._vertices(line) - (np.array([box[1].start, box[0].start]) << _SHIFT).astype(np.int32)
        pixels = width * self.scale
        cv2.polylines(cover, [vertices], False, 255, max(1, round(pixels)), cv2.LINE_AA, _SHIFT)
        drawn = cover.astype(np.float32)
        if sigma > 0.4:
            drawn = _blur(drawn, sigma)
        out[box] += drawn * np.float32(value * min(1.0, pixels) / 255)


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur; three box passes for a large sigma: much faster, visually equal."""
    if sigma < 3:
        return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    size = int(np.sqrt(12 * sigma * sigma / 3 + 1)) | 1
    for _ in range(3):
        image = cv2.blur(image, (size, size), borderType=cv2.BORDER_REPLICATE)
    return image

"""A swallow drawn with rectangles: every measure can be worked out with a pencil.

Units are those of the drawing, the patient looks to the left (small x), C2-C4 is 32 units: from the lower left corner
of C2 at (60, 24) to that of C4 at (60, 56). Sixty frames, 25 per second.
"""

import numpy as np

FRAMES, FRAME_MS, L = 60, 40.0, 32.0
HEIGHT = WIDTH = 100
"""Size of the drawing in its units."""


def rectangles():
    """Rectangles (x0, x1, y0, y1) of each structure in each frame: name -> list over frames of lists."""
    always = {
        "c1": [(60, 74, -2, 8)], "c2": [(60, 74, 14, 24)], "c3": [(60, 74, 30, 40)], "c4": [(60, 74, 46, 56)],
        "c5": [(60, 74, 62, 72)], "mandible": [(30, 42, 2, 30), (4, 42, 30, 40)], "ues": [(46, 54, 74, 84)],
        "trachea": [(30, 38, 58, 95)], "vocal_folds": [(30, 38, 66, 68)], "valleculae": [(42, 46, 40, 50)],
        "pyriform_sinuses": [(54, 58, 60, 68)],
    }  # fmt: skip
    out = {name: [boxes] * FRAMES for name, boxes in always.items()}
    out["hyoid"] = [[(24 - 6 * r, 30 - 6 * r, 50 - 8 * r, 54 - 8 * r)] for r in map(rise, range(FRAMES))]
    out["laryngeal_vestibule"] = [[] if 16 <= t < 40 else [(30, 38, 58, 66)] for t in range(FRAMES)]
    out["pharynx"] = [[(50 - w, 50 + w, 12, 74)] for w in map(half_width, range(FRAMES))]
    # upright, 12 high, then flat with the tip backwards
    flat, upright = [(40, 52, 56, 59)], [(40, 43, 47, 59)]
    out["epiglottis"] = [flat if 20 <= t < 40 else upright for t in range(FRAMES)]
    out["bolus"] = [bolus(t) for t in range(FRAMES)]
    return out


def rise(t):
    """How far the hyoid has come: 0 at frame 12, 1 from frame 18 to 38, 0 from frame 46."""
    return float(np.interp(t, [12, 18, 38, 46], [0, 1, 1, 0]))


def half_width(t):
    """Of the pharynx: 4, narrowest (1) in frame 36, back from frame 46."""
    return float(np.interp(t, [24, 36, 46], [4, 1, 4]))


def bolus(t):
    """Held in the mouth until frame 8, past the ramus line in 10, into the UES in 31, out of it in 36."""
    head = 16 + 4 * max(0, t - 8)
    tail = 4 + 4 * max(0, t - 10)
    boxes = []
    if tail < 38:
        boxes.append((12 + tail, 12 + min(head, 41), 8, 14))
    if head > 38 and tail - 27 < HEIGHT:
        boxes.append((47, 53, max(tail - 27, 8), head - 27))
    if t >= 37:
        boxes.append((42, 46, 45, 50))  # the lower half of the valleculae stays full
    if t == 33:
        boxes.append((32, 36, 72, 76))  # one frame with bolus below the vocal folds
    return boxes


def draw(scale=2.0, angle=0.0, mirror=False, shift=(0.0, 0.0), size=260, names=None):
    """Masks (H, W, T) by name.

    Args:
        scale: pixels per unit; angle: degrees; mirror: patient looks right; shift: pixels; size: rows and columns.
        names: which structures; all when None.
    """
    y, x = np.mgrid[:size, :size].astype(float)
    x, y = x - (size - 1) / 2 - shift[0], y - (size - 1) / 2 - shift[1]
    a = np.deg2rad(angle)
    x, y = (np.cos(a) * x + np.sin(a) * y) / scale, (-np.sin(a) * x + np.cos(a) * y) / scale
    x = (-x if mirror else x) + WIDTH / 2
    y = y + HEIGHT / 2
    masks, drawn = {}, {}
    for name, frames in rectangles().items():
        if names is not None and name not in names:
            continue
        stack = np.zeros((FRAMES, size, size), bool)
        for t, boxes in enumerate(frames):
            for box in boxes:
                if box not in drawn:
                    drawn[box] = (x >= box[0]) & (x < box[1]) & (y >= box[2]) & (y < box[3])
                stack[t] |= drawn[box]
        masks[name] = stack.transpose(1, 2, 0)
    return masks


TIMES = [FRAME_MS * t for t in range(FRAMES)]

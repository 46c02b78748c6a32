"""Frames and outlines of the page: fidelity and size."""

import base64

import cv2
import numpy as np
import pytest
from app_samples import write_cine

from monai_agglo.cine.cine import open_cine
from monai_agglo.reporting.pictures import encode_frames, outline_masks


def filled(lines, shape):
    canvas = np.zeros(shape, np.uint8)
    cv2.fillPoly(canvas, [line.astype(np.int32).reshape(-1, 1, 2) for line in lines], 1)
    return canvas.astype(bool)


def test_outlines_enclose_the_masks():
    y, x = np.mgrid[:90, :120]
    frames = []
    for t in range(4):
        ring = ((x - 40 - 5 * t) ** 2 + (y - 40) ** 2 < 30**2) & ((x - 40 - 5 * t) ** 2 + (y - 40) ** 2 > 12**2)
        frames.append(ring | ((abs(x - 100) < 8) & (abs(y - 60) < 20)))
    mask = np.stack(frames, axis=-1)
    mask[..., 2] = False
    mask[3, 4, 2] = True  # a single pixel is kept
    found = outline_masks({"bolus": mask, "hyoid": np.zeros_like(mask)})
    assert list(found.index) == ["bolus"] and len(found.index["bolus"]) == 5
    for t in (0, 1, 3):
        lines = found.lines("bolus", t)
        assert len(lines) == 3  # two components and a hole
        drawn = filled(lines, mask.shape[:2])
        overlap = (drawn & mask[..., t]).sum() / (drawn | mask[..., t]).sum()
        assert overlap > 0.95, overlap
    assert [line.tolist() for line in found.lines("bolus", 2)] == [[[4, 3]]]


def test_no_masks():
    assert outline_masks({}).index == {} and outline_masks({}).data == ""


def decode(text):
    return cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_GRAYSCALE)


def test_frames_match_the_cine(tmp_path):
    cine = open_cine(write_cine(tmp_path / "c.dcm", frames=6, rows=120, columns=160))
    found = encode_frames(cine)
    assert (found.height, found.width, len(found.frames)) == (120, 160, 6)
    stack = cine.read().astype(float)
    for t, text in enumerate(found.frames):
        image = decode(text)
        assert image.shape == (120, 160)
        scores = [np.corrcoef(image.ravel(), stack[..., k].ravel())[0, 1] for k in range(6)]
        assert int(np.argmax(scores)) == t and scores[t] > 0.97


def test_budget_reduces_the_size(tmp_path):
    cine = open_cine(write_cine(tmp_path / "c.dcm", frames=6, rows=600, columns=800))
    large = encode_frames(cine)
    assert (large.width, large.height) == (768, 576)
    size = sum(map(len, large.frames))
    small = encode_frames(cine, budget=size // 4)
    assert sum(map(len, small.frames)) <= 1.1 * size / 4 and small.width < 768
    assert small.height / small.width == pytest.approx(0.75, abs=0.01)


def test_constant_cine(tmp_path):
    source = write_cine(tmp_path / "c.dcm", frames=2)
    import pydicom

    ds = pydicom.dcmread(source)
    ds.PixelData = np.full((2, ds.Rows, ds.Columns), 700, np.uint16).tobytes()
    ds.save_as(source)
    assert len(encode_frames(open_cine(source)).frames) == 2


def test_burnt_in_text_is_blanked(tmp_path):
    frame = np.full((96, 96), 4, np.uint8)
    y, x = np.mgrid[:96, :96]
    inside = (y - 48) ** 2 + (x - 48) ** 2 < 34**2
    frame[inside] = (60 + 1.5 * x)[inside]
    frame[4:8, 4:30] = 250  # the name
    cv2.imwrite(str(tmp_path / "still.png"), frame)
    image = decode(encode_frames(open_cine(tmp_path / "still.png")).frames[0])
    assert image[48, 76] > 150 and image[2:10, 2:32].max() < 40

"""Where features lie in the frame: affine, mask and resampling, for squash, letterbox and padded square."""

import pytest
import torch

from monai_agglo.networks.teachers import FrameGrid, TeacherFeatures, sample_on_frame
from monai_agglo.networks.teachers.geometry import GEOMETRIES
from monai_agglo.networks.teachers.resample import resize_grey

FRAMES = [(512, 512), (300, 500), (501, 333), (60, 47)]


def fitted(frames, geometry, size):
    """Frames (1, 1, H, W) fitted into the square as preprocessing does it."""
    fit = FrameGrid.fit(tuple(frames.shape[-2:]), geometry, size)
    return fit.fill(resize_grey(fit.pad(frames), fit.content, "pil_bilinear")), fit


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("size, grid", [(256, 64), (518, 37), (224, 7)])
def test_affine_finds_a_bright_spot(geometry, frame, size, grid):
    """A blob drawn in the frame, fitted into the square and pooled to the grid, lies where the affine says."""
    rows, columns = frame
    centre = torch.tensor([0.62 * rows, 0.41 * columns])
    r, c = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    width = max(0.12 * max(frame), 1.5)
    spot = 255 * torch.exp(-((r - centre[0]) ** 2 + (c - centre[1]) ** 2) / (2 * width**2)).float()[None, None]
    square, fit = fitted(spot.round(), geometry, size)
    pooled = torch.nn.functional.adaptive_avg_pool2d(square, grid)[0, 0]
    share = pooled / pooled.sum()
    cell = torch.stack([(share.sum(1) * torch.arange(grid)).sum(), (share.sum(0) * torch.arange(grid)).sum()])
    found = (fit.affine(grid) @ torch.cat([cell, torch.ones(1)]))[:2]
    # The tails that the frame's border cuts off shift the blob's true centre too.
    weight = spot[0, 0] / spot.sum()
    true = torch.stack([(weight.sum(1) * torch.arange(rows)).sum(), (weight.sum(0) * torch.arange(columns)).sum()])
    assert torch.allclose(found, true, atol=0.012 * max(frame))


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_mask_is_the_white_of_a_white_frame(geometry, frame):
    square, fit = fitted(torch.full((1, 1, *frame), 255.0), geometry, 256)
    pooled = torch.nn.functional.adaptive_avg_pool2d(square, 32)[0, 0] / 255
    mask = fit.mask(32)[0, 0]
    assert mask.shape == (32, 32) and mask.min() >= 0 and mask.max() <= 1
    assert (mask - pooled).abs().max() < 0.1  # resizing blurs the border by part of a pixel
    if geometry == "squash" or frame[0] == frame[1]:
        assert mask.min() == 1


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_resampling_to_the_frame_undoes_the_geometry(geometry, frame):
    """A map whose features are its own place in the frame comes out as the places of the new grid."""
    fit = FrameGrid.fit(frame, geometry, 518)
    affine = fit.affine(37)
    cells = torch.stack(torch.meshgrid(torch.arange(37.0), torch.arange(37.0), indexing="ij"))
    places = torch.einsum("ij,jhw->ihw", affine, torch.cat([cells, torch.ones(1, 37, 37)]))[:2]
    sampled, mask = sample_on_frame(TeacherFeatures(places[None], affine, fit.mask(37)), frame, (24, 20))
    expected = torch.stack(torch.meshgrid(
        (torch.arange(24) + 0.5) * frame[0] / 24 - 0.5, (torch.arange(20) + 0.5) * frame[1] / 20 - 0.5, indexing="ij"
    ))  # fmt: skip
    inner = (..., slice(1, -1), slice(1, -1))  # a border cell may lie outside the outermost centres of the map
    assert torch.allclose(sampled[0][inner], expected[inner], atol=1e-2)
    assert mask.shape == (1, 1, 24, 20) and mask[inner].min() > 0.5


def test_a_letterbox_keeps_the_aspect():
    fit = FrameGrid.fit((300, 500), "letterbox", 1024)
    assert fit.content == (614, 1024) and fit.padding == (0, 0)
    assert torch.equal(fit.mask(64)[0, 0, :, 0] > 0, torch.arange(64) < 39)


def test_boxes_go_the_way_of_the_pixels():
    fit = FrameGrid.fit((300, 500), "letterbox", 256)
    corners = fit.to_input(torch.tensor([[0.0, 0.0], [500.0, 300.0]]))
    assert torch.allclose(corners, torch.tensor([[0.0, 0.0], [256.0, 154.0]]))
    fit = FrameGrid.fit((300, 500), "pad_square", 250)
    assert torch.allclose(fit.to_input(torch.tensor([500.0, 300.0])), torch.tensor([250.0, 200.0]))


def test_unknown_geometry():
    with pytest.raises(ValueError, match="unknown geometry 'crop'"):
        FrameGrid.fit((10, 10), "crop", 224)

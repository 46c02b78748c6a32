"""The student's map on a teacher's grid: ramps stay ramps, big cells are averaged, nothing is out of place."""

import pytest
import torch
import torch.nn.functional as F

from monai_agglo.networks.alignment import cell_weights, student_affine, to_teacher_grid
from monai_agglo.networks.teachers import FrameGrid
from monai_agglo.networks.teachers.geometry import GEOMETRIES

FRAMES = [(512, 512), (300, 500), (501, 333)]


def places(affine, grid):
    """(2, h, w): frame row and column of every cell's centre."""
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    cells = torch.stack([rows, columns, torch.ones_like(rows)]).double()
    return torch.einsum("ij,jhw->ihw", affine.double(), cells)[:2]


def crop_affine(frame, side, grid):
    """A centred square crop of the frame, seen by a square grid."""
    step = side / grid
    top, left = ((n - side) / 2 for n in frame)
    return torch.tensor([[step, 0, top + step / 2 - 0.5], [0, step, left + step / 2 - 0.5], [0, 0, 1]])


def teacher_affine(frame, geometry, grid):
    if geometry == "crop":
        return crop_affine(frame, min(frame), grid)
    return FrameGrid.fit(frame, geometry, 518).affine(grid)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("geometry", [*GEOMETRIES, "crop"])
@pytest.mark.parametrize("grid", [7, 16, 37, 64])
@pytest.mark.parametrize("student", [16, 64])
def test_a_ramp_in_the_frame_stays_that_ramp(frame, geometry, grid, student):
    """Place features: at every teacher cell that lies in the student's view they are the cell's own place."""
    fit = FrameGrid.fit(frame, "letterbox", 256)
    mine, theirs = fit.affine(student), teacher_affine(frame, geometry, grid)
    features = places(mine, (student, student))[None].float()
    found = to_teacher_grid(features, mine, theirs, (grid, grid))[0]
    expected = places(theirs, (grid, grid)).float()
    # Whole cells in what the student saw: the frame and the padding that its own square has.
    half = theirs.diagonal()[:2] / 2
    low, high = (expected - half[:, None, None] + 0.5), (expected + half[:, None, None] + 0.5)
    seen = torch.tensor([fit.size * frame[axis] / fit.content[axis] for axis in (0, 1)])
    whole = ((low > -0.01) & (high < seen[:, None, None] + 0.01)).all(0)
    assert whole.any() and (geometry in ("letterbox", "pad_square") or whole.all())  # those two see beyond the frame
    torch.testing.assert_close(found[:, whole], expected[:, whole], rtol=0, atol=2e-3)


@pytest.mark.parametrize("student, grid", [(64, 7), (32, 37), (10, 25)])
def test_ramps_survive_a_batch_of_differently_shaped_frames(student, grid):
    """One affine per sample, each (2, 3) as a batch may carry them; the same as sample by sample."""
    mine = torch.stack([FrameGrid.fit(f, "letterbox", 256).affine(student) for f in FRAMES])
    theirs = torch.stack([FrameGrid.fit(f, "squash", 518).affine(grid) for f in FRAMES])
    features = torch.stack([places(a, (student, student)) for a in mine]).float()
    found = to_teacher_grid(features, mine[:, :2], theirs[:, :2], (grid, grid))
    expected = torch.stack([places(a, (grid, grid)) for a in theirs]).float()
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)
    single = torch.cat([to_teacher_grid(f[None], a, b, (grid, grid)) for f, a, b in zip(features, mine, theirs)])
    torch.testing.assert_close(found, single, rtol=0, atol=1e-3)


def test_equal_grids_are_left_alone():
    features = torch.rand(2, 3, 64, 64)
    affine = FrameGrid.fit((320, 512), "letterbox", 256).affine(64)
    teachers = FrameGrid.fit((320, 512), "letterbox", 1024).affine(64)
    assert to_teacher_grid(features, affine, teachers, (64, 64)) is features


def test_halving_by_hand():
    """Four cells onto two of twice the size: interval [0.5 -+ sqrt(2) / 2], worked out on paper.

    Weights of cell 0 in the first interval: the straight continuation from -0.2071 to 0 gives 0.2071 + 0.2071^2 / 2 =
    0.2286, the hat from 0 to 1 gives 0.5. Cell 2: 0.2071^2 / 2 = 0.0214. Cell 1: the rest of 1.4142.
    """
    e, w = 2**0.5 / 2 - 0.5, 2**0.5
    first = torch.tensor([0.5 + e + e * e / 2, 0.0, e * e / 2, 0.0]) / w
    first[1] = 1 - first.sum()
    weights = cell_weights(torch.tensor([[0.5, 2.5]]).double(), torch.tensor([[w]]).double(), 4)
    torch.testing.assert_close(weights[0], torch.stack([first, first.flip(0)]))


def test_large_cells_average_their_area():
    """8 x 8 cells onto one: nearly the plain mean of the 64, whatever the values."""
    features = torch.rand(1, 5, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = torch.tensor([[8.0, 0, 3.5], [0, 8, 3.5], [0, 0, 1]])
    found = to_teacher_grid(features, torch.eye(3), whole, (1, 1))[0, :, 0, 0]
    torch.testing.assert_close(found, features.mean((0, 2, 3)), rtol=0, atol=0.02)
    # Onto 4 x 4 of 64: close to the exact area mean, far from a sample at the centres.
    features = torch.rand(1, 5, 64, 64, generator=torch.Generator().manual_seed(1))
    affine = torch.tensor([[16.0, 0, 7.5], [0, 16, 7.5], [0, 0, 1]])
    found = to_teacher_grid(features, torch.eye(3), affine, (4, 4))
    exact, centre = F.avg_pool2d(features, 16), F.interpolate(features, size=(4, 4), mode="bilinear")
    assert (found - exact).abs().max() < 0.02 < 0.1 < (centre - exact).abs().max()


def test_finer_cells_are_interpolated_as_pytorch_does():
    """Inside the outermost centres, bilinear with half-pixel centres; beyond, the slope goes on instead of stopping."""
    features = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    affine = torch.tensor([[0.5, 0, -0.25], [0, 0.5, -0.25]])
    found = to_teacher_grid(features, torch.eye(3), affine, (16, 16))
    expected = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
    inner = (..., slice(1, -1), slice(1, -1))
    torch.testing.assert_close(found[inner], expected[inner])
    torch.testing.assert_close(found[:, :, 0, 1:-1], 1.25 * _mix(features, 0) - 0.25 * _mix(features, 1))


def _mix(features, row):
    """A row of the map, its columns doubled."""
    return F.interpolate(features[:, :, row], scale_factor=2, mode="linear", align_corners=False)[..., 1:-1]


def test_both_ways_agree_where_they_meet():
    """Cells of just under and just over sqrt(2): interpolated and averaged maps hardly differ."""
    features = torch.rand(1, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    maps = []
    for step in (2**0.5 - 1e-6, 2**0.5 + 2e-4):
        affine = torch.tensor([[step, 0, 3.3], [0, step, 2.1], [0, 0, 1]], dtype=torch.float64)
        maps.append(to_teacher_grid(features, torch.eye(3), affine, (18, 18)))
    assert (maps[0] - maps[1]).abs().max() < 0.02


def test_cells_beyond_the_students_view_repeat_its_edge():
    features = torch.arange(4.0).reshape(1, 1, 4, 1)
    far = torch.tensor([[1.0, 0, 10], [0, 1, 0], [0, 0, 1]])
    assert to_teacher_grid(features, torch.eye(3), far, (2, 1)).flatten().tolist() == pytest.approx([3.5, 3.5])
    wide = torch.tensor([[3.0, 0, 10], [0, 1, 0], [0, 0, 1]])
    assert to_teacher_grid(features, torch.eye(3), wide, (1, 1)).item() == pytest.approx(3.5)


def test_a_flipped_student_is_turned_back():
    features = torch.rand(1, 2, 6, 9)
    flipped = torch.tensor([[1.0, 0, 0], [0, -1, 8], [0, 0, 1]])
    found = to_teacher_grid(features.flip(3), flipped, torch.eye(3), (6, 9))
    torch.testing.assert_close(found, features, rtol=0, atol=1e-5)


@pytest.mark.parametrize("grid", [(3, 4), (8, 8), (12, 20)])
def test_gradients_flow(grid):
    features = torch.rand(2, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    theirs = student_affine((8, 8), grid, 1.0)
    found = to_teacher_grid(features, torch.eye(3), theirs, grid)
    (gradient,) = torch.autograd.grad(found.sum(), features)
    assert gradient.isfinite().all() and (gradient.sum() - 2 * 2 * grid[0] * grid[1]).abs() < 1e-3
    assert (gradient != 0).all()


@pytest.mark.parametrize("grid", [7, 37])
def test_autocast_does_not_blur_places(grid):
    mine, theirs = (FrameGrid.fit((500, 500), "squash", 256).affine(n) for n in (64, grid))
    features = places(mine, (64, 64))[None].float()
    with torch.autocast("cpu", torch.bfloat16):
        found = to_teacher_grid(features, mine, theirs, (grid, grid))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found[0], places(theirs, (grid, grid)).float(), rtol=0, atol=2e-3)
    low = to_teacher_grid(features.bfloat16(), mine, theirs, (grid, grid))
    assert low.dtype == torch.bfloat16


def test_bad_affines_are_refused():
    features, eye = torch.rand(2, 1, 4, 4), torch.eye(3)
    turned = torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]])
    for bad, why in ((turned, "turn"), (torch.zeros(3, 3), "vanish"), (torch.eye(4), r"\(4, 4\)")):
        with pytest.raises(ValueError, match=why):
            to_teacher_grid(features, eye, bad, (4, 4))
    with pytest.raises(ValueError, match="3 affines were given for 2"):
        to_teacher_grid(features, eye.expand(3, 3, 3), eye, (4, 4))


def test_the_students_affine_is_that_of_the_fit_and_more():
    for frame in FRAMES:
        fit = FrameGrid.fit(frame, "letterbox", 256)
        torch.testing.assert_close(student_affine(frame, fit.content, 8), fit.affine(32))
    # 100 x 60 pixels resized to 200 x 120 after 10 pixels of padding; cells of 16 pixels. Cell 0 spans input pixels
    # 0..15, centre 7.5, so -2.5 in the resized frame, which is (-2.5 + 0.5) / 2 - 0.5 = -1.5 in the frame.
    affine = student_affine((100, 60), (200, 120), 16, (10, 0))
    assert affine[0].tolist() == [8.0, 0.0, -1.5] and affine[1].tolist() == [0.0, 8.0, 3.5]
    with pytest.raises(ValueError, match="positive"):
        student_affine((0, 5), (5, 5), 4)

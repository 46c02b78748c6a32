"""The student is the encoder of the segmenter, its map lies where it says, and its file says what it is."""

import torch

from monai_agglo.networks import CineSegmenter, StudentEncoder, StudentWithHeads
from monai_agglo.networks.student import level_affine

BACKBONE = "test_efficientnet"


def test_is_the_segmenter_s_encoder():
    """A segmenter hands its encoder exactly what a student does, whatever the size."""
    student, network = StudentEncoder(BACKBONE, 48).eval(), CineSegmenter(BACKBONE).eval()
    network.encoder.load_state_dict(student.encoder.state_dict(), strict=True)
    seen = []
    network.encoder.register_forward_hook(lambda module, inputs, output: seen.append(output))
    image = torch.rand(1, 1, 70, 64)
    with torch.no_grad():
        network(image[..., None])
        features = student(image)
    assert features.shape == (1, 48, 18, 16)
    torch.testing.assert_close(features, seen[0][:, :, :18])


def test_same_options_same_network():
    student = StudentEncoder(BACKBONE, 24, 8)
    again = StudentEncoder(**student.options)
    assert {k: v.shape for k, v in student.state_dict().items()} == {k: v.shape for k, v in again.state_dict().items()}


def test_cells_lie_in_the_middle_of_their_pixels():
    image = torch.tensor([[2.0, 0, 0.5], [0, 2.0, 0.5], [0, 0, 1]])  # frame twice as large as the image
    cell = level_affine(image, 4) @ torch.tensor([1.0, 0.0, 1.0])
    torch.testing.assert_close(cell, torch.tensor([2 * 5.5 + 0.5, 2 * 1.5 + 0.5, 1.0]))


def test_predictions_are_on_the_teachers_grids():
    student = StudentEncoder(BACKBONE, 8)
    for projector in ("mlp", "ladder"):
        heads = StudentWithHeads(student, {"a": (5, 8, 8), "b": (6, 3, 3)}, projector, 8)
        affines = {"a": torch.diag(torch.tensor([8.0, 8, 1])), "b": torch.diag(torch.tensor([64 / 3, 64 / 3, 1]))}
        output = heads(torch.rand(2, 1, 64, 64), torch.eye(3), affines)
        assert output.shared.shape == (2, 8, 16, 16)
        assert output.predictions["a"].shape == (2, 5, 8, 8) and output.predictions["b"].shape == (2, 6, 3, 3)

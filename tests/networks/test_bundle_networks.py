"""The networks of the teacher bundles: prompts in channels give what the models give for prompts in numbers."""

import pytest
import torch

from monai_agglo.networks import PromptNetwork, TeacherNetwork
from monai_agglo.networks.bundle_networks import NOTHING
from monai_agglo.networks.sam2_prompts import Sam2PromptSegmenter
from monai_agglo.networks.sam_decoder import PromptSegmenter
from monai_agglo.networks.teachers import create_teacher


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def litemedsam():
    return PromptNetwork("litemedsam")


def blob(rows, cols, seed=0):
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(1, 1, 6, 8, generator=generator)
    return torch.nn.functional.interpolate(low, (rows, cols), mode="bicubic").clamp(0, 1)


def test_prompts_in_channels_are_prompts_in_numbers(litemedsam):
    network = litemedsam
    x = torch.zeros(1, 3, 40, 64, 3)
    x[:, 0] = blob(40, 64)[0, 0, ..., None]
    x[0, 1, 5:21, 10:31, 1] = 1
    x[0, 2, 9, 12, 1], x[0, 2, 30, 50, 1] = 1, -1
    logits = network(x)
    assert logits.shape == (1, 1, 40, 64, 3)
    assert (logits[..., [0, 2]] == NOTHING).all() and logits[..., 1].std() > 0
    points = torch.tensor([[[12.0, 9.0], [50.0, 30.0]]]), torch.tensor([[1, 0]])
    direct = PromptSegmenter(network.teacher, network.decoder)(
        x[:, :1, ..., 1], torch.tensor([[10, 5, 30, 20]]), points
    )
    torch.testing.assert_close(logits[..., 1], direct)


def test_medsam2_decodes_as_its_own_predictor():
    """segment-anything's decoder does not fit SAM 2: compared with the predictor of the package, box and points."""
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    teacher = create_teacher("medsam2", random_weights=True)
    # a square of 0..255 at the model's own size: the predictor's resizing has nothing to do
    frame = blob(512, 512)
    frame = torch.round((frame - frame.min()) / (frame.max() - frame.min()) * 255) / 255
    box = torch.tensor([[100.0, 150.0, 300.0, 420.0]])
    points = torch.tensor([[[200.0, 250.0], [20.0, 30.0]]]), torch.tensor([[1, 0]])
    ours = Sam2PromptSegmenter(teacher)(frame, box, points)
    predictor = SAM2ImagePredictor(teacher.encoder.sam2)
    predictor._bb_feat_sizes = [(128, 128), (64, 64), (32, 32)]  # it assumes 1024 px
    rgb = torch.round(frame[0, 0] * 255).byte().numpy()[..., None].repeat(3, -1)
    predictor.set_image(rgb)
    options = {"point_coords": points[0][0].numpy(), "point_labels": points[1][0].numpy(), "box": box[0].numpy()}
    theirs, _, _ = predictor.predict(**options, multimask_output=False, return_logits=True)
    theirs = torch.from_numpy(theirs)[None]
    assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-4


def test_state_holds_every_weight_once_and_marks_what_is_loaded(litemedsam):
    network, other = TeacherNetwork("mobilenet_v3"), TeacherNetwork("mobilenet_v3")
    assert network.random_weights
    other.load_state_dict(network.state_dict())
    assert not other.random_weights
    held = [value.data_ptr() for value in litemedsam.state_dict().values() if value.numel()]
    assert len(held) == len(set(held))


@pytest.mark.parametrize("shape", [(1, 1, 32, 32, 1), (1, 3, 32, 32)])
def test_wrong_shapes(litemedsam, shape):
    with pytest.raises(ValueError, match=r"expected \(B, 3, H, W, T\)"):
        litemedsam(torch.rand(shape))


def test_without_a_prompt(litemedsam):
    assert (litemedsam(torch.zeros(1, 3, 32, 32, 2)) == NOTHING).all()


def test_teachers_without_prompts():
    with pytest.raises(ValueError, match="takes no prompts"):
        PromptNetwork("rad_dino")

"""Masks from prompts: segment-anything's own predictor, the authors' script and transformers say the same."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from teacher_states import enliven, of_shapes, relative, tiny_vit_shapes, with_counters
from torch.nn import functional as F

from monai_agglo.networks.sam_decoder import PromptSegmenter, SamDecoder
from monai_agglo.networks.teachers import CheckpointError, create_teacher, teacher_class

ROOT = Path(__file__).parents[3]


def segmenter(name, weights):
    teacher = teacher_class(name)(weights)
    return PromptSegmenter(teacher, SamDecoder(teacher.spec.input_size, teacher.spec.grid, weights))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Random whole models in the original layout, by name."""
    decoder = enliven(SamDecoder(1024).state_dict(), 5)
    folder = tmp_path_factory.mktemp("sam")
    for name, kernel in (("mobilesam", 3), ("litemedsam", 1)):
        torch.save({**with_counters(of_shapes(tiny_vit_shapes(kernel))), **decoder}, folder / f"{name}.pth")
    return folder


def test_as_segment_anything_s_predictor(checkpoints, picture, as_frames):
    """Box, points and both through SamPredictor on a wide frame."""
    from segment_anything import SamPredictor
    from segment_anything.modeling import Sam

    ours = segmenter("mobilesam", checkpoints / "mobilesam.pth")
    encoder = ours.teacher.encoder
    encoder.img_size = 1024
    image = picture(150, 240)
    predictor = SamPredictor(Sam(encoder, ours.decoder.prompt_encoder, ours.decoder.mask_decoder).eval())
    predictor.set_image(np.repeat(image[..., None], 3, 2))
    assert relative(ours.teacher(as_frames(image)).features, predictor.get_image_embedding()) < 1e-4
    ours.teacher.forward = lambda frame: type(
        "Out", (), {"features": predictor.get_image_embedding()}
    )  # once is enough
    box, point = [30, 20, 180, 110], [[100.0, 60.0], [20.0, 130.0]]
    for prompt, given in (
        ({"box": np.array(box)}, {"boxes": torch.tensor([box])}),
        (
            {"point_coords": np.array(point), "point_labels": np.array([1, 0])},
            {"points": (torch.tensor([point]), torch.tensor([[1, 0]]))},
        ),
    ):
        expected, *_ = predictor.predict(**prompt, multimask_output=False, return_logits=True)
        assert relative(ours(as_frames(image), **given)[0], torch.from_numpy(expected)) < 1e-4


def reference_litemedsam(model, image, box):
    """CVPR24_LiteMedSAM_infer.py written out: box to 256 px in whole pixels, crop the padding off, resize."""
    features = model.teacher(torch.from_numpy(image / 255).float()[None, None]).features
    ratio = 256 / max(image.shape)
    small = torch.tensor([[int(value * ratio) for value in box]], dtype=torch.float)
    logits, _ = model.decoder(features, boxes=small)
    rows, columns = (int(side * ratio + 0.5) for side in image.shape)
    return F.interpolate(logits[..., :rows, :columns], image.shape, mode="bilinear", align_corners=False)


def test_as_the_litemedsam_script(checkpoints, picture, as_frames):
    ours = segmenter("litemedsam", checkpoints / "litemedsam.pth")
    image = picture(384, 512)
    box = [100, 60, 300, 222]  # even, so that halving gives whole pixels
    with torch.no_grad():
        expected = reference_litemedsam(ours, image, box)
    assert relative(ours(as_frames(image), boxes=torch.tensor([box])), expected) < 1e-5


def test_prompts_in_groups_are_prompts_one_by_one(checkpoints, picture, as_frames):
    ours = segmenter("litemedsam", checkpoints / "litemedsam.pth")
    frame = as_frames(picture(100, 120))
    boxes = torch.tensor([[10, 10, 50, 60], [30, 20, 90, 80], [5, 40, 60, 95]])
    together, grouped = ours(frame, boxes=boxes), ours(frame, boxes=boxes, at_once=2)
    assert together.shape == (3, 1, 100, 120)
    assert torch.allclose(together, grouped, atol=1e-4 * float(together.abs().max()))


def test_hugging_face_layout(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.SamConfig(
        vision_config={"image_size": 128, "num_hidden_layers": 1, "global_attn_indexes": [0]},
        prompt_encoder_config={"image_size": 128, "image_embedding_size": 8},
        mask_decoder_config={"layer_norm_eps": 1e-5},  # SAM's own; the default of transformers differs
    )
    theirs = transformers.SamModel(config).eval()
    theirs.load_state_dict(enliven(theirs.state_dict()))
    theirs.prompt_encoder.shared_embedding.positional_embedding = theirs.shared_image_embedding.positional_embedding
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    ours = SamDecoder(128, 8, tmp_path)
    features = torch.randn(1, 256, 8, 8, generator=torch.Generator().manual_seed(4))
    boxes = torch.tensor([[10.0, 20.0, 90.0, 100.0], [5.0, 5.0, 60.0, 50.0]])
    with torch.no_grad():
        expected = theirs(image_embeddings=features, input_boxes=boxes[None], multimask_output=False)
        logits, iou = ours(features, boxes=boxes)
    assert relative(logits, expected.pred_masks[0]) < 1e-4
    assert relative(iou, expected.iou_scores[0]) < 1e-4


def test_refused(checkpoints, tmp_path):
    torch.save({"image_encoder.x": torch.zeros(1)}, tmp_path / "encoder_only.pth")
    with pytest.raises(CheckpointError, match="no layout known here"):
        SamDecoder(1024, weights=tmp_path / "encoder_only.pth")
    ours = segmenter("litemedsam", checkpoints / "litemedsam.pth")
    with pytest.raises(ValueError, match="at least one box or point"):
        ours(torch.rand(1, 1, 40, 40))
    with pytest.raises(ValueError, match="one frame at a time"):
        ours(torch.rand(2, 1, 40, 40), boxes=torch.zeros(1, 4))
    with pytest.raises(ValueError, match="takes no prompts"):
        PromptSegmenter(create_teacher("mobilenet_v3", random_weights=True), ours.decoder)


def test_litemedsam_on_real_images(real_weights, shared):
    """A small version of docs/results/litemedsam_boxes.json: real weights, real images, boxes from the masks."""
    source = importlib.util.spec_from_file_location("litemedsam_boxes", ROOT / "experiments" / "litemedsam_boxes.py")
    script = importlib.util.module_from_spec(source)
    source.loader.exec_module(script)
    names = ["ct_spleen", "cxr_lung_shenzhen_montgomery", "mr_brain_tumour_figshare", "us_breast_busbra"]
    report = script.study(shared / "data", real_weights("litemedsam"), images=1, names=names)
    assert all(row["images"] == 1 and row["dice"] >= 0.85 for row in report["sets"].values()), report


def test_the_published_figures():
    """Twelve sets, at least four of them at a mean Dice of 0.85."""
    import json

    path = ROOT / "docs" / "results" / "litemedsam_boxes.json"
    if not path.is_file():
        pytest.skip("the study has not been run: python -m experiments.litemedsam_boxes DATA")
    report = json.loads(path.read_text(encoding="utf-8"))
    assert len(report["sets"]) == 12 and "litemedsam_boxes" in report["command"]
    assert sum(row["dice"] >= 0.85 for row in report["sets"].values()) == report["sets_at_least_0.85"] >= 4

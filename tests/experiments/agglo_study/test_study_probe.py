import numpy as np
import pytest
import torch
from torch import nn

from monai_agglo.distill.probes.probe import ProbeMemory, ProbeSettings, image_dice, probe, support
from monai_agglo.distill.probes.tasks import Task


@pytest.fixture(scope="module")
def discs():
    """24 bright discs on noise, two of each patient; the second structure is absent but in three images."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:64, :64]
    frames, masks = [], []
    for number in range(24):
        disc = np.hypot(rows - rng.uniform(20, 44), columns - rng.uniform(20, 44)) < rng.uniform(8, 16)
        frames.append((70 + 100 * disc + rng.normal(0, 10, disc.shape)).clip(0, 255))
        masks.append([disc, disc & (number in (0, 8, 16))])
    parts = ["train"] * 12 + ["val"] * 4 + ["test"] * 8
    return Task(
        "discs", ("disc", "rare"), np.stack(frames).astype(np.uint8), np.array(masks).astype(np.uint8),
        tuple(f"p{n // 2}" for n in range(24)), tuple(parts), "CC0", True, "patient",
    )  # fmt: skip


class Small(nn.Sequential):
    """Stride 4, one map that sees brightness."""

    def __init__(self):
        torch.manual_seed(0)
        super().__init__(nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))


SETTINGS = ProbeSettings(steps=100, tuned_steps=5, channels=8)


def test_support_takes_patients_in_turn(discs):
    chosen = support(discs, 6, seed=0)
    assert len({discs.sources[i] for i in chosen}) == 6 and chosen == support(discs, 6, seed=0)
    assert chosen != support(discs, 6, seed=1)
    assert support(discs, 0, seed=0) == support(discs, 99, seed=0) == list(range(12))


def test_a_frozen_probe_learns_and_repeats(discs):
    found = probe(Small(), discs, "test", "frozen", 0, 0, SETTINGS)
    assert found["structures"][0] > 0.6 and found["images"] == 12
    assert found["sources"] == list(discs.sources[16:])
    again = probe(Small(), discs, "test", "frozen", 0, 0, SETTINGS)
    assert again["dice"] == found["dice"]
    other = probe(Small(), discs, "test", "frozen", 8, 1, SETTINGS)
    assert other["dice"] != found["dice"] and other["images"] == 8


@pytest.mark.parametrize("mode", ["frozen", "tuned"])
def test_what_is_remembered_changes_nothing(discs, mode):
    memory, short = ProbeMemory(), ProbeSettings(steps=40, tuned_steps=20, channels=8)

    def dice(part, seed=0, settings=short, memory=memory):
        return probe(Small(), discs, part, mode, 8, seed, settings, memory=memory)["dice"]

    first = dice("val")
    assert set(memory.maps) == ({"train", "val"} if mode == "frozen" else set())
    (model,) = memory.models.values()
    assert dice("val") == first
    assert dice("test") == dice("test", memory=None)
    assert list(memory.models.values()) == [model]  # trained once
    linear = ProbeSettings(steps=40, tuned_steps=20, channels=8, blocks=0)
    assert dice("val", seed=1) == dice("val", seed=1, memory=None)
    assert dice("val", settings=linear) == dice("val", settings=linear, memory=None)
    assert len(memory.models) == 3


@pytest.mark.parametrize("mode", ["frozen", "tuned"])
def test_the_encoder_is_not_changed(discs, mode):
    encoder = Small()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    state = torch.get_rng_state()
    probe(encoder, discs, "val", mode, 8, 0, ProbeSettings(steps=2, tuned_steps=2, channels=8))
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_scale_of_the_maps_does_not_matter(discs):
    class Louder(Small):
        def forward(self, x):
            return 1000 * super().forward(x) - 40

    one, other = (
        probe(e, discs, "val", "frozen", 0, 0, ProbeSettings(steps=10, channels=8)) for e in (Small(), Louder())
    )
    assert np.allclose(one["dice"], other["dice"], atol=0.02)


def test_dice_by_hand():
    masks = np.zeros((2, 2, 4, 4), np.uint8)
    masks[0, 0, :2] = 1  # 8 pixels, 4 of which are found
    logits = torch.full((2, 2, 4, 4), -1.0)
    logits[0, 0, 0] = 1
    found = image_dice(nn.Identity(), logits, masks)
    assert found[0, 0] == pytest.approx(2 * 4 / 12)
    assert np.isnan(found[1]).all() and np.isnan(found[0, 1])


def test_what_is_absent_has_no_dice(discs):
    found = probe(Small(), discs, "val", "frozen", 0, 0, ProbeSettings(steps=1, channels=8))
    assert found["structures"][1] is None and None not in found["dice"]


def test_unknown_modes_are_refused(discs):
    with pytest.raises(ValueError, match="frozen or tuned"):
        probe(Small(), discs, "train", "frozen", 0, 0, SETTINGS)

"""Checkpoints are whole or absent, and a resumed training equals one that was never interrupted."""

import os
import random

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.data import DataLoader

from monai_agglo.data import EpochBatchSampler
from monai_agglo.handlers import BestWeights, ResumableCheckpoint, save_atomically
from monai_agglo.handlers.resumable_checkpoint import random_state, set_random_state


class Numbers:
    """A data set that tells which (epoch, number) it was asked for."""

    def __len__(self):
        return 7

    def __getitem__(self, index):
        return torch.tensor(index)


class Killed(BaseException):
    pass


def training(folder, epochs=3, resume=False, kill_at=None, every=1, network=None, workers=0, batch=2):
    """A few steps whose result depends on the data's order and on every random number generator."""
    torch.manual_seed(0), random.seed(0), np.random.seed(0)
    network = network or torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(network.weight)
    optimizer = torch.optim.Adam(network.parameters(), 0.1)
    sampler = EpochBatchSampler(Numbers(), batch, seed=3)
    seen = []

    def step(engine, indices):
        seen.append([tuple(pair) for pair in indices.tolist()])
        optimizer.zero_grad()
        chance = random.random() + np.random.rand() + torch.rand(1)
        (network(indices.float()[:, 1:]) - chance).square().mean().backward()
        optimizer.step()
        if engine.state.iteration == kill_at:
            raise Killed
        return 0.0

    engine = Engine(step)
    objects = {"network": network, "optimizer": optimizer}
    handler = ResumableCheckpoint(objects, folder / "c.pt", every, sampler, resume, folder / "final.pt", network)
    handler.attach(engine)
    loader = DataLoader(Numbers(), batch_sampler=sampler, num_workers=workers)
    engine.run(loader, max_epochs=epochs, epoch_length=len(loader))
    return network, seen, engine


@pytest.mark.parametrize("kill_at", [1, 4, 5, 9])
@pytest.mark.parametrize("every", [1, 2, 0])
def test_resumed_equals_uninterrupted(tmp_path, kill_at, every):
    (tmp_path / "whole").mkdir()
    network, seen, _ = training(tmp_path / "whole")
    with pytest.raises(Killed):
        training(tmp_path, kill_at=kill_at, every=every)
    assert not (tmp_path / "final.pt").exists()
    resumed, rest, engine = training(tmp_path, resume=True, every=every)
    assert rest == seen[len(seen) - len(rest) :]
    assert (engine.state.iteration, engine.state.epoch) == (9, 3)
    assert torch.equal(network.weight, resumed.weight) and torch.equal(network.bias, resumed.bias)
    final = torch.load(tmp_path / "final.pt", weights_only=True)
    assert torch.equal(final["weight"], network.weight)


def test_epochs_reach_the_samples_also_in_worker_processes(tmp_path):
    _, seen, _ = training(tmp_path, epochs=2, workers=1)
    assert [{epoch for epoch, _ in batch} for batch in seen] == [{1}] * 3 + [{2}] * 3


def test_finished_training_does_nothing_more(tmp_path):
    network, _, _ = training(tmp_path)
    again, seen, _ = training(tmp_path, resume=True)
    assert seen == [] and torch.equal(network.weight, again.weight)
    longer, seen, _ = training(tmp_path, epochs=4, resume=True)
    assert {epoch for batch in seen for epoch, _ in batch} == {4} and not torch.equal(network.weight, longer.weight)


def test_without_resume_a_checkpoint_is_not_read(tmp_path):
    training(tmp_path)
    assert len(training(tmp_path)[1]) == 9


def test_nothing_to_resume(tmp_path, caplog):
    assert len(training(tmp_path, resume=True)[1]) == 9
    assert "training from the beginning" in caplog.text


def test_another_training_is_refused(tmp_path):
    training(tmp_path)
    with pytest.raises(ValueError, match="3 steps per epoch, this training has 2"):
        training(tmp_path, resume=True, batch=3)
    with pytest.raises(ValueError, match="the saved network does not fit"):
        training(tmp_path, resume=True, network=torch.nn.Linear(1, 2))
    state = torch.load(tmp_path / "c.pt", weights_only=True)
    del state["objects"]["optimizer"]
    torch.save(state, tmp_path / "c.pt")
    with pytest.raises(ValueError, match="another kind of training"):
        training(tmp_path, resume=True)


def test_generators_go_on_where_they_were(tmp_path):
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    random.gauss(0, 1), np.random.standard_normal()  # both keep a second value
    save_atomically(random_state(), tmp_path / "r.pt")
    draws = [random.gauss(0, 1), np.random.standard_normal(), torch.rand(1).item(), random.random()]
    set_random_state(torch.load(tmp_path / "r.pt", weights_only=True))
    assert draws == [random.gauss(0, 1), np.random.standard_normal(), torch.rand(1).item(), random.random()]


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "sub" / "w.pt"
    save_atomically({"a": 1}, path)

    def half(content, stream):
        stream.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="disk full"):
        save_atomically({"a": 2}, path)
    assert torch.load(path, weights_only=True) == {"a": 1} and os.listdir(path.parent) == ["w.pt"]


def evaluate(best, epoch, value):
    engine = Engine(lambda engine, batch: None)
    best.attach(engine)
    engine.add_event_handler(Events.STARTED, lambda e: setattr(e.state, "metrics", {"val_mean_dice": value}))
    engine.run([0])
    engine.state.epoch = epoch


def test_best_weights(tmp_path):
    network = torch.nn.Linear(1, 1)
    best = BestWeights(network, tmp_path / "model.pt")

    def kept():
        return torch.load(tmp_path / "model.pt", weights_only=True)["bias"].item()

    for value, expected in [(float("nan"), None), (0.5, 1), (0.4, 1), (float("nan"), 1), (0.5, 1), (0.6, 5)]:
        with torch.no_grad():
            network.bias += 1 if value == value else 0
        if expected == 1 and best.best is None:
            network.bias.data.fill_(1)
        if expected == 5:
            network.bias.data.fill_(5)
        evaluate(best, 1, value)
        if expected is None:
            assert not (tmp_path / "model.pt").exists()
        else:
            assert kept() == expected
    again = BestWeights(network, tmp_path / "model.pt")
    again.load_state_dict(best.state_dict())
    network.bias.data.fill_(9)
    evaluate(again, 2, 0.55)
    assert kept() == 5 and again.best == pytest.approx(0.6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_weights_of_a_gpu_load_without_one(tmp_path):
    network = torch.nn.Linear(2, 1).cuda()
    engine = Engine(lambda engine, batch: None)
    engine.state.metrics["val_mean_dice"] = 0.5
    BestWeights(network, tmp_path / "model.pt").compare(engine)
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert {value.device.type for value in state.values()} == {"cpu"}

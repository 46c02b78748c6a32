"""Checkpoints for bit-exact resume of an interrupted training."""

from __future__ import annotations

import logging
import math
import os
import random
from pathlib import Path

import numpy as np
import torch
from ignite.engine import Engine, Events

__all__ = ["BestWeights", "ResumableCheckpoint", "save_atomically"]

logger = logging.getLogger(__name__)


def save_atomically(content, path: str | os.PathLike) -> None:
    """``torch.save`` to a temporary file, flushed and renamed: a crash leaves either the old or the new file.

    Args:
        content: object to save.
        path: final file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(partial, "wb") as stream:
            torch.save(content, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _rank() -> int:
    ready = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_rank() if ready else 0


def _plain(module):
    """The module inside a ``DistributedDataParallel`` wrapper."""
    return module.module if isinstance(module, torch.nn.parallel.DistributedDataParallel) else module


def _weights(module) -> dict:
    """Weights on the CPU, loadable without a GPU."""
    return {name: value.detach().cpu() for name, value in _plain(module).state_dict().items()}


def random_state() -> dict:
    """State of the random number generators of Python, NumPy and torch, loadable with ``weights_only=True``."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    state = {
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(gauss)],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state: dict) -> None:
    """Restore the output of :func:`random_state`."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


class ResumableCheckpoint:
    """Saves the whole state of a training every few steps and after each epoch, and resumes from it.

    The file holds every object of ``save_dict``, the counters of the trainer and the state of all random number
    generators. With a data order that depends only on seed and epoch (:class:`monai_agglo.data.EpochBatchSampler`) a
    resumed training ends with the same weights as an uninterrupted one; bit-exact on a CPU.

    Args:
        save_dict: objects with ``state_dict`` and ``load_state_dict`` by name.
        path: checkpoint file, replaced atomically.
        every: save interval in iterations; 0 saves after epochs only.
        sampler: a sampler with ``set_position(epoch, skip)``, called at the start of each epoch.
        resume: resume from ``path`` if it exists.
        final_path: file for the plain state dict of ``final`` after the last epoch; None writes none.
        final: network to write to ``final_path``.
    """

    def __init__(
        self,
        save_dict: dict,
        path: str | os.PathLike,
        every: int = 200,
        sampler=None,
        resume: bool = False,
        final_path: str | os.PathLike | None = None,
        final: torch.nn.Module | None = None,
    ) -> None:
        self.save_dict = {name: _plain(value) for name, value in save_dict.items()}
        self.path = Path(path)
        self.every = int(every)
        self.sampler = sampler
        self.resume = bool(resume)
        self.final_path = final_path
        self.final = final
        self._random: dict | None = None

    def attach(self, engine: Engine) -> None:
        """Attach to a trainer, as its last handler: an epoch is saved after all other handlers."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.EPOCH_STARTED, self.position)
        engine.add_event_handler(Events.ITERATION_STARTED, self.restore_random)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.iteration)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)
        engine.add_event_handler(Events.COMPLETED, self.finish)

    def start(self, engine: Engine) -> None:
        """Load the checkpoint if requested and present.

        Raises:
            ValueError: if the checkpoint does not match network or training.
        """
        if not self.resume:
            return
        if not self.path.is_file():
            logger.warning("nothing to resume in %s: training from the beginning", self.path.parent)
            return
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        counters = state["engine"]
        if set(self.save_dict) - set(state["objects"]):
            raise ValueError(f"{self.path} was saved by another kind of training; start without --resume")
        if counters["epoch_length"] != engine.state.epoch_length:
            raise ValueError(
                f"{self.path} was saved with {counters['epoch_length']} steps per epoch, this training has "
                f"{engine.state.epoch_length}: the data, the batch size or the number of processes changed; start "
                "without --resume or restore them"
            )
        for name, target in self.save_dict.items():
            try:
                target.load_state_dict(state["objects"][name])
            except (RuntimeError, ValueError, KeyError) as error:
                raise ValueError(f"{self.path}: the saved {name} does not fit this training: {error}") from error
        engine.state.iteration = counters["iteration"]
        engine.state.epoch = counters["iteration"] // counters["epoch_length"]
        self._random = state["random"]
        logger.info("resuming after step %d (epoch %d)", engine.state.iteration, engine.state.epoch)

    def position(self, engine: Engine) -> None:
        """Set the position of the sampler."""
        done = engine.state.iteration - (engine.state.epoch - 1) * engine.state.epoch_length
        if done == 0:
            # Saved between two epochs: the data loader has not yet drawn for the next epoch.
            self.restore_random(engine)
        if self.sampler is not None:
            self.sampler.set_position(engine.state.epoch, done)

    def restore_random(self, engine: Engine) -> None:
        """Restore the generators once; for a mid-epoch resume, after the data loader's first draw."""
        if self._random is not None:
            set_random_state(self._random)
            self._random = None

    def iteration(self, engine: Engine) -> None:
        """Save within an epoch. Its last step is saved after validation instead."""
        last = engine.state.iteration % engine.state.epoch_length == 0
        if self.every > 0 and engine.state.iteration % self.every == 0 and not last:
            self.save(engine)

    def save(self, engine: Engine) -> None:
        """Write the checkpoint (rank 0 only)."""
        if _rank() > 0:
            return
        content = {
            "objects": {name: value.state_dict() for name, value in self.save_dict.items()},
            "engine": {"iteration": engine.state.iteration, "epoch_length": engine.state.epoch_length},
            "random": random_state(),
        }
        save_atomically(content, self.path)

    def finish(self, engine: Engine) -> None:
        """Write the final weights."""
        if self.final_path is not None and self.final is not None and _rank() == 0:
            save_atomically(_weights(self.final), self.final_path)


class BestWeights:
    """Writes a network's weights whenever the evaluator's metric improves.

    Args:
        network: network to write as a plain state dict.
        path: file, loadable with ``torch.load(weights_only=True)``.
        metric: name in ``engine.state.metrics``; larger is better.
    """

    def __init__(self, network: torch.nn.Module, path: str | os.PathLike, metric: str = "val_mean_dice") -> None:
        self.network = network
        self.path = Path(path)
        self.metric = metric
        self.best: float | None = None
        self.epoch = 0

    def attach(self, engine: Engine) -> None:
        """Attach to an evaluator."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.compare)

    def compare(self, engine: Engine) -> None:
        """Write the weights if the metric improves."""
        value = float(engine.state.metrics[self.metric])
        if math.isnan(value):  # no measurement; NaN would block all later values
            return
        if self.best is None or value > self.best:
            self.best, self.epoch = value, int(engine.state.epoch)
            if _rank() == 0:
                save_atomically(_weights(self.network), self.path)
                logger.info("%s %.4f in epoch %d: weights kept in %s", self.metric, value, self.epoch, self.path)

    def state_dict(self) -> dict:
        """State for a checkpoint."""
        return {"best": self.best, "epoch": self.epoch}

    def load_state_dict(self, state: dict) -> None:
        """Restore the state of a checkpoint."""
        self.best, self.epoch = state["best"], int(state["epoch"])

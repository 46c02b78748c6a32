"""Suite: training of both bundles against the network's own rate, the feature cache, the phantom."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from .context import Context
from .interleave import Candidate, measure_interleaved
from .worker import Case

__all__ = ["WHAT", "make_distillation", "make_phantom", "make_segmenter", "training"]

WHAT = (
    "The bundles' own train.json with their own loaders and handlers on synthetic cines, without validation and "
    "tracking; medians over the steps after two. Step: from one batch to the next. Load: what the trainer waits "
    "for the batch. Pure: forward, loss, backward and optimiser of the same steps. The loader's ratio is the rate"
    " with the loader over that without it."
)
TEACHERS = ("mobilenet_v3", "dinov2_small")
"""Small ones: what is trained on are their cached features, in the stored form of all."""


def training(context: Context) -> dict[str, Any]:
    """Measure.

    Args:
        context: how.

    Returns:
        ``rows`` of the trainings and ``rates`` of phantom and cache.
    """
    size, threads = context.pick(512, 64), context.pick(2, 1)
    patients, frames = context.pick((12, 8), (3, 2))
    few = context.pick(5, 3)  # the teachers encode these first
    steps = context.pick(8, 2)
    small: dict[str, Any] = context.pick({}, {"image_size": 64, "batch_size": 2, "sizes": [[1, 64]]})
    small_student: dict[str, Any] = context.pick({}, {"image_size": 160, "batch_size": 2, "frame_size": 64})
    phantom = Candidate("phantom", f"{__name__}:{make_phantom.__name__}",
                        {"size": size, "frames": context.pick(12, 2)}, 1, context.pick(3, 1))  # fmt: skip
    common: dict[str, Any] = {"work": str(context.work), "frames": frames, "size": size, "steps": steps}
    common |= {"threads": threads}
    candidates = [
        Candidate("vfss_seg", f"{__name__}:{make_segmenter.__name__}",
                  {**common, "patients": patients, "overrides": small}, threads, 1),
        Candidate("agglo_distill", f"{__name__}:{make_distillation.__name__}",
                  {**common, "patients": few, "overrides": small_student}, threads, 1),
    ]  # fmt: skip
    rates = [
        _rate(row.candidate, row.summary()) for row in measure_interleaved([phantom], context.share(0.1), context.log)
    ]
    rows = []
    for candidate in candidates:  # alone: each prepares its data first
        (row,) = measure_interleaved([candidate], context.left, context.log)
        found = row.repeats[0]["found"] | {"peak_mb": row.repeats[0]["peak_mb"]} if row.repeats else row.summary()
        rows.append({"bundle": candidate.name} | {key: value for key, value in found.items() if key != "cache_per_s"})
        if "cache_per_s" in found:
            rates.append({"name": "cache", "per_s": found["cache_per_s"], "unit": "images, all teachers"})
    return {"what": WHAT, "size": size, "threads": threads, "rows": rows, "rates": rates}


def _rate(name: str, summary: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "unit": "frames rendered and written"} | summary


def make_phantom(size: int, frames: int) -> dict[str, Case]:
    """Render and write a synthetic study.

    Args:
        size: rows and columns.
        frames: of the study.

    Returns:
        One case.
    """
    from monai_agglo.phantom import PhantomSpec, write_study

    spec = PhantomSpec.sample(7, rows=size, cols=size)

    def write() -> None:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            write_study(spec, folder, frames=frames)

    return {"write": Case(write, frames, 1)}


def make_segmenter(
    work: str, patients: int, frames: int, size: int, steps: int, threads: int, overrides: dict[str, Any]
) -> dict[str, Case]:
    """A training of ``vfss_seg`` for a few steps.

    Args:
        work: folder of the phantom data set, made when missing.
        patients: in it.
        frames: of each.
        size: rows and columns.
        steps: that count.
        threads: of the processor.
        overrides: of the config.

    Returns:
        One case, see :func:`_timed`.
    """
    return _case("vfss_seg", work, patients, frames, size, steps, threads, overrides)


def make_distillation(
    work: str, patients: int, frames: int, size: int, steps: int, threads: int, overrides: dict[str, Any]
) -> dict[str, Case]:
    """A training of ``agglo_distill`` for a few steps, and the rate of its cache; see :func:`make_segmenter`."""
    from monai_agglo.networks.teachers import find_weights, teacher_class

    real = all(find_weights(teacher_class(name).spec) for name in TEACHERS)
    teachers = {"teachers": list(TEACHERS)} if real else {"random_weights": True}
    return _case("agglo_distill", work, patients, frames, size, steps, threads, teachers | overrides)


def _case(
    bundle: str, work: str, patients: int, frames: int, size: int, steps: int, threads: int, overrides: dict[str, Any]
) -> dict[str, Case]:
    import torch

    from monai_agglo.bundle import find_bundle
    from monai_agglo.bundle.config_check import load_parser
    from monai_agglo.phantom import make_dataset

    torch.set_num_threads(threads)
    data = str(Path(work) / f"training_{size}_{patients}_{frames}")
    make_dataset(data, patients, 1, frames, size, 1, (0.67, 0.33, 0.0), progress=False)
    folder = find_bundle(bundle)
    parser = load_parser([folder / "configs" / "train.json"], folder)
    settings = {
        "cache_dir": f"{data}_{bundle}_cache",
        "dataset_dir": data,
        "phantom_dir": f"{data}_unused",
        "track": False,
    }
    settings |= {"epochs": 1000, "device": torch.device("cpu"), "val_interval": 1000, **overrides}
    for key, value in settings.items():
        parser[key] = value

    def run() -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="bench-") as output:
            parser["output_dir"] = output
            return train()

    def train() -> dict[str, Any]:
        parser.get_parsed_content("initialize")
        trainer = parser.get_parsed_content("train#trainer")
        found: dict[str, Any] = {"batch": parser.get_parsed_content("batch_size"), "steps": steps}
        found["weights_of_teachers"] = "random" if settings.get("random_weights") else None
        if bundle == "agglo_distill":
            found["cache_per_s"] = _reading(parser.get_parsed_content("train#dataset"))
        return found | _timed(trainer, steps)

    return {bundle: Case(run, steps, threads, once=True)}


def _reading(dataset: Any, passes: int = 2) -> float:
    """Samples per second of a data set."""
    begin = time.perf_counter()
    for _ in range(passes):
        for index in range(len(dataset)):
            dataset[index]
    return passes * len(dataset) / (time.perf_counter() - begin)


def _timed(trainer: Any, steps: int, first: int = 2) -> dict[str, Any]:
    """Run a trainer for a few steps and time their parts.

    Args:
        trainer: one of MONAI's.
        steps: that count.
        first: steps before them.

    Returns:
        Medians in milliseconds of a step, of waiting for a batch, and of the pure step, with the ratios of rates.
    """
    from ignite.engine import Events
    from monai.engines.utils import IterationEvents

    marks: dict[str, list[float]] = {"load": [], "loaded": [], "begin": [], "end": []}

    def note(name: str) -> Any:
        return lambda engine: marks[name].append(time.perf_counter())

    trainer.add_event_handler(Events.GET_BATCH_STARTED, note("load"))
    trainer.add_event_handler(Events.GET_BATCH_COMPLETED, note("loaded"))
    trainer.add_event_handler(Events.ITERATION_STARTED, note("begin"))
    trainer.add_event_handler(IterationEvents.MODEL_COMPLETED, note("end"))

    @trainer.on(Events.ITERATION_COMPLETED)
    def stop(engine: Any) -> None:
        if engine.state.iteration > first + steps:  # the last one ends the last step that counts
            engine.terminate()

    trainer.run()
    periods = [after - before for before, after in zip(marks["load"], marks["load"][1:])][first : first + steps]
    waits = [done - begun for begun, done in zip(marks["load"], marks["loaded"])][first : first + steps]
    pures = [done - begun for begun, done in zip(marks["begin"], marks["end"])][first : first + steps]
    period, wait, pure = statistics.median(periods), statistics.median(waits), statistics.median(pures)
    return {
        "step_ms": 1000 * period,
        "load_ms": 1000 * wait,
        "pure_ms": 1000 * pure,
        "steps_per_s": 1 / period,
        "loader_ratio": sum(p - w for p, w in zip(periods, waits)) / sum(periods),
        "pure_ratio": sum(pures) / sum(periods),
        "of_steps": len(periods),
    }

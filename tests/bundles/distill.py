"""Runs of agglo_distill's configs on a few phantom frames, with random stand-ins for teachers."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "bundles" / "agglo_distill"
NETWORK = {"network_def#backbone": "test_efficientnet", "network_def#out_channels": 8}


def small(output, phantom, **overrides):
    """Overrides that make train.json cheap and write nothing outside ``output`` and ``phantom``."""
    tiny = {
        "output_dir": str(output), "phantom_dir": str(phantom), "dataset_dir": str(phantom), "random_weights": True,
        "image_size": 128, "frame_size": 96, "patients": 5, "frames": 2, "batch_size": 2, "epochs": 2,
        "zoom": [0.7, 1.6], "checkpoint_every": 1, "gradient_norms_every": 2, "average_decay": 0.5, "track_every": 1,
        "data#phantom_options": {"size": 96, "processes": 1}, "cache#progress": False,
    }  # fmt: skip
    return {**tiny, **NETWORK, "logging_file": False, **overrides}


def config(*names):
    return [str(BUNDLE / "configs" / f"{name}.json") for name in names]


def run(*names, **overrides):
    """``python -m monai.bundle run`` in this process."""
    import monai.bundle

    monai.bundle.run(config_file=config(*names), **overrides)

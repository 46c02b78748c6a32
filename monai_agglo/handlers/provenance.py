"""Provenance of a training run: code, data, versions, settings."""

from __future__ import annotations

import os
import platform
import secrets
import subprocess
import time
from pathlib import Path

import torch

__all__ = ["git_revision", "provenance", "run_name"]


def git_revision(folder: str | os.PathLike | None = None) -> str:
    """Revision of the source tree.

    Args:
        folder: a folder in the tree; this package's by default.

    Returns:
        Full commit hash, with ``-dirty`` with uncommitted changes; the package version outside a clone.
    """
    from monai_agglo import __version__

    folder = str(folder or Path(__file__).parent)
    try:
        revision = subprocess.run(
            ["git", "-C", folder, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "-C", folder, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True, text=True, timeout=30, check=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return f"monai-agglo {__version__}"
    return revision + ("-dirty" if changed else "")


def provenance(train=None, validate=None, network=None, **settings) -> dict:
    """Parameters of a run for the experiment tracker.

    Args:
        train: training dataset with a ``data_hash``.
        validate: validation dataset with a ``data_hash``.
        network: network, for its number of parameters.
        settings: further settings.

    Returns:
        Flat dictionary of strings and numbers, without paths and patients.
    """
    import monai

    record = {
        "git_revision": git_revision(),
        "monai_version": monai.__version__,
        "torch_version": torch.__version__,
        "python_version": platform.python_version(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }
    for name, dataset in (("train", train), ("validate", validate)):
        if dataset is not None:
            record[f"{name}_samples"] = len(dataset)
            if hasattr(dataset, "data_hash"):
                record[f"{name}_data_hash"] = dataset.data_hash
    if network is not None:
        record["parameters"] = sum(p.numel() for p in network.parameters())
    return {**record, **settings}


def run_name(output_dir: str | os.PathLike, resume: bool = False, prefix: str = "vfss_seg") -> str:
    """Unique run name; a resumed training keeps its name.

    Without it MONAI's MLflow handler adopts any unfinished run.

    Args:
        output_dir: folder of the run; the name is stored there in ``run_name.txt``.
        resume: use the stored name.
        prefix: prefix of the name; in a distributed run the whole name of ranks above 0.

    Returns:
        The name.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized() and torch.distributed.get_rank() > 0:
        return prefix  # only rank 0 tracks
    kept = Path(output_dir) / "run_name.txt"
    if resume and kept.is_file():
        return kept.read_text().strip()
    name = f"{prefix}_{time.strftime('%Y%m%d_%H%M%S')}_{secrets.token_hex(3)}"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(name + "\n")
    return name

"""Runs of the bundle's configs on tiny data."""

from contextlib import contextmanager
from pathlib import Path

import pytest

TINY = {
    "image_size": 48,
    "sizes": [[1, 32], [3, 48]],
    "epochs": 2,
    "batch_size": 2,
    "checkpoint_every": 2,
    "frames_per_case": 4,
}
"""Overrides that make every config cheap."""


def configs(bundle, *names):
    """Paths of a bundle's configs."""
    return [str(Path(bundle) / "configs" / f"{name}.json") for name in names]


def run(bundle, *names, **overrides):
    """``python -m monai.bundle run`` in this process; its logging.conf would take pytest's handlers away."""
    import monai.bundle

    monai.bundle.run(config_file=configs(bundle, *names), logging_file=False, **overrides)


@contextmanager
def fails_because(kind, words):
    """MONAI wraps what goes wrong in a config: the first cause is what is meant."""
    with pytest.raises(Exception) as caught:
        yield
    error = caught.value
    while error.__cause__ is not None:
        error = error.__cause__
    assert isinstance(error, kind) and words in str(error)

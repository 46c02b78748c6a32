"""What the tests of the study share."""

from contextlib import contextmanager

import pytest
import torch
from study_samples import TEACHERS, tiny_settings, write_data

from monai_agglo.networks.teachers import registry


@contextmanager
def registered():
    """The teachers of one convolution, by name, and nobody else's registry changed for good."""
    before = dict(registry.TEACHERS)
    registry.TEACHERS.update(TEACHERS)
    try:
        yield
    finally:
        registry.TEACHERS.clear()
        registry.TEACHERS.update(before)


@pytest.fixture(scope="module", autouse=True)
def small_teachers():
    """For every test of the study."""
    with registered():
        yield


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    """Folder of three generated sets."""
    return write_data(tmp_path_factory.mktemp("shared") / "data")


@pytest.fixture(scope="session")
def finished_study(tiny_data, tmp_path_factory):
    """A whole tiny study, and what it said."""
    from experiments.agglo_study.runner import Study

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    said = []
    with registered():
        study = Study(tiny_settings(), tiny_data, tmp_path_factory.mktemp("study"), log=said.append)
        study.run()
    torch.set_num_threads(threads)
    return study, said

"""What the tests of the study share."""

import pytest
import torch
from study_samples import TEACHERS, tiny_settings, write_data

from monai_agglo.networks.teachers import registry


@pytest.fixture(scope="session", autouse=True)
def small_teachers():
    """The teachers of one convolution, by name."""
    before = dict(registry.TEACHERS)
    registry.TEACHERS.update(TEACHERS)
    yield
    registry.TEACHERS.clear()
    registry.TEACHERS.update(before)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory):
    """Folder of three generated sets."""
    return write_data(tmp_path_factory.mktemp("shared") / "data")


@pytest.fixture(scope="session")
def finished_study(tiny_data, tmp_path_factory):
    """A whole tiny study, and what it said."""
    from monai_agglo.apps.study.runner import Study

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    said = []
    study = Study(tiny_settings(), tiny_data, tmp_path_factory.mktemp("study"), say=said.append)
    study.run()
    torch.set_num_threads(threads)
    return study, said

import numpy as np
import pytest

from experiments.benchmark.files import JPEG, SYNTAXES, phantom_frames, write_dicom
from monai_agglo.cine.cine import open_cine
from monai_agglo.dicom.result_source import ResultSource


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def frames(work):
    return phantom_frames(work, 3, 64)[0]


def test_frames_are_made_once(work, frames):
    again, masks = phantom_frames(work, 3, 64)
    assert again.dtype == np.uint8 and np.array_equal(again, frames)
    assert masks.shape == (3, 12, 64, 64) and masks.any((0, 2, 3)).sum() > 8
    assert len(list(work.glob("*.npz"))) == 1


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_syntax_reads_back(work, frames, syntax):
    path = write_dicom(work / f"{syntax}.dcm", frames, syntax, 6)
    cine = open_cine(path)
    assert cine.shape == (64, 64, 6)
    read = cine.read().transpose(2, 0, 1).astype(int)
    worst = np.abs(read - frames[[0, 1, 2, 1, 0, 1]]).max()
    assert cine.meta["lossy"] is (syntax in (JPEG, "H.264"))
    assert 0 < worst < 60 if cine.meta["lossy"] else worst == 0
    assert ResultSource.read([path], frames=6) is not None  # a SEG can refer to it

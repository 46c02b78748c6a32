"""The frames of many cines are one sequence, loaded one cine at a time."""

import pickle

import pytest
import torch

from monai_agglo.data import CineFrames


class Cines(list):
    loads = 0

    def __getitem__(self, index):
        Cines.loads += 1
        return {"image": super().__getitem__(index)}


def test_order_length_and_loads():
    cines = Cines([torch.rand(1, 4, 5, count) for count in (3, 1, 2)])
    source = CineFrames(cines)
    assert len(source) == 6
    expected = [list.__getitem__(cines, c)[..., t] for c, t in ((0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (2, 1))]
    Cines.loads = 0
    assert all(torch.equal(source[i], frame) for i, frame in enumerate(expected))
    assert Cines.loads == 3  # each cine once, read in order
    assert torch.equal(source[-1], expected[-1])
    with pytest.raises(IndexError):
        source[6]


def test_sent_to_another_process_without_pixels():
    source = CineFrames([{"image": torch.rand(1, 64, 64, 9)}])
    assert len(source) == 9
    again = pickle.loads(pickle.dumps(source))
    assert again._loaded is None and torch.equal(again[4], source[4])

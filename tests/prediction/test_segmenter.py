"""The network of a bundle over streams of frames: windows, context, and bundles that do not fit."""

import json
import shutil

import numpy as np
import pytest
import torch
from app_samples import write_bundle, write_cine

from monai_agglo.cine.cine import open_cine
from monai_agglo.prediction.run import predict
from monai_agglo.prediction.segmenter import BundleError, Segmenter


@pytest.fixture
def cine(tmp_path):
    return write_cine(tmp_path / "cine.dcm", 4)


def test_windows_see_their_neighbours(tmp_path):
    """A network that mixes neighbouring frames gives the same masks in windows, given the context it needs."""
    bundle = write_bundle(tmp_path / "b", window=2, context=1)
    config = json.loads((bundle / "configs" / "inference.json").read_text())
    config["network_def"]["temporal_shift"] = 0.5
    (bundle / "configs" / "inference.json").write_text(json.dumps(config))
    source = write_cine(tmp_path / "c.dcm", 7)

    def masks_of(batch):
        segmenter, cine = Segmenter(bundle, batch=batch), open_cine(source)
        return np.stack([item.masks for item in segmenter.run(cine, segmenter.intensity_range(cine))])

    whole = masks_of(99)
    for batch in (None, 1, 3):
        assert (masks_of(batch) != whole).mean() < 1e-4
    config["inferer"]["context"] = 0
    (bundle / "configs" / "inference.json").write_text(json.dumps(config))
    assert (masks_of(1) != whole).mean() > 1e-3  # so the context does matter


def test_frames_are_streamed(random_bundle):
    class Counted:
        shape, reads = (40, 48, 200), 0

        def frames(self, frames=None):
            for _ in range(200)[frames] if isinstance(frames, slice) else range(200):
                self.reads += 1
                yield np.random.default_rng(self.reads).integers(0, 99, (40, 48)).astype(np.uint8)

    cine, segmenter = Counted(), Segmenter(random_bundle)
    limits = segmenter.intensity_range(cine)
    assert cine.reads == 17  # the sample only
    cine.reads = 0
    for count, item in enumerate(segmenter.run(cine, limits)):
        assert item.index == count and cine.reads <= count + segmenter.ahead
    assert count == 199 and segmenter.ahead < 30 * segmenter.runtime.workers


def test_a_stream_gives_the_masks_of_the_whole(tmp_path):
    """Frames handed over one by one, with their neighbours, are segmented as ``run`` does it."""
    bundle = write_bundle(tmp_path / "b", window=3, context=1)
    path = bundle / "configs" / "inference.json"
    config = json.loads(path.read_text())
    config["network_def"] |= {"temporal_shift": 0.5}
    path.write_text(json.dumps(config))
    segmenter, cine = Segmenter(bundle), open_cine(write_cine(tmp_path / "c.dcm", 5))
    frames = list(cine.frames())
    limits = segmenter.intensity_range(iter(frames))
    assert limits == segmenter.intensity_range(cine)  # so few frames are all in the sample
    assert segmenter.context == segmenter.lookahead == 1
    whole = list(segmenter.run(cine, limits))
    for t, expected in enumerate(whole):
        lead = min(t, 1)
        (got,) = segmenter.segment_window(frames[t - lead : t + 2], limits, lead, t, 1)
        assert got.index == t and got.frame is frames[t]
        assert (got.masks != expected.masks).mean() < 1e-4
        np.testing.assert_allclose(got.probabilities, expected.probabilities, atol=1e-4)
    assert segmenter.segment_window([], limits) == []
    for wrong in ({"lead": 3}, {"count": 3}, {"lead": -1}):
        with pytest.raises(ValueError, match="do not fit 2 frames"):
            segmenter.segment_window(frames[:2], limits, **wrong)
    with pytest.raises(ValueError, match="one size"):
        segmenter.segment_window([frames[0], frames[0][1:]], limits)
    with pytest.raises(ValueError, match="no frame"):
        segmenter.intensity_range([])
    config["network_def"] |= {"causal": True}
    path.write_text(json.dumps(config))
    assert Segmenter(bundle).lookahead == 0


def damaged(random_bundle, tmp_path):
    bundle = tmp_path / "b"
    shutil.copytree(random_bundle, bundle)
    return bundle, torch.load(bundle / "models" / "model.pt", weights_only=True)


def test_weights_must_belong_to_the_network(cine, random_bundle, tmp_path):
    bundle, state = damaged(random_bundle, tmp_path)
    path = bundle / "models" / "model.pt"
    key = next(iter(state))
    for wrong in (
        {k: v for k, v in state.items() if k != key},
        {**state, "extra": torch.zeros(1)},
        {**state, key: torch.zeros(3)},
    ):
        torch.save(wrong, path)
        with pytest.raises(BundleError, match="does not belong"):
            predict(cine, tmp_path / "out", bundle)
    torch.save({"model": state}, path)  # as a checkpoint saver may write it
    assert predict(cine, tmp_path / "out", bundle).exit_code == 0
    path.unlink()
    with pytest.raises(FileNotFoundError, match="no weights"):
        predict(cine, tmp_path / "out", bundle)


def test_weights_are_never_unpickled(cine, random_bundle, tmp_path):
    import pickle

    bundle, _ = damaged(random_bundle, tmp_path)
    mark = tmp_path / "executed"

    class Harm:
        def __reduce__(self):
            return (open, (str(mark), "w"))

    with open(bundle / "models" / "model.pt", "wb") as file:
        pickle.dump(Harm(), file)
    with pytest.raises(BundleError, match="not a plain file of weights"):
        predict(cine, tmp_path / "out", bundle)
    assert not mark.exists()


def test_a_bundle_that_cannot_be_streamed_is_refused(cine, random_bundle, tmp_path):
    bundle, _ = damaged(random_bundle, tmp_path)
    path = bundle / "configs" / "inference.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "inferer": {"_target_": "SimpleInferer"}}))
    with pytest.raises(BundleError, match="SimpleInferer"):
        predict(cine, tmp_path / "out", bundle)
    config["preprocessing"]["transforms"].append({"_target_": "Flipd", "keys": "image", "spatial_axis": 0})
    path.write_text(json.dumps(config))
    with pytest.raises(BundleError, match="Flipd"):
        predict(cine, tmp_path / "out", bundle)

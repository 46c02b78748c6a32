"""Video, sheet and label map of a segmented cine."""

import av
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from PIL import Image

from monai_agglo.data import FlattenStructuresd, SaveOverlayd
from monai_agglo.swallow import flatten


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    masks = torch.from_numpy((rng.random((12, 40, 50, 4)) > 0.9).astype(np.uint8))
    meta = {"filename_or_obj": "a1b2", "frame_times_ms": [0.0, 40.0, 80.0, 120.0]}
    return {"image": MetaTensor(torch.rand(1, 40, 50, 4), meta=meta), "pred": MetaTensor(masks, meta={"x": 1})}


def test_files_are_named_by_the_pseudonym(data, tmp_path):
    assert SaveOverlayd("pred", output_dir=tmp_path)(data) is data
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*"))
    assert names == ["a1b2/a1b2_contact_sheet.png", "a1b2/a1b2_overlay.mp4"]
    with av.open(str(tmp_path / names[1])) as video:
        times = [float(frame.pts * frame.time_base) for frame in video.decode(video=0)]
    np.testing.assert_allclose(times, [0, 0.04, 0.08, 0.12], atol=1e-3)
    assert min(Image.open(tmp_path / names[0]).size) > 100


def test_sizes_must_agree(data, tmp_path):
    data["pred"] = data["pred"][:, :20]
    with pytest.raises(ValueError, match="do not lie on frames"):
        SaveOverlayd("pred", output_dir=tmp_path)(data)
    assert not list(tmp_path.iterdir())


def test_flatten(data, tmp_path):
    flat = FlattenStructuresd("pred")(data)["pred"]
    assert flat.shape == (1, 40, 50, 4) and flat.dtype == torch.uint8 and flat.meta["x"] == 1
    np.testing.assert_array_equal(flat.numpy()[0], flatten(data["pred"].numpy()))
    assert data["pred"].shape[0] == 12  # the input stays
    SaveOverlayd("pred", output_dir=tmp_path, sheet=False)({**data, "pred": flat})  # a label map is drawn as well
    assert [path.name for path in (tmp_path / "a1b2").iterdir()] == ["a1b2_overlay.mp4"]
    with pytest.raises(ValueError, match="11 mask channels"):
        FlattenStructuresd("pred")({"pred": data["pred"][:11]})

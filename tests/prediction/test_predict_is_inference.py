"""predict and ``monai.bundle run inference.json`` of vfss_seg give the same masks in the same geometry."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from app_samples import save_weights, write_cine
from monai.bundle import run

from monai_agglo.prediction.run import predict

BUNDLE = Path(__file__).parents[2] / "bundles" / "vfss_seg"


def test_same_masks_as_the_bundle_s_own_inference(tmp_path):
    """With random weights, which leave no pixel at rest; the trained ones would hide a difference in the background."""
    bundle = tmp_path / "vfss_seg"
    shutil.copytree(BUNDLE / "configs", bundle / "configs")
    (bundle / "models").mkdir()
    config = bundle / "configs" / "inference.json"
    save_weights(json.loads(config.read_text())["network_def"], bundle / "models" / "model.pt")
    (tmp_path / "in").mkdir()
    source = write_cine(tmp_path / "in" / "Zaphodson.dcm", 5, 90, 120)
    predict(source, tmp_path / "predicted", bundle, size=128, device="cpu", runtime="torch")
    run(
        config_file=str(config), bundle_root=str(bundle), dataset_dir=str(tmp_path / "in"), image_size=128,
        output_dir=str(tmp_path / "run"), overlay=False, device="cpu", logging_file=None,
    )  # fmt: skip
    (written,) = (tmp_path / "run").rglob("*.nii.gz")
    assert "Zaphodson" not in written.name
    one, other = nib.load(tmp_path / "predicted" / "masks.nii.gz"), nib.load(written)
    assert one.shape == other.shape == (90, 120, 5, 12)
    masks = np.asarray(one.dataobj)
    assert 0.01 < masks.mean() < 0.9
    np.testing.assert_array_equal(masks, np.asarray(other.dataobj))
    np.testing.assert_allclose(one.affine, other.affine, atol=1e-5)
    for runtime in ("onnxruntime", "openvino"):
        pytest.importorskip(runtime)
        predict(source, tmp_path / runtime, bundle, size=128, device="cpu", runtime=runtime)
        found = np.asarray(nib.load(tmp_path / runtime / "masks.nii.gz").dataobj)
        assert (found != masks).mean() < 1e-3

"""A bundle with random weights, and small files to run it on."""

import json

import numpy as np
import pydicom
import torch
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from monai_agglo.swallow import TARGET_NAMES

XA = "1.2.840.10008.5.1.4.1.1.12.1"


def write_bundle(folder, size=64, window=3, **inferer):
    """A bundle that has the form of vfss_seg and weights that never saw a picture."""
    network = {"_target_": "monai_agglo.networks.CineSegmenter", "backbone": "mobilenetv3_small_050.lamb_in1k"}
    network |= {"feature_channels": 16, "decoder_channels": 16}
    config = {
        "bundle_root": ".",
        "device": "cpu",
        "network_def": network,
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image", "reader": "monai_agglo.data.CineReader",
                 "ensure_channel_first": True},
                {"_target_": "monai_agglo.data.PseudonymizeMetad", "keys": "image"},
                {"_target_": "monai_agglo.data.transforms.FitFramesd", "keys": "image", "size": size},
                {"_target_": "monai_agglo.data.transforms.ScaleCineIntensityd", "keys": "image"},
            ],
        },
        "inferer": {"_target_": "monai_agglo.inferers.CineInferer", "window": window, "threshold": 0.5, **inferer},
    }  # fmt: skip
    metadata = {
        "name": "RANDOM WEIGHTS, for tests of the plumbing only",
        "version": "0.0.0",
        "network_data_format": {"outputs": {"pred": {"channel_def": dict(enumerate(TARGET_NAMES))}}},
    }
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    save_weights(network, folder / "models" / "model.pt")
    return folder


def save_weights(network, path):
    """Random weights for a ``network_def``."""
    from monai_agglo.networks import CineSegmenter

    torch.manual_seed(0)
    net = CineSegmenter(**{key: value for key, value in network.items() if key != "_target_"}).eval()
    with torch.inference_mode():  # untrained weights find nothing anywhere; these find something everywhere
        noise = torch.nn.functional.interpolate(torch.rand(1, 1, 8, 8), (64, 64), mode="bicubic")
        logits = net(noise[..., None])
    state, gain = net.state_dict(), 2 / logits.std()
    state["decoder.head.weight"] *= gain
    state["decoder.head.bias"] = (state["decoder.head.bias"] - logits.mean()) * gain - 2.5
    torch.save(state, path)


def write_cine(path, frames=5, rows=60, columns=80, seed=0, series=None, number=None, **tags):
    """A small XA file: moving blobs, 12 bits, a patient's name in every place where one may stand."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns]
    stack = np.empty((frames, rows, columns), np.uint16)
    for t in range(frames):
        blob = np.exp(-(((x - 10 - 6 * t) / 12) ** 2) - ((y - 30) / 15) ** 2)
        stack[t] = 2000 + 1500 * np.sin(x / 9) * np.cos(y / 7) - 400 * blob + rng.normal(0, 20, (rows, columns))
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = XA, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = XA, meta.MediaStorageSOPInstanceUID
    ds.Modality, ds.PatientName, ds.PatientID, ds.PatientBirthDate = "XA", "Zaphodson^Trillian", "ID4711", "19500101"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), series or generate_uid()
    ds.SeriesDescription = "Zaphodson lateral"
    ds.Rows, ds.Columns, ds.SamplesPerPixel = rows, columns, 1
    ds.PhotometricInterpretation, ds.PixelRepresentation = "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    if frames > 1:
        ds.NumberOfFrames, ds.FrameTime = frames, "33.3"
        ds.FrameIncrementPointer = pydicom.tag.Tag(0x0018, 0x1063)
    if number is not None:
        ds.InstanceNumber = number
    for key, value in tags.items():
        setattr(ds, key, value)
    ds.PixelData = stack.tobytes()
    ds.save_as(path, enforce_file_format=True)
    return path

"""MONAI Label for real: its server, the packed bundles, and what its clients ask over REST."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from label_server import on_grid, read_label_map
from scipy import ndimage

from monai_agglo.swallow import TARGET_NAMES, flatten

ROOT = Path(__file__).parents[2]


def bundle_run(config, cine, output, **overrides):
    """``python -m monai.bundle run`` in this process and this environment; the masks as saved."""
    import monai.bundle

    where = {"dataset_dir": str(cine), "output_dir": str(output), "device": "cpu", **overrides}
    monai.bundle.run(config_file=str(config), logging_file=False, **where)
    (path,) = Path(output).rglob("*.nii.gz")
    return np.asarray(nibabel.load(path).dataobj)


@pytest.fixture(scope="module")
def wanted(label, tmp_path_factory):
    """The label map of the first cine as the bundle alone makes it."""
    root = str(label.packed)
    config = label.packed / "configs" / "inference.json"
    cine, output = label.studies / "first.dcm", tmp_path_factory.mktemp("alone")
    channels = bundle_run(config, cine, output, bundle_root=root, overlay=False, in_label=False)
    assert channels.shape[-1] == len(TARGET_NAMES)
    labels = flatten(channels, axis=-1)
    assert len(np.unique(labels)) > 8
    return labels


def same(labels, wanted):
    """Equal but for pixels on an edge that two versions of OpenCV scale differently: at most one in ten thousand."""
    assert labels.shape == wanted.shape
    assert (labels != wanted).mean() <= 1e-4


def dice(labels, truth):
    """Mean over the structures in the truth."""
    values = [
        2 * ((labels == n) & (truth == n)).sum() / ((labels == n).sum() + (truth == n).sum())
        for n in np.unique(truth)[1:]
    ]
    return float(np.mean(values))


def test_info_shows_the_structures_and_what_takes_prompts(label):
    info = label.server.call("GET", "/info/").json()
    # their order is what gives 3D Slicer the number of each segment: background is 0, so the first is 1
    assert info["labels"] == [*TARGET_NAMES, "object"]
    assert info["models"]["vfss_seg"]["labels"] == {name: n for n, name in enumerate(TARGET_NAMES)}
    kinds = {name: (model["type"], model["dimension"]) for name, model in info["models"].items()}
    assert kinds == {"vfss_seg": ("segmentation", 3), "litemedsam_deepgrow": ("deepgrow", 3)}
    assert list(info["trainers"]) == ["vfss_seg"]
    assert info["datastore"]["total"] == 2


@pytest.mark.skipif(not Path("/proc/net/tcp").is_file(), reason="the sockets of this system are not known")
def test_only_this_computer_reaches_it(label):
    port = f"{int(label.server.url.rpartition(':')[2]):04X}"
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    rows = [line.split() for table in tables if table.is_file() for line in table.read_text().splitlines()[1:]]
    listening = [row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{port}")]
    assert listening == [f"0100007F:{port}"]  # 127.0.0.1, and no other address


@pytest.mark.parametrize("way", ["store", "upload"])
def test_label_map_is_the_bundle_s(label, wanted, tmp_path, way):
    cine = label.studies / "first.dcm"
    where = {"image": "first"} if way == "store" else {"file": cine}
    image, _ = read_label_map(label.server.infer("vfss_seg", **where), tmp_path)
    reference = SimpleITK.ReadImage(str(cine))
    assert reference.GetSpacing()[2] > 30  # ITK takes the frame time for a distance, and so does 3D Slicer
    same(on_grid(image, reference), wanted)


def test_nifti_without_tags(label, wanted, tmp_path):
    """As the DICOMweb store makes it: columns first, the frame time in ms as a distance."""
    from monai_agglo.cine.cine import open_cine

    reference = SimpleITK.ReadImage(str(label.studies / "first.dcm"))
    path = tmp_path / "cine.nii.gz"
    SimpleITK.WriteImage(reference, str(path))
    image, _ = read_label_map(label.server.infer("vfss_seg", file=path), tmp_path)
    same(on_grid(image, reference), wanted)
    times = open_cine(path).meta["frame_times_ms"]
    assert times == pytest.approx(open_cine(label.studies / "first.dcm").meta["frame_times_ms"], rel=1e-4)


@pytest.mark.parametrize(
    "prompts",
    [{"box": [60, 50, 130, 120, 2]}, {"foreground": [[95, 80, 2], [100, 90, 2]], "background": [[20, 20, 2]]}],
    ids=["box", "points"],
)
def test_prompts(label, tmp_path, prompts):
    """(x, y, frame) as 3D Slicer sends them; random weights where LiteMedSAM's are absent: then only the plumbing."""
    root, cine = str(label.prompts), label.studies / "first.dcm"
    config = label.prompts / "configs" / "inference.json"
    alone = bundle_run(config, cine, tmp_path / "alone", bundle_root=root, **prompts)
    content = label.server.infer("litemedsam_deepgrow", "first", label="bolus", **({"background": []} | prompts))
    image, _ = read_label_map(content, tmp_path)
    mask = on_grid(image, SimpleITK.ReadImage(str(cine)))
    assert mask[..., 2].any() and not mask[..., [0, 1, 3]].any() and set(np.unique(mask)) <= {0, 1}
    assert (mask != alone.reshape(mask.shape)).mean() < 1e-3


def test_without_a_prompt_it_says_what_to_give(label):
    params = json.dumps({"device": "cpu", "foreground": [], "background": []})
    label.server.call("POST", "/infer/litemedsam_deepgrow?image=first&output=image", 500, data={"params": params})
    assert label.server.logged("nothing is prompted: give box as [x0, y0, x1, y1] or foreground")


def test_an_edited_label_trains_the_bundle(label, tmp_path):
    """What was corrected is submitted, one round of training follows, and the next answer is closer to it."""
    import mlflow

    channels = np.asarray(nibabel.load(label.truth).dataobj)[..., : len(TARGET_NAMES)]
    # drawn wider than the phantom's truth, as another clinic may: the shipped weights cannot know it already
    truth = ndimage.grey_dilation(flatten(channels, axis=-1), size=(5, 5, 1))
    truth[..., 3] = 0  # nobody drew on the last frame: it is not taken for a frame in which nothing is
    reference = SimpleITK.ReadImage(str(label.studies / "first.dcm"))
    edited = SimpleITK.GetImageFromArray(truth.transpose(2, 0, 1).astype(np.uint8))
    edited.CopyInformation(reference)
    SimpleITK.WriteImage(edited, str(tmp_path / "edited.nrrd"), True)

    def answer():
        image, _ = read_label_map(label.server.infer("vfss_seg", "first"), tmp_path)
        return on_grid(image, reference)

    before, model = answer(), label.packed / "models" / "model.pt"
    shipped = model.read_bytes()
    info = {"label_info": [{"name": name, "idx": n} for n, name in enumerate(TARGET_NAMES, 1)]}
    files = {"label": ("edited.nrrd", (tmp_path / "edited.nrrd").read_bytes())}
    saved = label.server.call(
        "PUT", "/datastore/label?image=first&tag=final", data={"params": json.dumps(info)}, files=files
    )
    assert saved.json() == {"image": "first", "label": "first"}
    assert label.server.call("GET", "/info/").json()["datastore"]["completed"] == 1

    label.server.train("vfss_seg", max_epochs=4, val_split=0.2, pretrained=True)
    assert label.server.logged("no cases to validate on: the training's own 1 are used")
    assert model.read_bytes() != shipped and (ROOT / "bundles/vfss_seg/models/model.pt").read_bytes() == shipped
    after = answer()
    drawn = truth[..., :3]
    assert dice(after[..., :3], drawn) > dice(before[..., :3], drawn) + 0.01
    assert len(np.unique(after[..., 3])) > 8  # and the frame that nobody drew on has not become empty

    client = mlflow.MlflowClient(f"sqlite:///{label.packed / 'eval' / 'mlruns.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "vfss_seg"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params["git_revision"] == "monai-agglo packed"  # the code in the bundle's folder, not the clone's
    assert run.info.status == "FINISHED" and run.data.params["train_samples"] == "16"
    assert (
        run.data.metrics["val_mean_dice"] > 0.3
        and len(client.get_metric_history(run.info.run_id, "val_mean_dice")) == 4
    )


def test_script_fails_with_one_sentence(tmp_path):
    for words, argument, env in (
        ("error: there is no folder nowhere", "nowhere", {}),
        ("error: LABEL_PORT=http is no port number", str(tmp_path), {"LABEL_PORT": "http"}),
        ("error: PYTHON=/nowhere/python does not run", str(tmp_path), {"PYTHON": "/nowhere/python"}),
    ):
        base = {
            "PATH": "/usr/bin:/bin",
            "LABEL_VENV_DIR": str(tmp_path / "venv"),
            "LABEL_APP_DIR": str(tmp_path / "app"),
        }
        command = ["bash", str(ROOT / "scripts" / "monai_label.sh"), argument]
        result = subprocess.run(command, env=base | env, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        (line,) = result.stderr.splitlines()
        assert result.returncode == 1 and line.startswith(words)
        assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_documented_calls(label, tmp_path):
    """What docs/how-to/monai_label.md shows works as it stands, but for the address and the name of the cine."""
    shutil.copy(label.studies / "second.dcm", tmp_path / "CINE.dcm")
    text = (ROOT / "docs" / "how-to" / "monai_label.md").read_text(encoding="utf-8")
    calls = [line for line in text.splitlines() if line.startswith("curl ") and "/train/vfss_seg" not in line]
    assert len(calls) == 6
    for call in calls:
        call = call.replace("http://127.0.0.1:8000", label.server.url).replace("swallow-1", "second")
        command = [*shlex.split(call), "--fail-with-body", "--silent", "--noproxy", "*"]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert result.returncode == 0, f"{call}\n{result.stdout[-800:]}"
    for name in ("masks.nrrd", "object.nrrd"):
        image, labels = read_label_map((tmp_path / name).read_bytes(), tmp_path)
        assert labels.any() and sorted(image.GetSize()) == [4, 192, 192]
    assert label.server.call("GET", "/datastore/label/info?label=second&tag=final").status_code == 200

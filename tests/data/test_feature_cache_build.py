"""Builds of the feature cache by several processes, after kill -9, and on a full disk."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest
from cache_teachers import CALIBRATION, Changing, Coarse, Wide, make_frames
from torch.utils.data import DataLoader

from monai_agglo.data.feature_cache import FeatureCacheError
from monai_agglo.data.feature_cache.build import build_feature_cache as build
from monai_agglo.data.feature_cache.cache import FeatureCache
from monai_agglo.data.feature_cache.dataset import FeatureCacheDataset
from monai_agglo.data.feature_cache.frames import frame_hash

SCRIPT = Path(__file__).parents[1] / "helpers" / "cache_teachers.py"
FRAMES = make_frames(12)
OPTIONS = {"frames_per_block": 4, "calibration_frames": CALIBRATION, "progress": False}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A cache built in one go."""
    path = tmp_path_factory.mktemp("whole") / "c"
    build(FRAMES, [Wide(random_weights=True)], path, **OPTIONS)
    return path


def blocks(path):
    return {file.name: file.read_bytes() for file in path.glob("wide-*/blocks/*")}


def start(path, calls, pause=0.0, count=12, launcher=()):
    paths = (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", ""))
    environment = {
        **os.environ,
        "AGGLO_TEST_CALLS": str(calls),
        "AGGLO_TEST_PAUSE_S": str(pause),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen([sys.executable, *launcher, str(SCRIPT), str(path), str(count)], env=environment)


def lines(path):
    return path.read_text().split() if path.is_file() else []


def test_kill_9_and_resume(whole, tmp_path):
    """Nothing that was written is encoded again, and the files are those of a build that was never interrupted."""
    path, calls = tmp_path / "c", tmp_path / "calls"
    process = start(path, calls, pause=0.15)
    deadline = time.monotonic() + 240
    while not list(path.glob("wide-*/blocks/000001.safetensors.part")) or len(lines(calls)) < 8:
        assert process.poll() is None and time.monotonic() < deadline, "the build ended before it could be killed"
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = len(lines(calls))
    with pytest.raises(FeatureCacheError, match="never finished"):
        FeatureCache.open(path)
    finished = blocks(path)
    assert any(name.endswith(".part") for name in finished) and "000000.safetensors" in finished
    os.environ["AGGLO_TEST_CALLS"] = str(calls)
    try:
        cache = build(FRAMES, [Wide(random_weights=True)], path, verify=0, **OPTIONS)
    finally:
        del os.environ["AGGLO_TEST_CALLS"]
    # The last frame was seen for the calibration, by a process that is no more.
    assert 12 <= len(lines(calls)) - 1 <= 12 + 1, "only the frame in hand when it was killed may be encoded twice"
    assert len(lines(calls)) > before
    assert len(cache) == 12 and blocks(path) == blocks(whole)
    assert cache.statistics("wide").count == FeatureCache.open(whole).statistics("wide").count


def test_torn_record_is_written_again(whole, tmp_path):
    """A power cut can leave a checksum on the disk without what it sums."""
    path = tmp_path / "c"
    shutil.copytree(whole, path)
    (path / "cache.json").unlink()
    block = next(path.glob("wide-*/blocks/000002.safetensors"))
    content = bytearray(block.read_bytes())
    content[-50:-10] = bytes(40)
    block.unlink()
    block.with_name(block.name + ".part").write_bytes(content)
    build(FRAMES, [Wide(random_weights=True)], path, **OPTIONS)
    assert blocks(path) == blocks(whole)


@pytest.mark.parametrize("how", ["processes", "torchrun"])
def test_several_processes(how, whole, tmp_path):
    path, calls = tmp_path / "c", tmp_path / "calls"
    if how == "processes":
        os.environ["AGGLO_TEST_CALLS"] = str(calls)
        try:
            build(FRAMES, [Wide(random_weights=True)], path, processes=2, verify=0, **OPTIONS)
        finally:
            del os.environ["AGGLO_TEST_CALLS"]
    else:
        launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
        assert start(path, calls, launcher=launcher).wait(300) == 0
    assert blocks(path) == blocks(whole)
    assert len(FeatureCache.open(path)) == 12
    encoded = lines(calls)
    if how == "processes":
        assert len(encoded) == 12 + CALIBRATION  # the calibration's maps stay in the process that made them
    else:
        assert 12 <= len(encoded) - 2 * 4 <= 12 + CALIBRATION  # both ranks re-check
    assert not list(path.glob("wide-*/blocks/*.part")) and not list(path.glob("wide-*/statistics/*"))


@pytest.mark.parametrize("processes", [1, 2])
def test_frames_that_change_are_refused(processes, tmp_path):
    """One sentence, also where another process found it."""
    with pytest.raises(
        FeatureCacheError, match=r"^frame [01] of the source is not what it was.*no random augmentation"
    ):
        build(Changing(), [Coarse(random_weights=True)], tmp_path / "c", processes=processes, progress=False)


def test_full_disk_in_the_middle(tmp_path):
    """The limit of a file's size stands for the disk: the block does not fit, and when there is room it goes on."""
    path, teacher = tmp_path / "c", Wide(random_weights=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(FeatureCacheError, match=r"no room for .*000000.safetensors.part \(0.1 MB\).*goes on where"):
            build(FRAMES, [teacher], path, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(path.rglob("*.part"))
    assert len(build(FRAMES, [teacher], path, progress=False)) == 12


def test_too_small_a_disk_is_known_before_the_start(tmp_path, monkeypatch, capsys):
    usage = namedtuple("usage", "total used free")(10**9, 10**9 - 50_000, 50_000)
    monkeypatch.setattr("monai_agglo.data.feature_cache.build.shutil.disk_usage", lambda path: usage)
    with pytest.raises(FeatureCacheError, match="0.00 GB free, the cache needs 0.00 GB more: make room"):
        build(FRAMES, [Wide(random_weights=True)], tmp_path / "c")
    assert not list(tmp_path.rglob("*.safetensors*"))
    shown = capsys.readouterr().err
    assert "12 frames x 0.010 MB (wide 24x20x20; int8)" in shown and "when finished" in shown


def test_progress_shows_time_left(tmp_path, capsys):
    build(FRAMES, [Coarse(random_weights=True)], tmp_path / "c")
    shown = capsys.readouterr().err
    assert "12/12" in shown and "00:00" in shown


def test_reading_keeps_up_with_training(whole):
    """A loose bound: other tests run beside this one. docs/results/cache.json holds the figure of the benchmark."""
    import torch

    dataset = FeatureCacheDataset(FRAMES, FeatureCache.open(whole))
    student = torch.nn.Sequential(torch.nn.Conv2d(1, 64, 3, 2, 1), torch.nn.ReLU(), torch.nn.Conv2d(64, 24, 3, 2, 1))

    def step(samples):
        image = torch.nn.functional.interpolate(torch.stack([s["image"] for s in samples]), (160, 160))
        target = torch.stack([s["features"]["wide"] for s in samples])
        loss = (torch.nn.functional.adaptive_avg_pool2d(student(image), 20) - target).square().mean()
        loss.backward()

    def seconds(batches):
        begin = time.process_time()
        for batch in batches:
            step(batch)
        return time.process_time() - begin

    loader = DataLoader(dataset, batch_size=4, collate_fn=list)
    memory = list(loader)
    seconds(memory)
    ratio = max(seconds(memory) / seconds(loader) for _ in range(3))
    assert ratio > 0.5
    assert frame_hash(memory[0][0]["image"]) == memory[0][0]["frame"]

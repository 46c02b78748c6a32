"""Checkpoints: every usual wrapping is read, everything else is refused with one clear error."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from small_teacher import SmallTeacher, published

from monai_agglo.networks.teachers import CheckpointError, Layout, read_checkpoint
from monai_agglo.networks.teachers.checkpoint import join_qkv, map_keys


@pytest.fixture
def state():
    return published(SmallTeacher(random_weights=True))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"model": s, "epoch": 3, "optimizer": {"lr": 1e-4}},
        lambda s: {"model": {f"module.{k}": v for k, v in s.items()}},
        lambda s: {"state_dict": s},
        lambda s: {k.replace("a.", "first.").replace("b.", "second."): v for k, v in s.items() if "head" not in k},
    ],
    ids=["flat", "model", "model of parallel training", "state_dict", "other layout"],
)
def test_usual_wrappings(tmp_path, state, wrap):
    torch.save(wrap(state), tmp_path / "x.pt")
    loaded = SmallTeacher(tmp_path / "x.pt")
    assert torch.equal(loaded.encoder[0].weight, state["a.weight"])


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_hugging_face_folders(tmp_path, state, name):
    if name.endswith("safetensors"):
        save_file({k: v.clone() for k, v in state.items()}, tmp_path / name)
    else:
        torch.save(state, tmp_path / name)
    assert torch.equal(SmallTeacher(tmp_path).encoder[1].bias, state["b.bias"])
    assert torch.equal(SmallTeacher(tmp_path / name).encoder[1].bias, state["b.bias"])


def test_old_torch_format(tmp_path, state):
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert set(read_checkpoint(tmp_path / "old.pth")) == set(state)


class Payload:
    def __reduce__(self):
        return (open, ("pwned", "w"))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_payload_is_refused_and_not_run(tmp_path, monkeypatch, state, legacy):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": state, "args": Payload()}, "x.pt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=r"refused: reading it means unpickling \w*\.?open.*safetensors"):
        read_checkpoint("x.pt")
    assert not (tmp_path / "pwned").exists()


def test_a_bare_pickle_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pth").write_bytes(pickle.dumps({"a": Payload()}))
    with pytest.raises(CheckpointError):
        read_checkpoint("x.pth")
    assert not (tmp_path / "pwned").exists()


def test_a_program_is_refused(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "x.ts")
    with pytest.raises(CheckpointError, match="TorchScript"):
        read_checkpoint(tmp_path / "x.ts")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_truncated(tmp_path, state, kind, share):
    path = tmp_path / "x.pt"
    if kind == "safetensors":
        save_file({k: v.clone() for k, v in state.items()}, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError, match=r"x\.pt .*(download it again|refused)"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"<!DOCTYPE html><html>Quota exceeded</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "git lfs pull"),
        (b"nothing of the kind", "no checkpoint"),
        (b"PK\x03\x04 not really", "no checkpoint"),
    ],
)
def test_other_files(tmp_path, content, message):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(tmp_path / "x.pth")


def test_no_table_of_tensors(tmp_path):
    for wrong in (torch.zeros(3), {"epoch": 3}, [torch.zeros(2)]):
        torch.save(wrong, tmp_path / "x.pt")
        with pytest.raises(CheckpointError, match="no table of tensors"):
            read_checkpoint(tmp_path / "x.pt")


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        read_checkpoint(tmp_path / "x.pt")
    with pytest.raises(FileNotFoundError, match=r"neither model\.safetensors nor"):
        read_checkpoint(tmp_path)


def load_error(tmp_path, state):
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(CheckpointError) as error:
        SmallTeacher(tmp_path / "x.pt")
    return str(error.value)


def test_differences_are_listed(tmp_path, state):
    text = load_error(tmp_path, {k: v for k, v in state.items() if k != "b.bias"})
    assert "1 missing in the file (1.bias)" in text and "x.pt does not fit" in text
    text = load_error(tmp_path, {**state, "b.extra": torch.zeros(1)})
    assert "1 unknown to the model (1.extra)" in text
    text = load_error(tmp_path, {**state, "a.weight": torch.zeros(8, 3, 4, 4)})
    assert "1 of another shape (0.weight: file (8, 3, 4, 4), model (8, 3, 16, 16))" in text
    text = load_error(tmp_path, {**state, **{f"extra{i}.w": torch.zeros(1) for i in range(9)}})
    assert "9 keys that the map does not know: extra0.w" in text and "5 more" in text
    assert len(text) < 400


def test_another_model_s_file(tmp_path):
    text = load_error(tmp_path, {"encoder.layer.0.weight": torch.zeros(2)})
    assert "no layout known here (plain, other)" in text and "encoder.layer.0.weight" in text


def test_weights_must_be_finite(tmp_path, state):
    state["a.bias"][0] = torch.inf
    assert "NaN or infinite weights in 0.bias" in load_error(tmp_path, state)


def test_query_key_and_value_are_joined_in_this_order():
    pattern = r"(?P<where>x)\.(?P<part>query|key|value)\.(?P<kind>\w+)"
    state = {"x.value.bias": torch.full((1,), 3.0), "x.query.bias": torch.ones(1), "x.key.bias": torch.full((1,), 2.0)}
    assert join_qkv(state, pattern)["x.qkv.bias"].tolist() == [1, 2, 3]
    del state["x.key.bias"]
    layout = Layout("l", "x", (), lambda s: join_qkv(s, pattern))
    with pytest.raises(CheckpointError, match=r"lacks the k of x\.qkv\.bias"):
        map_keys(state, (layout,), "file")

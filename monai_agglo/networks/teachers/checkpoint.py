"""Reading published checkpoints: tensors only, every key accounted for, and errors a person can act on."""

from __future__ import annotations

import json
import logging
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

__all__ = ["CheckpointError", "Layout", "State", "join_qkv", "load_strict", "map_keys", "read_checkpoint"]

State = dict[str, torch.Tensor]
logger = logging.getLogger(__name__)


class CheckpointError(ValueError):
    """A checkpoint that is not what it should be."""


@dataclass(frozen=True)
class Layout:
    """One published naming of a model's tensors, and the explicit map from it to our names.

    Attributes:
        name: for messages.
        marker: regular expression; a checkpoint of this layout has a key that it matches from the start.
        rules: (regular expression for a whole key, our name) pairs, tried in order. None instead of a name leaves the
            tensor out on purpose (a text tower, a classifier).
        convert: called on the whole state before the rules, for tensors that must be joined or split.
    """

    name: str
    marker: str
    rules: tuple[tuple[str, str | None], ...]
    convert: Callable[[State], State] | None = None


def read_checkpoint(path: str | Path) -> State:
    """Read the tensors of a checkpoint file or of a Hugging Face folder.

    Nothing is unpickled but tensors and plain containers. The usual wrappings are taken off: ``{"model": ...}``,
    ``{"state_dict": ...}`` and the ``module.`` of data-parallel training.

    Args:
        path: a ``.safetensors``, ``.pt``, ``.pth`` or ``.bin`` file, or a folder with ``model.safetensors`` or
            ``pytorch_model.bin``.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it is truncated, no checkpoint at all, needs unpickling, or holds no tensors.
    """
    path = _file_of(Path(path))
    with open(path, "rb") as file:
        head = file.read(64)
    if not head:
        raise CheckpointError(f"{path} is empty: download it again")
    if head.lstrip()[:1] == b"<":
        raise CheckpointError(f"{path} is a web page and no checkpoint: download the file itself")
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path} is a Git LFS pointer and no checkpoint: run 'git lfs pull' or download the file")
    state = _safetensors(path) if head[8:9] == b"{" and head[:2] != b"PK" else _torch(path)
    for wrapping in ("model", "state_dict", "model_state_dict"):
        if isinstance(state, dict) and isinstance(state.get(wrapping), dict):
            state = state[wrapping]
    if not isinstance(state, dict) or not any(isinstance(v, torch.Tensor) for v in state.values()):
        raise CheckpointError(
            f"{path} holds no table of tensors but a {type(state).__name__}: it is no model checkpoint"
        )
    state = {str(key): value for key, value in state.items() if isinstance(value, torch.Tensor)}
    if all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return state


def map_keys(state: State, layouts: Sequence[Layout], source: str) -> State:
    """Rename the tensors of a checkpoint by the layout it is in.

    Args:
        state: tensors by published name.
        layouts: the layouts to try, by their markers.
        source: the checkpoint, for messages.

    Returns:
        Tensors by our names, without those left out on purpose.

    Raises:
        CheckpointError: if it is in none of the layouts, or has keys that the layout's map does not know.
    """
    layout = next((y for y in layouts if any(re.match(y.marker, key) for key in state)), None)
    if layout is None:
        known = ", ".join(y.name for y in layouts)
        raise CheckpointError(
            f"{source} is in no layout known here ({known}); its keys are {_some(state)}. Is it another model's file?"
        )
    if layout.convert:
        try:
            state = layout.convert(dict(state))
        except KeyError as missing:
            raise CheckpointError(f"{source} ({layout.name} layout) lacks {missing.args[0]}") from None
    result, unknown = OrderedDict(), []
    for key, value in state.items():
        for pattern, ours in layout.rules:
            match = re.fullmatch(pattern, key)
            if match:
                if ours is not None:
                    result[match.expand(ours)] = value
                break
        else:
            unknown.append(key)
    if unknown:
        raise CheckpointError(
            f"{source} ({layout.name} layout) has {len(unknown)} keys that the map does not know: {_some(unknown)}"
        )
    return result


def join_qkv(state: State, pattern: str) -> State:
    """Join query, key and value tensors into one, for models that keep the three in one matrix.

    Args:
        state: tensors by published name.
        pattern: regular expression for the names of the three, with the groups ``where``, ``part`` (beginning with q,
            k or v) and ``kind`` (weight or bias).

    Returns:
        The state with ``{where}.qkv.{kind}`` in the place of each three.

    Raises:
        KeyError: with the name of the part that one of them lacks.
    """
    joined: dict[str, State] = {}
    rest = {}
    for key, value in state.items():
        match = re.fullmatch(pattern, key)
        if match:
            joined.setdefault(f"{match['where']}.qkv.{match['kind']}", {})[match["part"][0]] = value
        else:
            rest[key] = value
    for name, parts in joined.items():
        for part in "qkv":
            if part not in parts:
                raise KeyError(f"the {part} of {name}")
        rest[name] = torch.cat([parts[part] for part in "qkv"])
    return rest


def load_strict(module: nn.Module, state: State, source: str) -> None:
    """Load tensors into a module if, and only if, names and shapes fit exactly.

    Args:
        module: the model.
        state: tensors by the module's names.
        source: the checkpoint, for messages.

    Raises:
        CheckpointError: with a short list of what is missing, left over or of another shape, or not finite.
    """
    wanted = module.state_dict()
    missing = [key for key in wanted if key not in state]
    extra = [key for key in state if key not in wanted]
    shapes = [
        f"{key}: file {tuple(state[key].shape)}, model {tuple(wanted[key].shape)}"
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape
    ]
    lines = [
        f"{len(found)} {what} ({_some(found)})"
        for what, found in (
            ("missing in the file", missing),
            ("unknown to the model", extra),
            ("of another shape", shapes),
        )
        if found
    ]
    if lines:
        raise CheckpointError(
            f"{source} does not fit the model: of {len(wanted)} tensors\n  "
            + "\n  ".join(lines)
            + "\nIs it another model's file?"
        )
    broken = [key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise CheckpointError(f"{source} holds NaN or infinite weights in {_some(broken)}: download it again")
    module.load_state_dict(state, strict=True)


def _file_of(path: Path) -> Path:
    if path.is_dir():
        for name in ("model.safetensors", "pytorch_model.bin"):
            if (path / name).is_file():
                return path / name
        raise FileNotFoundError(f"folder {path} holds neither model.safetensors nor pytorch_model.bin")
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    return path


def _safetensors(path: Path) -> State:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path, device="cpu")
    except (SafetensorError, json.JSONDecodeError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{path} is a broken or truncated safetensors file ({error}): download it again"
        ) from error


def _torch(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        what = re.search(r"(?:GLOBAL|unrecognized function) ([\w.]+)", str(error))
        if what is None:
            raise CheckpointError(f"{path} is no checkpoint, or a truncated one: download it again") from error
        raise CheckpointError(
            f"{path} is refused: reading it means unpickling {what[1]}, which can run any code. Ask for a file that "
            "holds tensors only (safetensors, or torch.save of a state dict)"
        ) from error
    except (EOFError, RuntimeError, OSError, ValueError, LookupError, TypeError) as error:
        if "TorchScript" in str(error):
            raise CheckpointError(f"{path} is refused: it is a TorchScript program, wanted is a state dict") from error
        reason = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{path} is no checkpoint, or a truncated one ({reason}): download it again") from error


def _some(names: Sequence[str] | State, count: int = 4) -> str:
    names = list(names)
    return ", ".join(names[:count]) + (f", ... {len(names) - count} more" if len(names) > count else "")

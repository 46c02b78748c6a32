"""A student alone in a file: safetensors with the encoder's weights, and a JSON card beside it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch

from .light_encoder import LightEncoder
from .student import StudentEncoder
from .teachers.checkpoint import CheckpointError, State, read_checkpoint

__all__ = [
    "count_parameters",
    "find_card",
    "load_encoder",
    "load_student",
    "read_student",
    "read_weights",
    "write_student",
    "write_weights",
]

INPUT = "frames (B, 1, H, W) in [0, 1], dark barium; the encoder itself takes (x - 0.5) * 4"
FORMAT = "monai_agglo student"
PLACES = ("student.safetensors", "models/student.safetensors", "model.pt", "models/model.pt")
"""Where a student lies in a folder: an output of a distillation, or a bundle."""


def write_student(path: str | os.PathLike, student: StudentEncoder, card: dict[str, Any] | None = None) -> Path:
    """Write a student's encoder and its card; the card appears last.

    Args:
        path: ``NAME.safetensors``; the card is ``NAME.json`` beside it.
        student: the student, without projectors and balancer.
        card: what is to be said about it: teachers, images, licences, figures; plain JSON.

    Returns:
        The safetensors file.

    Raises:
        ValueError: for a file name with another ending.
    """
    facts = {"format": FORMAT, "student": student.options, "input": INPUT, "parameters": count_parameters(student)}
    return write_weights(path, student.encoder.state_dict(), {**facts, **(card or {})})


def read_student(path: str | os.PathLike) -> tuple[StudentEncoder, dict[str, Any]]:
    """Read what :func:`write_student` wrote.

    Args:
        path: ``NAME.safetensors``.

    Returns:
        The student, in evaluation mode, and its card.

    Raises:
        FileNotFoundError: when there is no such file.
        CheckpointError: when it is no student's file, or its card is missing or of other weights.
    """
    state, card = read_weights(path)
    student = StudentEncoder(**card["student"])
    load_encoder(student.encoder, state, str(path))
    return student.eval(), card


def load_student(path: str | os.PathLike) -> StudentEncoder:
    """Load a distilled encoder.

    Args:
        path: a ``.safetensors`` file; a ``model.pt`` with its card ``model.json`` or ``student.json`` beside it; the
            output folder of a distillation, or a bundle's folder.

    Returns:
        The student, on the CPU, in evaluation mode.

    Raises:
        FileNotFoundError: when there is no such file, or no student in the folder.
        CheckpointError: when it is no student's file, or its card is missing or of other weights.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"there is no student {path}")
    if path.is_dir():
        found = next((path / place for place in PLACES if (path / place).is_file()), None)
        if found is None:
            raise FileNotFoundError(f"{path} holds no student: none of {', '.join(PLACES)} is in it")
        path = found
    if path.suffix == ".safetensors":
        return read_student(path)[0]
    state = read_checkpoint(path)
    card = find_card(path)
    if card is None:
        raise CheckpointError(f"{path} has no student's card beside it: neither {path.stem}.json nor student.json")
    facts = _read_card(card, path)
    weights = {key.removeprefix("encoder."): value for key, value in state.items()}
    student = StudentEncoder(**facts["student"])
    load_encoder(student.encoder, weights, str(path))
    if facts.get("tensors_sha256", found_hash := _tensor_hash(weights)) != found_hash:
        raise CheckpointError(f"{card} is the card of other weights than {path.name}: export the student again")
    return student.eval()


def find_card(path: Path) -> Path | None:
    """The card beside a student's weights: that of the same name, else ``student.json``; None where there is none."""
    cards = (path.with_suffix(".json"), path.with_name("student.json"))
    return next((card for card in cards if card.is_file()), None)


def _tensor_hash(state: State) -> str:
    """SHA-256 over names, types, shapes and values, whatever file they are kept in."""
    digest = hashlib.sha256()
    for key in sorted(state):
        value = state[key].detach().cpu().contiguous()
        digest.update(f"{key} {value.dtype} {tuple(value.shape)} ".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def count_parameters(module: torch.nn.Module) -> int:
    """Numbers in a module that are trained; its buffers do not count."""
    return sum(p.numel() for p in module.parameters())


def write_weights(path: str | os.PathLike, state: State, card: dict[str, Any]) -> Path:
    """Write tensors and a card that belong together; the card appears last.

    Args:
        path: ``NAME.safetensors``; the card is ``NAME.json`` beside it.
        state: tensors by name.
        card: plain JSON with ``format`` and ``student``; hashes of the file and of the tensors are added.

    Returns:
        The safetensors file.

    Raises:
        ValueError: for a file name with another ending.
    """
    from safetensors.torch import save

    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"a student is written to a .safetensors file, not {path.name}")
    tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    content = save(tensors, {"format": card["format"], "student": json.dumps(card["student"])})
    hashes = {"weights_sha256": hashlib.sha256(content).hexdigest(), "tensors_sha256": _tensor_hash(tensors)}
    facts = {**card, **hashes}
    path.parent.mkdir(parents=True, exist_ok=True)
    for file, data in ((path, content), (path.with_suffix(".json"), (json.dumps(facts, indent=2) + "\n").encode())):
        partial = file.with_name(f".{file.name}.{os.getpid()}.part")
        try:
            partial.write_bytes(data)
            os.replace(partial, file)
        finally:
            partial.unlink(missing_ok=True)
    return path


def read_weights(path: str | os.PathLike, form: str = FORMAT) -> tuple[State, dict[str, Any]]:
    """Read what :func:`write_weights` wrote.

    Args:
        path: ``NAME.safetensors``.
        form: the ``format`` that its card must have.

    Returns:
        Tensors by name, and the card.

    Raises:
        FileNotFoundError: when there is no such file.
        CheckpointError: when it is no such file, or its card is missing or of other weights.
    """
    path = Path(path)
    state = read_checkpoint(path)
    beside = path.with_suffix(".json")
    card = _read_card(beside, path)
    if card.get("weights_sha256") != hashlib.sha256(path.read_bytes()).hexdigest():
        raise CheckpointError(f"{beside} is the card of other weights than {path.name}: export the student again")
    if card["format"] != form:
        raise CheckpointError(f"{path} is a {card['format']}, wanted is a {form}: export the student in that form")
    return state, card


def _read_card(card: Path, weights: Path) -> dict[str, Any]:
    try:
        facts = json.loads(card.read_text(encoding="utf-8"))
        if facts["format"] and facts["student"]:
            return facts
        raise ValueError("it names no student")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{weights} has no student's card {card.name} beside it: export the student again"
        ) from error


def load_encoder(encoder: LightEncoder, state: State | str | os.PathLike, source: str = "") -> None:
    """Load a student's weights into a light encoder of the same kind, strictly.

    Args:
        encoder: for example that of a :class:`~.cine_segmenter.CineSegmenter`.
        state: a student's file, or its tensors.
        source: the file, for messages, where tensors are given.

    Raises:
        FileNotFoundError: when there is no such file.
        CheckpointError: in one sentence, when it is no encoder or one of another kind.
    """
    if not isinstance(state, dict):
        source, state = str(state), read_checkpoint(os.fspath(state))
    own = encoder.state_dict()
    wrong = sorted(
        key
        for key in own.keys() | state.keys()
        if key not in own or key not in state or own[key].shape != state[key].shape
    )
    if wrong:
        raise CheckpointError(
            f"{source} does not hold the weights of this encoder: {len(wrong)} of {len(own)} tensors are missing, "
            f"unknown or of another shape (the first: {wrong[0]}); the student's backbone, channels and stride must be "
            "those of the network"
        )
    if not all(bool(torch.isfinite(v).all()) for v in state.values() if v.is_floating_point()):
        raise CheckpointError(f"{source} holds weights that are NaN or infinite: export the student again")
    encoder.load_state_dict(state, strict=True)

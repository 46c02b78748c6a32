"""The PyTorch network of a bundle with its weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from monai_agglo.prediction.errors import BundleError

from .config_check import load_parser

__all__ = ["load_network"]


def load_network(folder: Path, device: str = "cpu") -> nn.Module:
    """Build the ``network_def`` of ``inference.json`` and load ``models/model.pt`` into it.

    Args:
        folder: folder of the bundle.
        device: device of the network.

    Returns:
        The network in evaluation mode.

    Raises:
        FileNotFoundError: without weights.
        BundleError: if the weights are not a plain state dict, or do not match the network.
        ValueError: if the device is not available.
    """
    weights = folder / "models" / "model.pt"
    if not weights.is_file():
        raise FileNotFoundError(f"{folder.name}: the bundle has no weights (models/model.pt); train it first")
    network = load_parser([folder / "configs" / "inference.json"], folder).get_parsed_content("network_def")
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:
        raise BundleError(
            f"{folder.name}: models/model.pt is not a plain file of weights ({type(error).__name__})"
        ) from None
    state = state.get("model", state) if isinstance(state, dict) else {}
    own = network.state_dict()
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = sorted(key for key in own.keys() & state.keys() if own[key].shape != state[key].shape)
    if missing or unknown or shapes:
        first = (missing or unknown or shapes)[0]
        raise BundleError(
            f"{folder.name}: models/model.pt does not belong to the network of inference.json: {len(missing)} "
            f"keys missing, {len(unknown)} unknown, {len(shapes)} of another shape (the first: {first})"
        )
    network.load_state_dict(state)
    try:
        return network.to(torch.device(device)).eval()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device} cannot be used here ({type(error).__name__}); try cpu") from None

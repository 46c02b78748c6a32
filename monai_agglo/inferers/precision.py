"""Reduced precision: types, devices, and exempted layers."""

from __future__ import annotations

from contextlib import ExitStack

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["DTYPES", "autocast", "precision_dtype"]

DTYPES = {"auto": "auto", "bfloat16": torch.bfloat16, "float16": torch.float16, "float32": None}


def _fast_bfloat16(device: torch.device) -> bool:
    """Whether the hardware computes in bfloat16; emulated, it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    features = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return device.type == "cpu" and any(getattr(torch.cpu, name, lambda: False)() for name in features)


def autocast(inputs: torch.Tensor, dtype):
    """Autocast on the device of some inputs.

    Args:
        inputs: says which device.
        dtype: what :func:`precision_dtype` gave.

    Returns:
        The context.
    """
    if dtype == "auto":
        dtype = torch.bfloat16 if _fast_bfloat16(inputs.device) else None
    reduced = torch.autocast(inputs.device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)
    if inputs.device.type != "cpu" or dtype is None or not torch.is_grad_enabled():
        return reduced
    both = ExitStack()
    both.enter_context(reduced)
    both.enter_context(_DepthwiseInFloat32())
    return both


def precision_dtype(name: str):
    """A type for :func:`autocast` from its name.

    Args:
        name: ``auto``, ``bfloat16``, ``float16`` or ``float32``.

    Returns:
        A type, None for no autocast, or ``"auto"``.

    Raises:
        ValueError: for another name.
    """
    if name not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, not {name!r}")
    return DTYPES[name]


class _DepthwiseInFloat32(TorchFunctionMode):
    """Keeps depthwise convolutions that are trained on a CPU out of autocast.

    oneDNN has no fast gradient of one with a stride in bfloat16: it takes many times as long as in float32, and there
    are enough of them in a light encoder to lose what is won by bfloat16 elsewhere.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is not torch.conv2d:
            return func(*args, **kwargs)
        groups = kwargs.get("groups", args[6] if len(args) > 6 else 1)
        image = kwargs["input"] if "input" in kwargs else args[0]
        if groups == 1 or groups != image.shape[1] or not torch.is_autocast_enabled("cpu"):
            return func(*args, **kwargs)
        with torch.autocast("cpu", enabled=False):
            return func(*(_float32(x) for x in args), **{name: _float32(x) for name, x in kwargs.items()})


def _float32(value):
    return value.float() if isinstance(value, torch.Tensor) else value

"""Multiply-adds of a network, minimum memory traffic of its layers, and the roofline."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop

__all__ = ["count", "roofline_ms"]

# PyTorch counts attention on GPUs only.
_FORMULAS = {**flop_registry, torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: sdpa_flop}


class _Layers(TorchDispatchMode):
    """Records operations and bytes of every convolution, matrix product and attention."""

    def __init__(self) -> None:
        super().__init__()
        self.layers: list[tuple[int, int]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = _FORMULAS.get(function._overloadpacket)
        if formula is None:
            with self:  # composite operators decompose into counted ones
                result = function.decompose(*args, **kwargs)
            return function(*args, **kwargs) if result is NotImplemented else result
        result = function(*args, **kwargs)
        operations = formula(*args, **kwargs, out_val=result)
        first = result[0] if isinstance(result, (tuple, list)) else result
        tensors = [value for value in (*args, *kwargs.values(), first) if isinstance(value, torch.Tensor)]
        self.layers.append((int(operations), sum(tensor.nbytes for tensor in tensors)))
        return result


@torch.no_grad()
def count(network: torch.nn.Module, image: torch.Tensor) -> dict[str, Any]:
    """Count one forward pass.

    Args:
        network: network in eval mode; device ``meta`` avoids computation.
        image: input on the same device.

    Returns:
        ``parameters``, ``gmacs`` (1e9 multiply-adds), ``layers``: operations and bytes (inputs, weights, result, each
        once) of every convolution, matrix product and attention. Element-wise operations are ignored: runtimes fuse
        them.
    """
    with _Layers() as counter:
        network(image)
    total = sum(operations for operations, _ in counter.layers)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    outer = image.nbytes + 4 * parameters
    return {"parameters": parameters, "gmacs": total / 2e9, "outer_bytes": outer, "layers": counter.layers}


def roofline_ms(counted: dict[str, Any], gflops: float, gb_per_s: float) -> dict[str, float | str]:
    """Roofline: lower bound of the run time of a network on a computer.

    Args:
        counted: from :func:`count`.
        gflops: rate of a large matrix product, 1e9 operations per second.
        gb_per_s: rate of a memory copy, 1e9 bytes per second, reading and writing both counted.

    Returns:
        ``roof_ms``: the larger of all operations at the rate of the product, and input and weights at that of the copy;
        ``layer_roof_ms``: sum of the same per layer, with its own inputs and results (no data stays in the cache);
        ``bound``: whether arithmetic or memory dominates ``layer_roof_ms``.
    """
    arithmetic = [operations / gflops / 1e6 for operations, _ in counted["layers"]]
    memory = [size / gb_per_s / 1e6 for _, size in counted["layers"]]
    layers = [max(pair) for pair in zip(arithmetic, memory)]
    by_memory = sum(layer for layer, own in zip(layers, memory) if layer == own)
    return {
        "roof_ms": max(sum(arithmetic), counted["outer_bytes"] / gb_per_s / 1e6),
        "layer_roof_ms": sum(layers),
        "bound": "memory" if by_memory > sum(layers) / 2 else "arithmetic",
    }

"""One training step as a CUDA graph: a small network's step is mostly the time to launch its kernels."""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["CapturedStep"]

WARM_UP = 3
"""Steps made one kernel at a time before the capture, on a stream of their own as PyTorch asks for."""


class CapturedStep:
    """Makes steps eagerly on a CPU; on CUDA records the fourth one and replays it from then on.

    Every call is one step of the training, recorded or not. Shapes must not change from call to call, and the step must
    neither read a value back nor draw a number from anywhere but the device's default generator. The optimiser has to
    be ``capturable``, with its learning rate in a tensor.

    Args:
        step: takes two tensors; forward, backward and the optimiser's step, gradients being None at its beginning.
        forget: sets the gradients to None.
        device: where the tensors are.
    """

    def __init__(
        self, step: Callable[[torch.Tensor, torch.Tensor], None], forget: Callable[[], None], device: torch.device
    ) -> None:
        self._step, self._forget, self._device = step, forget, device
        self._made = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Make a step.

        Args:
            x: what the network sees.
            y: what it should say.
        """
        self._made += 1
        if self._device.type != "cuda":
            self._forget()
            self._step(x, y)
        elif self._made <= WARM_UP:
            side = torch.cuda.Stream(self._device)
            side.wait_stream(torch.cuda.current_stream(self._device))
            with torch.cuda.stream(side):
                self._forget()
                self._step(x, y)
            torch.cuda.current_stream(self._device).wait_stream(side)
        else:
            if self._graph is None:
                self._capture(x, y)
            assert self._graph is not None and self._inputs is not None
            for kept, new in zip(self._inputs, (x, y)):
                kept.copy_(new)
            self._graph.replay()

    def _capture(self, x: torch.Tensor, y: torch.Tensor) -> None:
        self._inputs = (x.clone(), y.clone())
        self._forget()  # the gradients of the graph lie in its own memory, written anew by each replay
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step(*self._inputs)
        self._graph = graph

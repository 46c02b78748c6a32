"""ONNX files in ONNX Runtime and OpenVINO with a fixed number of threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from .worker import Case

__all__ = ["RUNTIMES", "make_onnx", "open_onnx"]

RUNTIMES = ("onnxruntime", "openvino")


def open_onnx(path: str, runtime: str, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Load a network.

    Args:
        path: the ONNX file; one input, the first output is returned.
        runtime: one of :data:`RUNTIMES`.
        threads: processor threads.

    Returns:
        A function from input to output.

    Raises:
        ImportError: if the runtime is not installed.
    """
    if runtime == "onnxruntime":
        try:
            import onnxruntime
        except ImportError:
            raise ImportError("ONNX Runtime is not installed (pip install onnxruntime)") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda image: session.run(None, {name: image})[0]
    try:
        import openvino
    except ImportError:
        raise ImportError("OpenVINO is not installed (pip install openvino)") from None
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    return lambda image: compiled(image)[0]


def make_onnx(
    path: str, runtime: str, shape: list[int], threads: list[int], label: str, apart: bool
) -> dict[str, Case]:
    """Cases of an exported network on a random image.

    Args:
        path: the ONNX file.
        runtime: one of :data:`RUNTIMES`.
        shape: shape of the input.
        threads: numbers of threads, one session each.
        label: prefix of the case names ``label@threads``.
        apart: add a case ``label@threads apart`` for the largest number: one image per thread
            in parallel, without synchronisation.

    Returns:
        The cases.
    """
    image = np.random.default_rng(0).random(shape, np.float32)
    cases = {}
    for count in threads:
        run = open_onnx(path, runtime, count)
        cases[f"{label}@{count}"] = Case(partial(run, image), shape[0], count)
    if apart and (most := max(threads)) > 1:
        pool = ThreadPoolExecutor(most)
        runs = [open_onnx(path, runtime, 1) for _ in range(most)]

        def call() -> None:
            for job in [pool.submit(run, image) for run in runs]:
                job.result()

        cases[f"{label}@{most} apart"] = Case(call, most * shape[0], most, close=pool.shutdown)
    return cases

"""Run graphs: ONNX Runtime, OpenVINO, and torch for its own format, behind one interface."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from zoo.core.errors import InvalidInputError
from zoo.core.extras import import_extra

Runner = Callable[[NDArray[Any]], Sequence[NDArray[np.float32]]]
"""Images (N, C, H, W) -> the outputs of a graph in its order, float32."""


class Runtime(NamedTuple):
    """A program that runs graphs: its package, the extra that installs it, and how it opens an ONNX graph.

    `open` takes the graph, the precision, and the number of threads, 0 for as many as there are cores. A graph is the
    bytes of its file, or, if its weights lie in another file, its path.
    `precisions` are those that it computes in.
    """

    package: str
    extra: str
    open: Callable[[bytes | Path, str, int], Runner]
    precisions: tuple[str, ...]


def open_with_onnxruntime(graph: bytes | Path, _precision: str, threads: int) -> Runner:
    """Run an ONNX graph with ONNX Runtime on the CPU (https://onnxruntime.ai/docs/performance/tune-performance).

    Raises InvalidInputError: it is not installed, or it does not take the graph.
    """
    onnxruntime = import_extra("onnxruntime", "onnx", "Running an ONNX graph")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # it writes warnings to descriptor 2
    options.intra_op_num_threads = threads
    # Threads that wait in a loop for the next batch take the cores from those that decode it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(_named(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no class
        raise _refused("ONNX Runtime", error) from error
    (image,) = session.get_inputs()

    def run(images: NDArray[Any]) -> Sequence[NDArray[np.float32]]:
        try:
            return session.run(None, {image.name: np.ascontiguousarray(images)})  # type: ignore[no-any-return]
        except Exception as error:
            raise _refused("ONNX Runtime", error) from error

    return run


def open_with_openvino(graph: bytes | Path, precision: str, threads: int) -> Runner:
    """Run an ONNX graph with OpenVINO on the CPU. Raises as `open_with_onnxruntime`."""
    return _compiled(read_with_openvino(graph), precision, threads)


def open_openvino_folder(path: str | os.PathLike[str]) -> Runner:
    """Run the model in a folder that `openvino_folder` wrote. Raises as `open_with_onnxruntime`."""
    openvino = import_extra("openvino", "openvino", "Running a graph")
    return _compiled(openvino.Core().read_model(os.path.join(path, "model.xml")), "float32", 0)


def read_with_openvino(graph: bytes | Path) -> Any:
    """An ONNX graph as a model of OpenVINO. Raises as `open_with_onnxruntime`."""
    openvino = import_extra("openvino", "openvino", "Running a graph")
    try:
        return openvino.Core().read_model(_named(graph))
    except Exception as error:
        raise _refused("OpenVINO", error) from error


def _named(graph: bytes | Path) -> bytes | str:
    return graph if isinstance(graph, bytes) else str(graph)


_OPENVINO_PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


def _compiled(model: Any, precision: str, threads: int) -> Runner:
    openvino = import_extra("openvino", "openvino", "Running a graph")
    settings: dict[str, Any] = {
        # Left alone, it computes in bfloat16 where the processor does.
        "INFERENCE_PRECISION_HINT": _OPENVINO_PRECISIONS[precision],
        "PERFORMANCE_HINT": "LATENCY",
    }
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    try:
        compiled = openvino.Core().compile_model(model, "CPU", settings)
    except Exception as error:
        raise _refused("OpenVINO", error) from error
    outputs = list(compiled.outputs)

    def run(images: NDArray[Any]) -> Sequence[NDArray[np.float32]]:
        try:
            found = compiled(np.ascontiguousarray(images))
        except Exception as error:
            raise _refused("OpenVINO", error) from error
        # Its arrays are overwritten by the next batch.
        return [np.array(found[output], np.float32) for output in outputs]

    return run


def open_exported_program(program: Any) -> Runner:
    """Run a `torch.export.ExportedProgram`."""
    module = program.module()

    def run(images: NDArray[Any]) -> Sequence[NDArray[np.float32]]:
        with torch.inference_mode():
            found = module(torch.from_numpy(images))
        return [m.numpy() for m in ([found] if isinstance(found, torch.Tensor) else found)]

    return run


RUNTIMES = {
    "onnxruntime": Runtime("onnxruntime", "onnx", open_with_onnxruntime, ("float32",)),
    "openvino": Runtime("openvino", "openvino", open_with_openvino, ("float32", "bfloat16")),
}


def _refused(program: str, error: Exception) -> InvalidInputError:
    reason = " ".join(str(error).split())[:200].rstrip(".")
    return InvalidInputError(f"{program} does not run the graph: {reason}.")

"""Write recorded networks as ONNX (extra `[onnx]`). Parameters keep the names that they have in checkpoints.

A model is one file if that is not too large. Otherwise its weights lie in another file beside the graph, which names it
(https://github.com/onnx/onnx/blob/main/docs/ExternalData.md).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.core.errors import CannotWriteError
from zoo.core.extras import import_extra
from zoo.core.files.atomic_folder import OutputFolder, temporary_folder
from zoo.core.graphs.network import INPUT, GraphNetwork
from zoo.core.graphs.trace import cannot_export, quiet_export

MAX_BYTES = (1 << 31) - 1
"""The most that a file of protocol buffers holds (https://protobuf.dev/programming-guides/proto-limits)."""

_INLINE_BYTES = 1 << 10
"""Smaller tensors stay in the graph: programs read constants there when they infer shapes."""
_ALIGNMENT, _PAGE = 64, 4096
_PAGE_ALIGNED_BYTES = 1 << 20
"""Tensors from this size on begin with a page, so that programs can map them."""

_SCRATCH = "model.onnx"
_DIMENSIONS = ("batch", None, "height", "width")


class OnnxGraph:
    """A recorded network in ONNX's terms, which is not written yet. It refers to the model's weights, without a copy.

    Args:
        model: of the package onnx_ir.
        onnx_ir: the package.
    """

    def __init__(self, model: Any, onnx_ir: Any) -> None:
        self._model, self._onnx_ir = model, onnx_ir
        self._values = list(model.graph.initializers.values())
        self.nbytes: int = sum(value.const_value.nbytes for value in self._values)
        """The size of the weights."""

    def one_file(self) -> bytes | None:
        """Graph and weights as the bytes of one file, the same in every run; None if that would be too large."""
        if self.nbytes >= MAX_BYTES:
            return None
        data = self._serialised()
        return data if len(data) <= MAX_BYTES else None

    def write(self, folder: OutputFolder, name: str) -> None:
        """Write the graph as file `name`, and as `data_name(name)` its weights, one after another.

        The bytes are the same in every run. Errors of the file system are OSErrors.

        Raises CannotWriteError if the name cannot be told in a graph.
        """
        location = data_name(name)
        try:
            location.encode()
        except UnicodeEncodeError:
            raise CannotWriteError(
                f"{name!r} is not UTF-8, and a graph of this size has to name the file of its weights.",
                hint="Choose another name with -o.",
                path=name,
            ) from None
        places, end = self._places()
        with folder.file(location) as file:
            file.reserve(end)
            for value, offset in places:
                data = _bytes_of(value.const_value)
                file.start_writeback(offset, file.write_at(data, offset) - offset)
        graph = self._referring(location, places)
        with folder.file(name) as file:
            file.write(graph)

    def _places(self) -> tuple[list[tuple[Any, int]], int]:
        """The values whose tensors go into the file of weights, each with its offset, and the end of the last."""
        places, end = [], 0
        for value in self._values:
            size = value.const_value.nbytes
            if size >= _INLINE_BYTES:
                alignment = _PAGE if size >= _PAGE_ALIGNED_BYTES else _ALIGNMENT
                offset = -(-end // alignment) * alignment
                places.append((value, offset))
                end = offset + size
        return places, end

    def _referring(self, location: str, places: list[tuple[Any, int]]) -> bytes:
        """The graph with references in the place of tensors."""
        kept = [value.const_value for value, _ in places]
        try:
            for value, offset in places:
                tensor = value.const_value
                value.const_value = self._onnx_ir.ExternalTensor(
                    location, offset, tensor.nbytes, tensor.dtype, shape=tensor.shape, name=value.name
                )
            return self._serialised()
        finally:
            for (value, _), tensor in zip(places, kept, strict=True):
                value.const_value = tensor

    def _serialised(self) -> bytes:
        data: bytes = self._onnx_ir.to_proto(self._model).SerializeToString(deterministic=True)
        return data


def data_name(name: str | os.PathLike[str]) -> str:
    """The file with the weights of a graph that is too large for one file."""
    return f"{os.fspath(name)}.data"


@contextmanager
def openable(graph: OnnxGraph, folder: str) -> Iterator[bytes | Path]:
    """A graph as the programs of `runtimes` open it, in memory if it fits one file, otherwise for a while in `folder`.

    Errors of the file system are OSErrors.
    """
    data = graph.one_file()
    if data is not None:
        yield data
        return
    with temporary_folder(folder, sync=False) as scratch:
        graph.write(scratch, _SCRATCH)
        yield Path(scratch.path, _SCRATCH)


def _bytes_of(tensor: Any) -> memoryview:
    """The bytes of a tensor as they lie in memory; a copy only of those that are strided."""
    return np.ascontiguousarray(tensor.numpy()).reshape(-1).view(np.uint8).data


def onnx_graph(
    program: Any,
    images: Tensor,
    network: GraphNetwork,
    *,
    opset: int,
    metadata: Mapping[str, str],
    dynamic: frozenset[str],
    extra: str = "onnx",
) -> OnnxGraph:
    """A recorded network as a graph of ONNX, the same in every run.

    Args:
        program: from `trace`.
        images: the example that it was recorded with.
        network: the network, for the names of its outputs.
        opset: version of the operators.
        metadata: goes into the file's metadata.
        dynamic: what was left open, for the message.
        extra: which extra of zoo-cli to name if a package is missing.

    Raises InvalidInputError: a package is missing, or an operation has no counterpart.
    """
    require_onnx(extra)
    try:
        with quiet_export():
            exported: Any = torch.onnx.export(
                program,
                (images,),
                dynamo=True,
                input_names=[INPUT],
                output_names=list(network.outputs),
                opset_version=opset,
                optimize=False,
                verbose=False,
            )
            model = _simplified(exported.model)
    except Exception as error:  # of many kinds, each for a different step
        raise cannot_export(error, dynamic) from error
    _name_dimensions(model.graph)
    model.producer_name, model.producer_version = "zoo", None
    model.graph.name = "zoo"
    model.metadata_props.clear()
    model.metadata_props.update(sorted(metadata.items()))
    return OnnxGraph(model, import_extra("onnx_ir", extra, "Writing a graph"))


def require_onnx(extra: str = "onnx") -> None:
    """Raise InvalidInputError, which names the extra, if a package that writes ONNX is missing."""
    for package in ("onnx", "onnxscript"):
        import_extra(package, extra, "Writing a graph")


def _simplified(model: Any) -> Any:
    """The graph without detours, and without the records of where in Python each operation came from.

    Parameters are neither folded into others nor merged with equal ones, so that they stay those of the checkpoint.
    Runtimes fold them when they load the graph.
    """
    from onnx_ir.passes import common
    from onnxscript import optimizer, rewriter
    from onnxscript.rewriter.rules import common as rules

    parameters = set(model.graph.initializers)

    def only_shapes(node: Any) -> bool | None:
        """Leave parameters alone; None is the optimiser's own judgement."""
        return False if any(value is not None and value.name in parameters for value in node.inputs) else None

    optimizer.inline(model)
    optimizer.fold_constants_ir(model, should_fold=only_shapes)
    model = rewriter.rewrite(model, pattern_rewrite_rules=_rules(rules))
    optimizer.fold_constants_ir(model, should_fold=only_shapes)
    for clean in (
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),
        common.RemoveUnusedOpsetsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.CommonSubexpressionEliminationPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
        common.ClearMetadataAndDocStringPass(),
    ):
        model = clean(model).model
    return model


def _rules(rules: Any) -> list[Any]:
    """Rules that look at operations and shapes alone: others drop a bias of zeros, or a scale of ones."""
    return [
        rules.cast_cast_rule,
        rules.no_op_cast_rule,
        rules.no_op_expand_rule,
        rules.reshape_reshape_rule,
        rules.transpose_transpose_rule,
        rules.no_op_transpose_rule,
        rules.unsqueeze_unsqueeze_rule,
        rules.squeeze_reshape_1d_rule,
        rules.slice_split_rule,
        rules.collapse_slice_rule,
        rules.collapse_slice2_rule,
        rules.materialize_reshape_shape_rule,
        rules.cast_constant_of_shape_rule,
        rules.cast_constant_of_shape_without_value_rule,
    ]


def _name_dimensions(graph: Any) -> None:
    """Name the open dimensions for people: the recorder calls them s77 and the like."""
    names = {}
    (image,) = graph.inputs
    for position, name in enumerate(_DIMENSIONS):
        if name is not None and not isinstance(image.shape[position], int):
            names[str(image.shape[position].value)] = name
    values = [*graph.inputs, *graph.outputs, *(value for node in graph for value in node.outputs)]
    for value in values:
        if value.shape is None:
            continue
        for position, dimension in enumerate(value.shape):
            if not isinstance(dimension, int) and dimension.value is not None:
                value.shape[position] = names.get(str(dimension.value), dimension)

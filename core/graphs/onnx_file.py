"""Write recorded networks as ONNX (extra `[onnx]`). Parameters keep the names that they have in checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.core.errors import InvalidInputError
from zoo.core.extras import import_extra
from zoo.core.graphs.network import INPUT, GraphNetwork
from zoo.core.graphs.trace import cannot_export, quiet_export

MAX_BYTES = (1 << 31) - 1
"""The most that a file of protocol buffers holds (https://protobuf.dev/programming-guides/proto-limits)."""

_DIMENSIONS = ("batch", None, "height", "width")


def onnx_bytes(
    program: Any,
    images: Tensor,
    network: GraphNetwork,
    *,
    opset: int,
    metadata: Mapping[str, str],
    dynamic: frozenset[str],
    extra: str = "onnx",
) -> bytes:
    """A recorded network as the bytes of an ONNX file, the same in every run.

    Args:
        program: from `trace`.
        images: the example that it was recorded with.
        network: the network, for the names of its outputs.
        opset: version of the operators.
        metadata: goes into the file's metadata.
        dynamic: what was left open, for the message.
        extra: which extra of zoo-cli to name if a package is missing.

    Raises InvalidInputError: a package is missing, an operation has no counterpart, or the file would be too large.
    """
    for package in ("onnx", "onnxscript"):
        import_extra(package, extra, "Writing a graph")
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
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values())
    if size >= MAX_BYTES:
        raise InvalidInputError(
            f"The weights take {size / 1e9:.1f} GB, and an ONNX file holds at most {MAX_BYTES / 1e9:.1f} GB.",
            hint="Choose --dtype float16, or write another format: -o model.pt2",
        )
    onnx_ir = import_extra("onnx_ir", extra, "Writing a graph")
    data: bytes = onnx_ir.to_proto(model).SerializeToString(deterministic=True)
    return data


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
    for _ in range(2):
        optimizer.fold_constants_ir(model, should_fold=only_shapes)
        model = rewriter.rewrite(model, pattern_rewrite_rules=_rules(rules))
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

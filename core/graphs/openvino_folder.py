"""Write graphs as OpenVINO reads them: model.xml and model.bin (extra `[openvino]`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from zoo.core.errors import CannotWriteError
from zoo.core.extras import import_extra
from zoo.core.files.atomic_folder import OutputFolder
from zoo.core.graphs.network import INPUT, GraphNetwork
from zoo.core.graphs.onnx_file import OnnxGraph, openable
from zoo.core.graphs.runtimes import read_with_openvino

NAMES = ("model.xml", "model.bin")


def write_openvino(folder: OutputFolder, graph: OnnxGraph, network: GraphNetwork, metadata: Mapping[str, str]) -> None:
    """Write an ONNX graph into a folder in OpenVINO's own format, the same bytes in every run.

    Args:
        folder: being written.
        graph: from `onnx_graph`. One that does not fit one file lies beside the folder meanwhile.
        network: for the names of its outputs.
        metadata: goes into the section `rt_info` of the description, a key each.

    Errors of the file system are OSErrors.

    Raises:
        InvalidInputError: OpenVINO is missing or does not take the graph.
        CannotWriteError: OpenVINO could not write, for a reason that is not known.
    """
    with openable(graph, os.path.dirname(folder.path)) as source:
        model = read_with_openvino(source)
        _name_everything(model, network)
        for key, text in sorted(metadata.items()):
            model.set_rt_info(text, [key])
        _save(model, folder, graph.nbytes)


def _name_everything(model: Any, network: GraphNetwork) -> None:
    """Names that are the same in every run."""
    model.set_friendly_name("zoo")
    for position, operation in enumerate(model.get_ordered_ops()):
        kind, name = operation.get_type_name(), operation.get_friendly_name()
        # The numbers in names of its own count on from one model to the next; parameters keep theirs.
        if kind != "Constant" or name.startswith(f"{kind}_"):
            operation.set_friendly_name(f"{kind}_{position}")
    model.inputs[0].get_tensor().set_names({INPUT})
    for output, name in zip(model.outputs, network.outputs, strict=True):
        output.get_tensor().set_names({name})


def _save(model: Any, folder: OutputFolder, nbytes: int) -> None:
    openvino = import_extra("openvino", "openvino", "Writing a graph for OpenVINO")
    try:
        openvino.save_model(model, os.path.join(folder.path, NAMES[0]), compress_to_fp16=False)
    except RuntimeError as error:
        # OpenVINO does not say why. A full disk has no room for these bytes either, and then the system says so.
        with folder.file("room") as file:
            file.reserve(nbytes)
        raise CannotWriteError(
            f"OpenVINO could not write the model: {' '.join(str(error).split())[:200]}.",
            hint="Choose another place with -o.",
        ) from error
    for name in NAMES:
        folder.sync_file(name)

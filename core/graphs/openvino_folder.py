"""Write graphs as OpenVINO reads them: model.xml and model.bin (extra `[openvino]`)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping

from zoo.core.extras import import_extra
from zoo.core.files.atomic_folder import OutputFolder
from zoo.core.graphs.network import INPUT, GraphNetwork
from zoo.core.graphs.runtimes import read_with_openvino

NAMES = ("model.xml", "model.bin")
_CHUNK = 1 << 20


def write_openvino(folder: OutputFolder, graph: bytes, network: GraphNetwork, metadata: Mapping[str, str]) -> None:
    """Write an ONNX graph into a folder in OpenVINO's own format, the same bytes in every run.

    Args:
        folder: being written.
        graph: from `onnx_bytes`.
        network: for the names of its outputs.
        metadata: goes into the section `rt_info` of the description, a key each.

    Raises InvalidInputError if OpenVINO is missing or does not take the graph.
    """
    openvino = import_extra("openvino", "openvino", "Writing a graph for OpenVINO")
    model = read_with_openvino(graph)
    model.set_friendly_name("zoo")
    for position, operation in enumerate(model.get_ordered_ops()):
        kind, name = operation.get_type_name(), operation.get_friendly_name()
        # The numbers in names of its own count on from one model to the next; parameters keep theirs.
        if kind != "Constant" or name.startswith(f"{kind}_"):
            operation.set_friendly_name(f"{kind}_{position}")
    model.inputs[0].get_tensor().set_names({INPUT})
    for output, name in zip(model.outputs, network.outputs, strict=True):
        output.get_tensor().set_names({name})
    for key, text in sorted(metadata.items()):
        model.set_rt_info(text, [key])
    with tempfile.TemporaryDirectory() as scratch:
        openvino.save_model(model, os.path.join(scratch, NAMES[0]), compress_to_fp16=False)
        for name in NAMES:
            with open(os.path.join(scratch, name), "rb") as source, folder.file(name) as target:
                while chunk := source.read(_CHUNK):
                    target.write(chunk)

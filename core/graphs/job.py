"""Write a model as a graph: build it, record it, run the graph, and put the file in place if it gives the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from zoo.core.architectures.records import PretrainedCfg
from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.extras import import_extra
from zoo.core.files.atomic_folder import atomic_folder
from zoo.core.files.atomic_output import atomic_output, check_target
from zoo.core.files.atomic_pair import atomic_pair
from zoo.core.graphs.network import INPUT, GraphNetwork, example_images, graph_network
from zoo.core.graphs.onnx_file import OnnxGraph, data_name, onnx_graph, require_onnx
from zoo.core.graphs.openvino_folder import NAMES, write_openvino
from zoo.core.graphs.request import DEFAULT_OPSET, Format, GraphRequest
from zoo.core.graphs.runtimes import (
    Runner,
    open_exported_program,
    open_openvino_folder,
    open_with_onnxruntime,
)
from zoo.core.graphs.source import GraphSource, Origin, origin_of
from zoo.core.graphs.torch_export_file import pt2_bytes, read_pt2
from zoo.core.graphs.trace import TRACED_BATCH, trace
from zoo.core.graphs.verify import Verified, sizes_to_try, verify
from zoo.core.images.preprocess import Preprocess
from zoo.core.metadata.stated import METADATA_KEY, adapted_cfg, weight_metadata
from zoo.core.model.build import create_model

Status = Literal["written", "unchanged"]

_VALUES = {
    "none": "normalised: (x - mean) / std of values from 0 to 1",
    "normalize": "from 0 to 1",
    "full": "8-bit pixels",
}


class DataFile(NamedTuple):
    """The file beside a graph that holds its weights: its path and its size."""

    path: str
    nbytes: int


class GraphReport(NamedTuple):
    """What was written.

    Args:
        output: the file or folder.
        format: "onnx", "pt2" or "openvino".
        status: whether it is new, or was there with the same bytes.
        nbytes: its size, without that of `data`.
        data: the file of weights that belongs to an ONNX graph of more than 2 GB; None for all others.
        architecture: of the model.
        graph: the description in the file's metadata: inputs, outputs, opset, dtype, preprocessing.
        verified: how it compares with the model in torch; None without verification.
        notes: what the user should know, one sentence each.
    """

    output: str
    format: Format
    status: Status
    nbytes: int
    data: DataFile | None
    architecture: str
    graph: Mapping[str, Any]
    verified: Verified | None
    notes: tuple[str, ...]


def export_graph(source: GraphSource, request: GraphRequest, *, in_chans: int | None = None) -> GraphReport:
    """Write a model as a graph, verified against the model in torch.

    Args:
        source: the model and its weights.
        request: what to write.
        in_chans: channels of the images; None for those of the weights, which are otherwise adapted as by
            `create_model`.

    Raises:
        UsageError: the model has no such outputs or image size.
        NotFoundError: the weights are not available.
        InvalidInputError: a package is missing, the model cannot be exported, or the graph gives other numbers.
        CannotWriteError: the output could not be written.
        In any case an existing file is then untouched.
    """
    check_target(request.output, folder=request.format == "openvino")
    _require_packages(request)
    model = _model(source, request, in_chans)
    return write_graph(model, origin_of(source), request)


def _require_packages(request: GraphRequest) -> None:
    """Raise InvalidInputError, which names the extra, before a model is built that cannot be written."""
    if request.format == "openvino":
        import_extra("openvino", "openvino", "Writing a graph for OpenVINO")
        require_onnx("openvino")
    elif request.format == "onnx":
        require_onnx()
        if request.verify:
            import_extra("onnxruntime", "onnx", "Verifying a graph")


def _model(source: GraphSource, request: GraphRequest, in_chans: int | None) -> Any:
    features = request.outputs == "features"
    options: dict[str, Any] = {"img_size": request.img_size} if request.img_size else {}
    build = partial(
        create_model,
        source.model,
        pretrained=source.weights is None,
        checkpoint_path=source.weights,
        checkpoint_key=source.key,
        source_size=source.source_size,
        in_chans=in_chans,
        num_classes=None if request.outputs == "logits" else 0,
        features_only=features,
        out_indices=request.out_indices if features else None,
    )
    if not options:
        return build()
    try:
        return build(**options)
    except TypeError:  # a network without a size of its own takes images of any
        return build()


def write_graph(model: Any, origin: Origin, request: GraphRequest) -> GraphReport:
    """As `export_graph`, for a model that is built."""
    if request.outputs == "logits" and not model.num_classes:
        raise UsageError("The model has no classifier, and so no logits.", hint="Pass --embedding or --features.")
    if "size" in request.dynamic and model.img_size is not None:
        height, width = model.img_size
        raise InvalidInputError(
            f"The weights of {model.pretrained_cfg['architecture']} are for images of {height} x {width} pixels alone.",
            hint="Leave size out of --dynamic, or choose another size with --img-size.",
        )
    cfg = adapted_cfg(PretrainedCfg.from_mapping(model.pretrained_cfg), model.in_chans)
    preprocess = Preprocess.from_cfg(cfg, in_chans=model.in_chans)
    if request.img_size:
        preprocess = replace(preprocess, size=request.img_size)
    reference = graph_network(model, preprocess, replace(request, dtype="float32", fuse=False))
    network = graph_network(model, preprocess, request)
    batch = TRACED_BATCH if "batch" in request.dynamic else 1
    images = example_images(network, preprocess, batch, sizes_to_try(network, request.dynamic)[0])
    program = trace(network, images, request.dynamic)
    graph = _description(network, request, images)
    metadata = _metadata(model, cfg, preprocess, origin, graph)
    compare = partial(
        verify,
        reference=reference,
        preprocess=preprocess,
        dynamic=request.dynamic,
        tolerance=request.largest_difference,
    )
    written = _write(program, images, network, request, metadata, _Check(compare, request.verify))
    return GraphReport(
        os.fspath(request.output), request.format, written.status, written.nbytes, written.data, cfg.architecture,
        graph, written.verified, (*network.notes, *_notes(request, written)),
    )  # fmt: skip


class _Written(NamedTuple):
    status: Status
    nbytes: int
    verified: Verified | None
    data: DataFile | None = None


class _Check(NamedTuple):
    """Compares a graph with the model, unless verification is off."""

    compare: Any
    wanted: bool

    def __call__(self, open_runner: Callable[[], Runner], runtime: str) -> Verified | None:
        if not self.wanted:
            return None
        verified: Verified = self.compare(open_runner(), runtime=runtime)
        return verified


def _write(
    program: Any,
    images: Tensor,
    network: GraphNetwork,
    request: GraphRequest,
    metadata: Mapping[str, str],
    check: _Check,
) -> _Written:
    if request.format == "pt2":
        data = pt2_bytes(program, metadata)
        return _write_file(data, request, check(lambda: open_exported_program(read_pt2(data)), "torch.export"))
    opset = request.opset or DEFAULT_OPSET
    if request.format == "onnx":
        made = onnx_graph(program, images, network, opset=opset, metadata=metadata, dynamic=request.dynamic)
        whole = made.one_file()
        if whole is None:
            return _write_with_data(made, request, check)
        return _write_file(whole, request, check(lambda: open_with_onnxruntime(whole, "float32", 0), "ONNX Runtime"))
    made = onnx_graph(program, images, network, opset=opset, metadata={}, dynamic=request.dynamic, extra="openvino")
    with atomic_folder(request.output, force=request.force) as folder:
        write_openvino(folder, made, network, metadata)
        nbytes = sum(os.path.getsize(os.path.join(folder.path, name)) for name in NAMES)
        verified = check(lambda: open_openvino_folder(folder.path), "OpenVINO")
    return _Written("unchanged" if folder.unchanged else "written", nbytes, verified)


def _write_with_data(graph: OnnxGraph, request: GraphRequest, check: _Check) -> _Written:
    name, data = os.path.basename(request.output), data_name(request.output)
    with atomic_pair(request.output, data, force=request.force) as folder:
        graph.write(folder, name)
        nbytes, in_data = (os.path.getsize(os.path.join(folder.path, one)) for one in (name, data_name(name)))
        verified = check(lambda: open_with_onnxruntime(Path(folder.path, name), "float32", 0), "ONNX Runtime")
    return _Written("unchanged" if folder.unchanged else "written", nbytes, verified, DataFile(data, in_data))


def _write_file(data: bytes, request: GraphRequest, verified: Verified | None) -> _Written:
    with atomic_output(request.output, force=request.force) as file:
        file.write(data)
    return _Written("unchanged" if file.unchanged else "written", len(data), verified)


def _notes(request: GraphRequest, written: _Written) -> tuple[str, ...]:
    """A note if weights of an earlier graph are left. They stay, because graphs of other names may refer to them."""
    data = data_name(request.output)
    if request.format != "onnx" or written.data is not None or not os.path.exists(data):
        return ()
    return (f"{data} is no part of this graph, which is one file. Remove it if no other graph refers to it.",)


def _description(network: GraphNetwork, request: GraphRequest, images: Tensor) -> dict[str, Any]:
    """What the graph takes and gives, for its metadata. Dimensions that are left open have names."""
    with torch.inference_mode():
        found = network.module(images)
    outputs = [found] if isinstance(found, Tensor) else found
    open_size = "size" in request.dynamic or network.takes_pixels

    def shape(tensor: Tensor, *, follows: bool) -> list[int | str]:
        sizes: list[int | str] = list(tensor.shape)
        if "batch" in request.dynamic:
            sizes[0] = "batch"
        return [*sizes[:2], "height", "width"] if follows and tensor.ndim == 4 else sizes

    return {
        "input": {
            "name": INPUT,
            "shape": shape(images, follows=open_size),
            "dtype": "uint8" if network.takes_pixels else "float32",
            "values": _VALUES[request.preprocess],
        },
        "outputs": [
            {"name": name, "shape": shape(tensor, follows="size" in request.dynamic)}
            for name, tensor in zip(network.outputs, outputs, strict=True)
        ],
        "preprocess": request.preprocess,
        "dtype": request.dtype,
        "fused": request.fuse,
    }


def _metadata(
    model: Any, cfg: PretrainedCfg, preprocess: Preprocess, origin: Origin, graph: Mapping[str, Any]
) -> dict[str, str]:
    """One entry, as in zoo's weight files, with the description of the graph."""
    sized = replace(cfg, input_size=(model.in_chans, *preprocess.size))
    (entry,) = (
        text
        for key, text in weight_metadata(
            sized,
            num_classes=model.num_classes,
            origin={"source": origin.name, "sha256": origin.sha256},
            bands=origin.bands,
            model_args={} if model.img_size is None else {"img_size": model.img_size},
            graph=graph,
        ).items()
        if key == METADATA_KEY
    )
    return {METADATA_KEY: entry}

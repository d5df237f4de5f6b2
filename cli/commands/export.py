"""`zoo export`: a model as a graph for other programs."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli import output
from zoo.cli.help_sections import MODEL, OUTPUT
from zoo.cli.options import (
    Force,
    InChans,
    Json,
    Key,
    Offline,
    OutIndices,
    Quiet,
    SourceSize,
    Timeout,
    Verbose,
    Weights,
    complete_model_name,
    limit_network,
    local_file,
    parse_indices,
    parse_size,
    parse_source_size,
    pretrained_cfg,
)
from zoo.core.errors import UsageError

if TYPE_CHECKING:
    from zoo.core.graphs.job import GraphReport


def export(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE",
            help="A model (name, name.tag, hf-hub:owner/repo), or a weight file that tells its architecture.",
            autocompletion=complete_model_name,
        ),
    ],
    target: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|FOLDER",
            readable=False,
            rich_help_panel=OUTPUT,
            help="Write ONNX to a .onnx file, torch.export to a .pt2 file, or OpenVINO's format to a folder. ONNX of "
            "more than 2 GB has its weights beside the file, in FILE.data.",
        ),
    ],
    weights: Weights = None,
    key: Key = "",
    source_size: SourceSize = "",
    in_chans: InChans = None,
    features: Annotated[
        bool,
        typer.Option("--features", rich_help_panel=MODEL, help="Give feature maps, an output for each level."),
    ] = False,
    out_indices: OutIndices = "",
    embedding: Annotated[
        bool,
        typer.Option("--embedding", rich_help_panel=MODEL, help="Give the vector that the classifier reads."),
    ] = False,
    img_size: Annotated[
        str,
        typer.Option(
            metavar="S|H,W",
            rich_help_panel=MODEL,
            help="Make the graph for images of this height and width in pixels instead of those of the weights.",
        ),
    ] = "",
    preprocess: Annotated[
        str,
        typer.Option(
            metavar="none|normalize|full",
            rich_help_panel=MODEL,
            help="Choose what the graph does to images: none takes them normalised, normalize takes values from 0 to "
            "1, and full takes 8-bit pixels of any size, which it resizes, crops and normalises.",
        ),
    ] = "none",
    dynamic: Annotated[
        str,
        typer.Option(
            metavar="batch,size",
            rich_help_panel=OUTPUT,
            help="Leave these open: the number of images, their height and width. none leaves nothing open.",
        ),
    ] = "batch",
    opset: Annotated[
        int | None,
        typer.Option(metavar="N", rich_help_panel=OUTPUT, help="Use this version of ONNX's operators, by default 18."),
    ] = None,
    dtype: Annotated[
        str,
        typer.Option(
            metavar="float32|float16",
            rich_help_panel=OUTPUT,
            help="Store weights and compute in this dtype. Inputs and outputs stay float32.",
        ),
    ] = "float32",
    fuse: Annotated[
        bool,
        typer.Option(
            "--fuse",
            rich_help_panel=OUTPUT,
            help="Fold batch norms into the layers before them. The weights are then not those of the checkpoint.",
        ),
    ] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify/--no-verify",
            rich_help_panel=OUTPUT,
            help="Run the graph before it is written, and compare its outputs with those of the model in torch.",
        ),
    ] = True,
    tolerance: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            rich_help_panel=OUTPUT,
            help="Allow this difference, as a part of an output's largest number. By default it is 1e-5, and 2e-2 in "
            "float16.",
        ),
    ] = None,
    force: Force = False,
    offline: Offline = False,
    timeout: Timeout = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Write a model with its weights as a graph that ONNX Runtime, OpenVINO or torch.export runs.

    The graph is run before it is written, with two numbers of images and, where they are open, two sizes. If it differs
    from the model in torch, nothing is written and the exit code is 4. Names, mean and std, bands, classes and the
    weights' sha256 are in the file's metadata. The same command writes the same bytes.

    \b
    Examples:
      zoo export resnet18 -o resnet18.onnx
      zoo export r34_25ch.safetensors --features --out-indices 2,3 -o r34_openvino
      zoo export resnet18 --preprocess full -o resnet18.pt2
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    limit_network(offline=offline, timeout=timeout)
    if features and embedding:
        raise UsageError("--features and --embedding both say what the graph gives.", hint="Pass one of them.")
    levels = parse_indices(out_indices)
    from zoo.core.graphs.request import GraphRequest

    request = GraphRequest(
        output=target,
        outputs="features" if features else "embedding" if embedding else "logits",
        out_indices=None if levels is None else tuple(levels),
        dynamic=frozenset(() if dynamic == "none" else dynamic.split(",")),
        img_size=parse_size(img_size) if img_size else None,
        opset=opset,
        dtype=dtype,
        preprocess=preprocess,
        fuse=fuse,
        verify=verify,
        tolerance=tolerance,
        force=force,
    )
    if weights is None and _is_file(name):
        name, weights = "", Path(name)
    if weights is None and (key or source_size):
        raise UsageError(
            f"{'--key' if key else '--source-size'} is about a weight file.", hint="Name it: --weights FILE."
        )
    weights = weights and local_file(weights)
    if name:
        cfg = pretrained_cfg(name)  # before importing torch, which takes seconds
        if weights is None:
            from zoo.core.architectures.registry import require_weights

            require_weights(cfg)

    from zoo.core.graphs.job import export_graph
    from zoo.core.graphs.source import GraphSource
    from zoo.core.model.file_cfg import architecture_in

    source = GraphSource(
        name or architecture_in(str(weights), key=key),
        None if weights is None else str(weights),
        key,
        parse_source_size(source_size),
    )
    report = export_graph(source, request, in_chans=in_chans)
    for text in report.notes:
        output.note(text)
    if json:
        output.document(_as_json(report))
    else:
        output.lines(_as_lines(report))


def _is_file(name: str) -> bool:
    """Whether the argument is a weight file or a folder of one: a folder may have the name of a model."""
    from zoo.core.architectures.registry import is_model

    return os.path.isfile(name) or (os.path.isdir(name) and not is_model(name))


def _as_json(report: "GraphReport") -> dict[str, Any]:
    verified = report.verified
    return {
        "output": report.output,
        "status": report.status,
        "format": report.format,
        "bytes": report.nbytes,
        "data": report.data and {"path": report.data.path, "bytes": report.data.nbytes},
        "architecture": report.architecture,
        **report.graph,
        "verified": verified
        and {
            "runtime": verified.runtime,
            "shapes": [list(shape) for shape in verified.shapes],
            "largest_difference": verified.difference,
            "output": verified.output,
        },
    }


def _as_lines(report: "GraphReport") -> list[str]:
    graph, verified, data = report.graph, report.verified, report.data
    status = "written" if report.status == "written" else "unchanged, it holds this already"
    image = graph["input"]
    lines = [
        f"{report.output}: {status}, {output.count(report.nbytes)}B",
        *([f"  weights in {data.path}: {output.count(data.nbytes)}B"] if data else []),
        f"  {report.architecture}, {report.format}, {graph['dtype']}",
        f"  input {image['name']}: {image['dtype']} ({_shape(image['shape'])}), {image['values']}",
        *(f"  output {one['name']}: float32 ({_shape(one['shape'])})" for one in graph["outputs"]),
    ]
    if verified is None:
        return [*lines, "  not verified"]
    shapes = " and ".join(f"({_shape(shape)})" for shape in verified.shapes)
    return [*lines, f"  verified in {verified.runtime} on {shapes}: largest difference {verified.difference:.1e}"]


def _shape(sizes: Any) -> str:
    return ", ".join(map(str, sizes))

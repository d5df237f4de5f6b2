"""`zoo inspect`: the contents of a weight file."""

from json import dumps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli import output
from zoo.cli.help_sections import OUTPUT
from zoo.cli.options import Json, Key, Offline, Quiet, Timeout, Verbose, limit_network, local_source

if TYPE_CHECKING:
    from zoo.core.files.open_weights import OpenedWeights
    from zoo.core.files.stored_tensor import StoredTensor
    from zoo.core.inspection.statistics import TensorStatistics


def inspect(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A weight file, its URL, a folder, or hf-hub:owner/repo.")
    ],
    stats: Annotated[
        bool,
        typer.Option(
            "--stats",
            rich_help_panel=OUTPUT,
            help="Read every tensor, and show its mean, deviation, extremes, and number of NaN.",
        ),
    ] = False,
    tree: Annotated[
        bool,
        typer.Option("--tree", rich_help_panel=OUTPUT, help="Show the totals of each module instead of each tensor."),
    ] = False,
    key: Key = "",
    offline: Offline = False,
    timeout: Timeout = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show what a weight file holds: format, tensors, dtypes, metadata, and what in it is not a weight.

    The command reads safetensors, shards, torch checkpoints, .npz, ONNX and .pt2. Without --stats it reads only
    headers. It executes nothing in the file. Of a Hub repository it fetches only the header.

    \b
    Examples:
      zoo inspect resnet34.safetensors
      zoo inspect checkpoint.pth --stats --json
      zoo inspect hf-hub:timm/resnet34.a1_in1k --tree
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    limit_network(offline=offline, timeout=timeout)
    source = local_source(source)
    from zoo.weights_cache.open_source import open_source

    with open_source(source, key=key) as opened:
        for text in opened.notes():
            output.note(text)
        document = _describe(source, opened, stats=stats, tree=tree)
        opened.require_unchanged()
    if json:
        output.document(document)
    elif output.on_terminal():
        _draw(document)
    else:
        output.lines(_as_lines(document))


def _describe(source: str, opened: "OpenedWeights", *, stats: bool, tree: bool) -> dict[str, Any]:
    from zoo.core.inspection.summary import readable_metadata, totals, totals_by_dtype, totals_by_module

    tensors = list(opened.tensors.values())
    document: dict[str, Any] = {
        "source": source,
        "format": opened.format,
        "file_bytes": opened.size,
        **totals(tensors)._asdict(),
        "wrapper": opened.wrapper,
        "prefix": opened.prefix,
        "wrappers": list(opened.wrappers),
        "dtypes": {dtype: of._asdict() for dtype, of in totals_by_dtype(tensors).items()},
        "graph": dict(opened.graph) or None,
        "metadata": readable_metadata(opened.metadata),
        "skipped": [{"path": path, "kind": kind} for path, kind in opened.skipped],
        "not_called": list(opened.opaque),
    }
    if tree:
        document["modules"] = [{"path": path, **of._asdict()} for path, of in totals_by_module(tensors).items()]
    if stats or not tree:
        document["tensor_list"] = [_tensor(tensor, stats) for tensor in tensors]
    return document


def _tensor(tensor: "StoredTensor", stats: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "bytes": tensor.nbytes,
    }
    if stats:
        from zoo.core.inspection.statistics import tensor_statistics

        row["stats"] = _stats(tensor_statistics(tensor))
    return row


def _stats(found: "TensorStatistics | None") -> dict[str, Any] | None:
    return None if found is None else found._asdict()


def _head(document: dict[str, Any]) -> list[str]:
    """The lines before the tensors."""
    lines = [f"{key}: {document[key]}" for key in ("source", "format", "file_bytes", "tensors", "values", "bytes")]
    lines += [f"{key}: {document[key]}" for key in ("wrapper", "prefix") if document[key]]
    lines += [f"dtype: {dtype} {_pairs(of)}" for dtype, of in document["dtypes"].items()]
    lines += _graph(document["graph"] or {})
    lines += [f"metadata: {text}" for text in _metadata(document["metadata"])]
    lines += [f"wrapper in names: {segment}" for segment in document["wrappers"]]
    lines += [f"not called: {name}" for name in document["not_called"]]
    return lines + [f"skipped: {row['path']} {row['kind']}" for row in document["skipped"]]


def _graph(graph: dict[str, Any]) -> list[str]:
    """What a graph takes and gives, and its versions."""
    lines = [
        f"{kind}: {row['name']} {row['dtype']} {_shape(row)}"
        for kind in ("input", "output")
        for row in graph.get(f"{kind}s", ())
    ]
    lines += [f"opset: {domain} {version}" for domain, version in graph.get("opset", {}).items()]
    return lines + [f"{key}: {graph[key]}" for key in ("ir_version", "producer", "torch_version") if graph.get(key)]


def _metadata(values: dict[str, Any]) -> list[str]:
    """`key=value`, and `key.inner=value` for entries of an object; anything deeper as JSON."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= {f"{key}.{inner}": of for inner, of in value.items()} if isinstance(value, dict) else {key: value}
    return [f"{key}={value if isinstance(value, str) else dumps(value)}" for key, value in flat.items()]


def _pairs(values: dict[str, Any]) -> str:
    return " ".join(f"{key}={_number(value)}" for key, value in values.items() if value is not None)


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _shape(row: dict[str, Any]) -> str:
    return "x".join(map(str, row["shape"])) or "scalar"


def _as_lines(document: dict[str, Any]) -> list[str]:
    lines = _head(document)
    for module in document.get("modules", ()):
        lines.append(f"module: {module['path']} {_pairs({k: v for k, v in module.items() if k != 'path'})}")
    for row in document.get("tensor_list", ()):
        stats = f" {_pairs(row['stats'])}" if row.get("stats") else ""
        lines.append(f"tensor: {row['name']} {row['dtype']} {_shape(row)} {row['bytes']}{stats}")
    return lines


def _draw(document: dict[str, Any]) -> None:
    output.lines([*_head(document), ""])
    if "modules" in document:
        output.table(
            ("module", "tensors", "values", "bytes"),
            [
                (_indented(m["path"]), str(m["tensors"]), output.count(m["values"]), output.count(m["bytes"]))
                for m in document["modules"]
            ],
            right=("tensors", "values", "bytes"),
        )
    rows = document.get("tensor_list", ())
    if rows:
        names = ("mean", "std", "minimum", "maximum", "num_nan", "num_infinite") if "stats" in rows[0] else ()
        output.table(
            ("tensor", "dtype", "shape", "bytes", *names),
            [
                [row["name"], row["dtype"], _shape(row), str(row["bytes"])]
                + [_number((row["stats"] or {}).get(name, "")) for name in names]
                for row in rows
            ],
            right=("bytes", *names),
        )


def _indented(path: str) -> str:
    return "  " * path.count(".") + path.rpartition(".")[2]

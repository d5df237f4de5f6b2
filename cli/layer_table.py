"""The layers of models, as `zoo info --layers` prints them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zoo.cli import output

if TYPE_CHECKING:
    from zoo.core.architectures.records import PretrainedCfg


def describe_layers(name: str, cfg: PretrainedCfg, *, in_chans: int | None, depth: int | None) -> dict[str, Any]:
    """The document of one model, by its name and config. Raises UsageError for channels or a depth below 1."""
    from zoo.core.architectures import registry
    from zoo.core.model.layers import layers_of, measure_layers, total
    from zoo.core.model.named_model import describes_another_network
    from zoo.core.model.own_facts import own_model

    channels = cfg.input_size[0] if in_chans is None else in_chans
    if describes_another_network(name, cfg):
        model = own_model(cfg, in_chans=channels)
        layers = measure_layers(model, (channels, *cfg.input_size[1:]), depth=depth)
    else:
        is_registered = cfg.tag in registry.cfgs_by_tag(cfg.architecture)
        layers = layers_of(cfg.name if is_registered else cfg.architecture, in_chans=channels, depth=depth)
    params, macs = total(layers)
    return {
        "name": cfg.architecture,
        "input_size": [channels, *cfg.input_size[1:]],
        "params": params,
        "macs": macs,
        "layers": [layer.to_dict() for layer in layers],
    }


def print_layers(documents: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """Print the layers of each model: JSON, tables on a terminal, otherwise a line for each layer."""
    if as_json:
        output.document(documents[0] if len(documents) == 1 else {"models": documents})
        return
    for number, document in enumerate(documents):
        if number:
            output.lines([""])
        if output.on_terminal():
            _draw(document)
        else:
            output.lines(_as_lines(document))


_COLUMNS = ("module", "kind", "shape", "params", "macs", "stride", "receptive_field", "sees")
_HEADINGS = ("module", "kind", "output", "params", "MACs", "stride", "field", "sees")
_COUNTS = ("params", "macs")


def _as_lines(document: dict[str, Any]) -> list[str]:
    size = _size(document["input_size"])
    head = [f"name: {document['name']}", f"input_size: {size}"]
    head += [f"{key}: {document[key]}" for key in _COUNTS]
    return head + [
        "layer: " + " ".join(f"{key}={_size(layer[key])}" for key in (*_COLUMNS, "calls"))
        for layer in document["layers"]
    ]


def _draw(document: dict[str, Any]) -> None:
    counts = " and ".join(f"{output.count(document[key])} {heading}" for key, heading in _TOTALS)
    output.lines([f"{document['name']}, one image of {_size(document['input_size'])}: {counts}", ""])
    rows = [
        [output.count(layer[key]) if key in _COUNTS else _size(layer[key], unknown="") for key in _COLUMNS]
        for layer in document["layers"]
    ]
    rows = [[row[0] or "(in no module)", *row[1:]] for row in rows]
    output.table(_HEADINGS, rows, right=("output", "params", "MACs", "stride", "field"))


_TOTALS = (("params", "parameters"), ("macs", "MACs"))


def _size(value: Any, unknown: str = "unknown") -> str:
    """A value as one word: sizes as 3x224x224, and as one number if both are the same."""
    if value is None:
        return unknown
    if not isinstance(value, list | tuple):
        return str(value)
    return str(value[0]) if len(value) == 2 and value[0] == value[1] else "x".join(map(str, value))

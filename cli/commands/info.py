"""`zoo info`: facts about a model, without building it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli import output
from zoo.cli.options import (
    NAME_HELP,
    InChans,
    Json,
    Offline,
    Quiet,
    Timeout,
    Verbose,
    complete_model_name,
    limit_network,
    pretrained_cfg,
)
from zoo.core.architectures import registry
from zoo.core.architectures.default_cfgs import UNTRAINED
from zoo.core.errors import UsageError

if TYPE_CHECKING:
    from zoo.core.architectures.model_facts import ModelFacts
    from zoo.core.architectures.records import PretrainedCfg

TOP1_HEADING = "top-1 %"


def info(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help=NAME_HELP, autocompletion=complete_model_name)],
    layers: Annotated[
        bool,
        typer.Option(
            "--layers", help="Show every layer: shape, parameters, MACs, stride, receptive field. It imports torch."
        ),
    ] = False,
    depth: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="With --layers, tell only N parts of a layer's path apart, and add up the rest."
        ),
    ] = None,
    in_chans: InChans = None,
    offline: Offline = False,
    timeout: Timeout = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show a model's size, default config, feature levels and tags.

    Several models stand side by side on a terminal, and one after another in a pipe; --json lists them under "models".
    The command makes no request, except for the config.json of a Hub repository that zoo has no name for. A network
    that such a config describes, or that of a local-dir: folder, is measured, which imports torch.

    --layers computes nothing and takes no memory for weights. A layer sees a window (its receptive field), the whole
    image (through attention or a mean over the map), or is unknown (attention in windows).

    \b
    Examples:
      zoo info resnet34
      zoo info resnet34.a1_in1k timm/resnet50.a1_in1k --json
      zoo info resnet34 convnext_tiny
      zoo info resnet34 --layers --in-chans 25
      zoo info vit_tiny_patch16_224 --layers --depth 2 --json
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    limit_network(offline=offline, timeout=timeout)
    if not layers and (depth is not None or in_chans is not None):
        option = "--in-chans" if depth is None else "--depth"
        raise UsageError(f"{option} is for the layers of a model.", hint=f"Add --layers, or leave out {option}.")
    if layers:
        from zoo.cli.layer_table import describe_layers, print_layers

        described = [describe_layers(name, pretrained_cfg(name), in_chans=in_chans, depth=depth) for name in names]
        print_layers(described, as_json=json)
        return
    documents = [_describe(name) for name in names]
    if json:
        output.document(documents[0] if len(documents) == 1 else {"models": documents})
        return
    if len(documents) > 1 and output.on_terminal():
        _draw_side_by_side(documents)
        return
    for number, document in enumerate(documents):
        if number:
            output.lines([""])
        if output.on_terminal():
            _draw(document)
        else:
            output.lines(_as_lines(document))


def _describe(name: str) -> dict[str, Any]:
    """The document of `zoo info --json`; the other forms are drawn from it."""
    from zoo.core.architectures.accuracy import SOURCE, published_accuracies
    from zoo.weights_cache.locate import is_cached

    cfg = pretrained_cfg(name)
    facts = _facts(name, cfg)
    default_cfg = cfg.to_dict()
    default_cfg.pop("state_dict", None)
    tags = [
        {
            "tag": tag,
            "license": one.license,
            "source": _source(one),
            "cached": is_cached(one),
            "accuracies": [found.to_dict() for found in published_accuracies(f"{cfg.architecture}.{tag}")],
        }
        for tag, one in registry.cfgs_by_tag(cfg.architecture).items()
        if tag != UNTRAINED
    ]
    return {
        "name": cfg.name if cfg.tag != UNTRAINED else facts.name,
        "family": facts.family,
        "params": facts.params,
        "macs": facts.macs,
        "num_features": facts.num_features,
        "cached": is_cached(cfg) if cfg.has_weights else None,
        "default_cfg": default_cfg,
        "feature_levels": [
            {"index": i, "channels": level.channels, "reduction": level.reduction, "module": level.module}
            for i, level in enumerate(facts.levels)
        ],
        "tags": tags,
        "accuracy_source": SOURCE if any(tag["accuracies"] for tag in tags) else None,
    }


def _facts(name: str, cfg: "PretrainedCfg") -> "ModelFacts":
    """Of the published architecture; measured where a config.json describes another network, which takes torch."""
    if ":" in name:
        from zoo.core.model.named_model import describes_another_network

        if describes_another_network(name, cfg):
            from zoo.core.model.own_facts import own_facts

            return own_facts(cfg)
    return registry.facts(cfg.architecture)


def _source(cfg: "PretrainedCfg") -> str:
    """The source of the weights, as one text."""
    if cfg.package:
        return f"package:{cfg.package}"
    if cfg.hf_hub_id:
        return f"hf-hub:{cfg.hf_hub_id}"
    return cfg.url or cfg.file


def _values(document: dict[str, Any]) -> dict[str, str]:
    """The single values of the document as text, including the set values of the default config."""
    single = {key: value for key, value in document.items() if not isinstance(value, dict | list)}
    if not single["accuracy_source"]:
        del single["accuracy_source"]
    stated = {key: value for key, value in document["default_cfg"].items() if value not in (None, "", (), False)}
    return {key: _as_text(value) for key, value in (single | stated).items()}


def _as_text(value: object) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _as_lines(document: dict[str, Any]) -> list[str]:
    lines = [f"{key}: {value}" for key, value in _values(document).items()]
    for level in document["feature_levels"]:
        lines.append("feature_level: " + " ".join(f"{key}={value}" for key, value in level.items()))
    for tag in document["tags"]:
        lines.append(
            "tag: " + " ".join([tag["tag"], *(f"{k}={_as_text(tag[k])}" for k in ("license", "source", "cached"))])
        )
        lines += [
            f"accuracy: {tag['tag']} " + " ".join(f"{key}={_as_text(value)}" for key, value in accuracy.items())
            for accuracy in tag["accuracies"]
        ]
    return lines


def _draw(document: dict[str, Any]) -> None:
    values = _values(document)
    for key in ("params", "macs"):
        if document[key] is not None and document[key] >= 1000:
            values[key] += f" ({output.count(document[key])})"
    # Print lines, not a table: the terminal wraps a long URL so that it can still be copied.
    output.lines([*(f"{key:<16} {value}" for key, value in values.items()), ""])
    levels = [list(map(_as_text, level.values())) for level in document["feature_levels"]]
    output.table(("level", "channels", "reduction", "module"), levels, right=("level", "channels", "reduction"))
    if document["tags"]:
        output.lines([""])
        columns = ["tag", "license", "cached", "source"]
        tags = [[_as_text(tag[column]) for column in columns] for tag in document["tags"]]
        if document["accuracy_source"]:
            columns.insert(1, TOP1_HEADING)
            for row, tag in zip(tags, document["tags"], strict=True):
                row.insert(1, _top1(tag))
        output.table(columns, tags, cut="source")


SIDE_BY_SIDE = ("family", "params", "macs", "num_features", "input_size", "crop_pct", "interpolation", "license")
"""What models are compared by, besides their feature levels and accuracies."""


def _draw_side_by_side(documents: list[dict[str, Any]]) -> None:
    """A column for each model, a row for each fact."""
    facts = [_compared(document) for document in documents]
    rows = [[key, *(fact.get(key, "") for fact in facts)] for key in facts[0]]
    rows += [
        [f"level {i}", *(_level(document["feature_levels"], i) for document in documents)]
        for i in range(min(MOST_LEVELS, max(len(document["feature_levels"]) for document in documents)))
    ]
    output.table(["model", *(document["name"] for document in documents)], rows)


MOST_LEVELS = 6
"""Levels that are compared: a plain vision transformer has one for each block, and all alike."""


def _compared(document: dict[str, Any]) -> dict[str, str]:
    values = document | document["default_cfg"]
    found = {key: _as_text(values[key]) for key in SIDE_BY_SIDE}
    for key in ("params", "macs"):
        found[key] = _as_text(values[key] if values[key] is None else output.count(values[key]))
    named = document["name"].partition(".")[2]
    tag: dict[str, Any] = next((tag for tag in document["tags"] if tag["tag"] == named), {"accuracies": []})
    found["input_size"] = "x".join(map(str, values["input_size"]))
    return found | {TOP1_HEADING: _top1(tag), "tags": str(len(document["tags"]))}


def _level(levels: list[dict[str, Any]], index: int) -> str:
    if index >= len(levels):
        return ""
    return f"{levels[index]['channels']} at 1/{levels[index]['reduction']}"


def _top1(tag: dict[str, Any]) -> str:
    """Published top-1 accuracies with the sizes of the input, for a table."""
    return ", ".join(f"{found['top1']:.1f} at {found['size']}" for found in tag["accuracies"]) or "?"

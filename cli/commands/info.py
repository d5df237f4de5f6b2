"""`zoo info`: facts about a model, without building it."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli import output
from zoo.cli.options import (
    NAME_HELP,
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

if TYPE_CHECKING:
    from zoo.core.architectures.records import PretrainedCfg

TOP1_HEADING = "top-1 %"


def info(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help=NAME_HELP, autocompletion=complete_model_name)],
    offline: Offline = False,
    timeout: Timeout = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Show a model's size, default config, feature levels and tags.

    Several models are shown one after another; --json lists them under "models". The command makes no request, except
    for the config.json of a Hub repository that zoo has no name for.

    \b
    Examples:
      zoo info resnet34
      zoo info resnet34.a1_in1k timm/resnet50.a1_in1k --json
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    limit_network(offline=offline, timeout=timeout)
    documents = [_describe(name) for name in names]
    if json:
        output.document(documents[0] if len(documents) == 1 else {"models": documents})
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
    facts = registry.facts(cfg.architecture)
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


def _top1(tag: dict[str, Any]) -> str:
    """Published top-1 accuracies with the sizes of the input, for a table."""
    return ", ".join(f"{found['top1']:.1f} at {found['size']}" for found in tag["accuracies"]) or "?"

"""`zoo create`: build a model by name, and write its weights to a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli import output
from zoo.cli.help_sections import INPUT, MODEL
from zoo.cli.options import (
    Drop,
    Force,
    InChans,
    Json,
    Key,
    ModelName,
    NumClasses,
    Offline,
    OptionalOutput,
    OutIndices,
    Quiet,
    SourceSize,
    Timeout,
    Verbose,
    Weights,
    limit_network,
    local_file,
    parse_indices,
    parse_source_size,
    pretrained_cfg,
)
from zoo.core.errors import UsageError

if TYPE_CHECKING:
    from zoo.core.architectures.records import PretrainedCfg


def create(
    name: ModelName,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", rich_help_panel=INPUT, help="Load the published weights.")
    ] = False,
    weights: Weights = None,
    key: Key = "",
    drop: Drop = None,
    source_size: SourceSize = "",
    in_chans: InChans = None,
    num_classes: NumClasses = None,
    features_only: Annotated[
        bool,
        typer.Option("--features-only", rich_help_panel=MODEL, help="Keep only the trunk, which gives feature maps."),
    ] = False,
    out_indices: OutIndices = "",
    seed: Annotated[
        int,
        typer.Option(
            metavar="S", rich_help_panel=MODEL, help="Use this seed to initialise every weight that is not loaded."
        ),
    ] = 0,
    target: OptionalOutput = None,
    force: Force = False,
    offline: Offline = False,
    timeout: Timeout = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Build a model with random or pretrained weights, and write them with -o.

    Without -o the command builds the model and prints what it is. This checks that a name, its options and a weight
    file go together. Channels and classes are those of the weight file, if there is one, unless an option sets them.
    Random weights depend on --seed alone, so the same command writes the same bytes.

    \b
    Examples:
      zoo create resnet34 --num-classes 10 -o r34.safetensors
      zoo create resnet34 --weights r34.safetensors --features-only
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    limit_network(offline=offline, timeout=timeout)
    if pretrained and weights is not None:
        raise UsageError("--pretrained and --weights both say what to load.", hint="Give one of them.")
    if drop and weights is None:
        raise UsageError("--drop leaves out tensors of a weight file.", hint="Name the file with --weights.")
    if key and weights is None:
        raise UsageError("--key is about a weight file.", hint="Name it: --weights FILE.")
    if out_indices and not features_only:
        raise UsageError("--out-indices chooses feature maps.", hint="Add --features-only.")
    if source_size and weights is None:
        raise UsageError(
            "--source-size describes a weight file, and none was given.", hint="Name the file with --weights."
        )
    if not 0 <= seed < 1 << 64:
        raise UsageError(f"--seed takes a number from 0 to 2^64 - 1, found {seed}.")
    cfg = pretrained_cfg(name)
    from zoo.core.architectures.published import task_layers_of

    known = task_layers_of(cfg.architecture)
    if in_chans not in (None, cfg.input_size[0]) and known and not known.first_conv:
        raise UsageError(
            f"{cfg.architecture} reads {cfg.input_size[0]} channels with fixed filters, and not {in_chans}.",
            hint="Leave out --in-chans.",
        )
    weights = weights and local_file(weights)
    if target is not None:
        from zoo.core.files.atomic_output import check_target

        check_target(target)
    if pretrained:
        from zoo.core.architectures.registry import require_weights

        require_weights(cfg)

    from zoo.core.model.build import create_model

    model = create_model(
        name,
        pretrained=pretrained,
        checkpoint_path=weights,
        checkpoint_key=key,
        in_chans=in_chans,
        num_classes=num_classes,
        source_size=parse_source_size(source_size),
        drop=tuple(drop or ()),
        features_only=features_only,
        out_indices=parse_indices(out_indices),
        seed=seed,
    )
    report = getattr(model, "load_report", None)
    for text in report.notes if report is not None else ():
        output.note(text)
    if report is not None and report.initialised:
        output.note(f"{', '.join(report.initialised)}: not in the weights, initialised with seed {seed}.")
    document = _describe(cfg, model, seed)
    if target is not None:
        document["output"] = str(target)
        document["status"] = _save(model, target, document["weights"], force)
    if json:
        output.document(document)
    else:
        output.lines(_as_lines(document))


def _describe(cfg: "PretrainedCfg", model: Any, seed: int) -> dict[str, Any]:
    report = getattr(model, "load_report", None)
    document: dict[str, Any] = {
        "architecture": cfg.architecture,
        "params": sum(p.numel() for p in model.parameters()),
        "in_chans": model.in_chans,
        "num_classes": model.num_classes,
        "input_size": model.pretrained_cfg["input_size"],
        "weights": {"random_seed": seed} if report is None else {"source": report.source},
    }
    if report is not None:
        document["weights"] |= {"loaded": report.loaded, "adapted": report.adapted, "dropped": report.dropped}
        document["weights"] |= {"initialised": report.initialised}
    if hasattr(model.feature_info, "out_indices"):
        document["feature_levels"] = model.feature_info.get_dicts(("index", "module", "num_chs", "reduction"))
    return document


def _save(model: Any, target: Path, weights: dict[str, Any], force: bool) -> str:
    from zoo.core.architectures.records import PretrainedCfg
    from zoo.core.model.save import save_model

    # The source's path concerns only this machine; the file must be the same on any other.
    origin = {key: value for key, value in weights.items() if key in ("random_seed", "adapted", "initialised")}
    cfg = PretrainedCfg.from_mapping(model.pretrained_cfg)
    return "written" if save_model(model, cfg, target, origin=origin, force=force) else "unchanged"


def _as_lines(document: dict[str, Any]) -> list[str]:
    weights = document["weights"]
    origin = f"random, seed {weights['random_seed']}" if "random_seed" in weights else f"from {weights['source']}"
    params, channels, classes = output.count(document["params"]), document["in_chans"], document["num_classes"]
    end = "trunk only" if "feature_levels" in document else f"{classes} classes"
    head = f"{document['architecture']}: {params} parameters, {channels} channels, {end}, weights {origin}"
    lines = [head]
    for key in ("adapted", "dropped", "initialised"):
        if names := weights.get(key):
            lines.append(f"  {output.tensor_names(names)}: {key}")
    for level in document.get("feature_levels", ()):
        lines.append(
            f"  level {level['index']}: {level['num_chs']} channels at 1/{level['reduction']}, {level['module']}"
        )
    if "output" in document:
        lines.append(f"  {document['output']}: {document['status']}")
    return lines

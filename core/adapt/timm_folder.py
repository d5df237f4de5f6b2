"""An adapted checkpoint as a folder that timm's `local-dir:` and the Hub's timm format can read. Standard library only.

The folder holds model.safetensors and config.json, whose `model_args` are passed to the model and whose
`pretrained_cfg` describes the weights (https://huggingface.co/docs/timm/hf_hub).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from zoo.core.adapt.plan import AdaptPlan
from zoo.core.adapt.verify import Check
from zoo.core.architectures.records import PretrainedCfg
from zoo.core.channels.input_layers import InputLayout
from zoo.core.errors import UsageError
from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.metadata.timm_config import write_timm_config


def timm_config(cfg: PretrainedCfg, plan: AdaptPlan, model_args: Mapping[str, Any]) -> bytes:
    """The text of config.json.

    Args:
        cfg: the file's config, with its channels, sizes, mean and std.
        plan: how the file was made.
        model_args: what the model is built with besides channels and classes.

    Raises UsageError if timm could not know which architecture to build.
    """
    if not cfg.architecture:
        raise UsageError(
            "A folder for timm must name its architecture, which is not known here.", hint="Give the model's name."
        )
    if plan.request.prefix:
        raise UsageError("Folders for timm have no key prefixes.", hint="Leave out --prefix.")
    sizes = {**dict(cfg.model_args), **model_args}
    return write_timm_config(cfg, in_chans=plan.in_chans, num_classes=plan.num_classes, model_args=sizes)


# ---------------------------------------------------------------- timm's rules


def loads_in_timm(tensors: Mapping[str, StoredTensor], config: bytes, layout: InputLayout) -> Check:
    """Check what timm makes of the folder through `local-dir:`, by the rules of its loader.

    timm builds the model with `model_args`. If the model has the number of classes in `pretrained_cfg`, the file must
    hold every tensor, including the classifier. If not, timm discards the classifier's tensors and makes a new
    classifier. timm converts or reinitialises an input layer with a different number of channels, so it must have the
    model's (timm.models._builder.load_pretrained, release 1.0.31).

    Args:
        tensors: those of model.safetensors.
        config: the text of config.json.
        layout: that of the input layers.
    """
    values = json.loads(config)
    args, cfg = values["model_args"], values["pretrained_cfg"]
    name, in_chans, num_classes = values["architecture"], args["in_chans"], args["num_classes"]
    problem = (
        _channel_problem(tensors, cfg, layout, in_chans)
        or _classifier_problem(tensors, layer_paths(cfg.get("classifier")), num_classes, cfg["num_classes"])
        or ("" if _is_known(name) else f"{name} is no architecture of timm's")
    )
    if problem:
        return Check("timm", False, problem)
    classifier = f"a new classifier of {num_classes_told(num_classes)}" if cfg["num_classes"] != num_classes else ""
    return Check(
        "timm",
        True,
        f"by its rules local-dir: loads into {name} with {count_of(in_chans, 'channel')} and"
        f" {classifier or num_classes_told(num_classes)}",
    )


def _channel_problem(
    tensors: Mapping[str, StoredTensor], cfg: Mapping[str, Any], layout: InputLayout, in_chans: int
) -> str:
    counts = {"input_size": cfg["input_size"][0], "mean": len(cfg["mean"]), "std": len(cfg["std"])}
    for key, count in counts.items():
        if count != in_chans:
            return f"{key} of its config has {count_of(count, 'channel')}, the model {in_chans}"
    for layer in layer_paths(cfg.get("first_conv")):
        weight = tensors.get(f"{layer}.weight")
        if weight is None:
            return f"{layer}.weight, which its config names as the input layer, is not in the file"
        if layout.channels(weight.shape) != in_chans:
            return f"{layer}.weight {list(weight.shape)} does not read the model's {count_of(in_chans, 'channel')}"
    return ""


def _classifier_problem(
    tensors: Mapping[str, StoredTensor], layers: Sequence[str], num_classes: int, stated: int
) -> str:
    if num_classes != stated:
        return ""  # timm discards it and makes a new one
    for layer in layers:
        weight = tensors.get(f"{layer}.weight")
        if not num_classes and weight is not None:
            return f"{layer}.weight is in the file, but the model has no classifier"
        if num_classes and (weight is None or weight.shape[0] != num_classes):
            found = "is not in the file" if weight is None else f"has {weight.shape[0]} rows"
            return f"{layer}.weight {found}, but the model has {num_classes_told(num_classes)}"
    return ""


def _is_known(name: str) -> bool:
    from zoo.core.architectures.published import fingerprint_of

    return bool(fingerprint_of(name))


def count_of(count: int, what: str) -> str:
    """`1 channel`, `2 channels`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def num_classes_told(count: int) -> str:
    """`1 class`, `2 classes` or `no classifier`."""
    return f"{count} class{'' if count == 1 else 'es'}" if count else "no classifier"


def layer_paths(value: Any) -> tuple[str, ...]:
    """Module paths as a file states them: one, several, or none."""
    return tuple(value) if isinstance(value, list | tuple) else (value,) if value else ()

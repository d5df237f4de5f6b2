"""Whether a written file will load: the loader's own decision, by the configuration that the file carries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.core.errors import ZooError
from zoo.core.input_layers import InputLayout
from zoo.core.known_architectures import find_known, known_fingerprint
from zoo.core.records import module_paths
from zoo.core.stored_tensor import StoredTensor
from zoo.core.verify_adapted import Check
from zoo.core.weight_metadata import METADATA_KEY

if TYPE_CHECKING:
    from zoo.core.check_weights import CheckReport


def loads_in_zoo(tensors: Mapping[str, StoredTensor], metadata: Mapping[str, str]) -> Check:
    """What `create` would make of a file: names and shapes decide, nothing is read.

    The model is built on the meta device where the architecture's fingerprint does not tell by itself; that imports
    torch. A file of an architecture that zoo cannot build is compared with its fingerprint, one of an unknown
    architecture with nothing: the check then says so and holds.

    Args:
        tensors, metadata: of the file.
    """
    stated = json.loads(metadata[METADATA_KEY])
    name = stated["architecture"]
    if not name:
        return Check("create", True, "not built, as the file names no architecture")
    if find_known(name) is not None:
        return _has_names_of(name, tensors, stated)
    if not known_fingerprint(name):
        return Check("create", True, f"not built, as zoo does not know {name}")
    from zoo.core.check_weights import CheckRequest, check_tensors

    try:
        report = check_tensors("the file", tensors, metadata, CheckRequest(name))
    except ZooError as error:
        return Check("create", False, str(error).rstrip("."))
    return Check("create", report.fits, _told(name, report))


def _told(name: str, report: CheckReport) -> str:
    if not report.fits:
        return report.problem.rstrip(".")
    return (
        f"loads into {name} with {_number(report.in_chans, 'channel')} and {_classes(report.num_classes)}:"
        f" {_number(len(report.tensors), 'tensor')}"
    )


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _classes(count: int) -> str:
    return f"{count} class{'' if count == 1 else 'es'}" if count else "no classifier"


def _has_names_of(name: str, tensors: Mapping[str, StoredTensor], stated: Mapping[str, Any]) -> Check:
    from zoo.core.fingerprint import fingerprint

    shapes = {tensor.name: tensor.shape for tensor in tensors.values()}
    layers, heads = (module_paths(_path(stated.get(key))) for key in ("first_conv", "classifier"))
    same = fingerprint(shapes, layers, heads) == known_fingerprint(name)
    told = "those that it has" if same else "not all those of its published weights"
    return Check("create", True, f"not built, as zoo cannot build {name}; the names and shapes are {told}")


def _path(value: Any) -> str | tuple[str, ...] | None:
    return tuple(value) if isinstance(value, list) else value


# ---------------------------------------------------------------- timm's rules


def loads_in_timm(tensors: Mapping[str, StoredTensor], config: bytes, layout: InputLayout) -> Check:
    """What timm makes of a folder for `local-dir:`, by the rules of its loader.

    It builds the model with `model_args`. Where the model's number of classes is that of `pretrained_cfg`, every
    tensor must be in the file, the classifier too; where it is not, the classifier's tensors are thrown away and a new
    one is made. An input layer of other channels than the model's is converted or made new, so it must have the
    model's (timm.models._builder.load_pretrained, release 1.0.31).

    Args:
        tensors: of model.safetensors.
        config: the text of config.json.
        layout: of the input layers.
    """
    values = json.loads(config)
    args, cfg = values["model_args"], values["pretrained_cfg"]
    name, in_chans, num_classes = values["architecture"], args["in_chans"], args["num_classes"]
    problem = (
        _channel_problem(tensors, cfg, layout, in_chans)
        or _classifier_problem(tensors, module_paths(_path(cfg.get("classifier"))), num_classes, cfg["num_classes"])
        or ("" if known_fingerprint(name) else f"{name} is no architecture of timm's")
    )
    if problem:
        return Check("timm", False, problem)
    classifier = f"a new classifier of {_classes(num_classes)}" if cfg["num_classes"] != num_classes else ""
    return Check(
        "timm",
        True,
        f"by its rules local-dir: loads into {name} with {_number(in_chans, 'channel')} and"
        f" {classifier or _classes(num_classes)}",
    )


def _channel_problem(
    tensors: Mapping[str, StoredTensor], cfg: Mapping[str, Any], layout: InputLayout, in_chans: int
) -> str:
    counts = {"input_size": cfg["input_size"][0], "mean": len(cfg["mean"]), "std": len(cfg["std"])}
    for key, count in counts.items():
        if count != in_chans:
            return f"{key} of its config has {_number(count, 'channel')}, the model {in_chans}"
    for layer in module_paths(_path(cfg.get("first_conv"))):
        weight = tensors.get(f"{layer}.weight")
        if weight is None:
            return f"{layer}.weight, which its config names as the input layer, is not in the file"
        if layout.channels(weight.shape) != in_chans:
            return f"{layer}.weight {list(weight.shape)} does not read the model's {_number(in_chans, 'channel')}"
    return ""


def _classifier_problem(
    tensors: Mapping[str, StoredTensor], layers: Sequence[str], num_classes: int, stated: int
) -> str:
    if num_classes != stated:
        return ""  # thrown away, and made new
    for layer in layers:
        weight = tensors.get(f"{layer}.weight")
        if not num_classes and weight is not None:
            return f"{layer}.weight is in the file, but the model has no classifier"
        if num_classes and (weight is None or weight.shape[0] != num_classes):
            found = "is not in the file" if weight is None else f"has {weight.shape[0]} rows"
            return f"{layer}.weight {found}, but the model has {_classes(num_classes)}"
    return ""

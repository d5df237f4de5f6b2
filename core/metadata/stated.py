"""The configuration in a weight file's metadata, one JSON value, which makes flags unnecessary."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from zoo.core.architectures.records import PretrainedCfg
from zoo.core.channels.input_layers import InputLayout
from zoo.core.channels.mixing import channel_mixing
from zoo.core.errors import InvalidInputError, UsageError

METADATA_KEY = "zoo"
ORIGIN_KEY = "zoo_origin"
"""Where a file came from, in JSON, if its tensors are not in timm's layout or its architecture is unknown."""
SCHEMA_VERSION = 1

_SIZES = ("img_size", "patch_size")
_EPSILONS = ("bn_eps", "norm_eps")
_MOST_ARGUMENTS = 64
"""Arguments, items of a list, and characters of a name or text, far above any model's."""
_LARGEST, _DEEPEST = 1 << 14, 256
"""The largest number among the arguments, such as channels, and the most blocks of a stage."""
_CARRIED = (
    "test_input_size", "fixed_input_size", "interpolation", "crop_pct", "test_crop_pct", "crop_mode", "first_conv",
    "classifier", "license",
)  # fmt: skip


def adapted_cfg(cfg: PretrainedCfg, in_chans: int) -> PretrainedCfg:
    """The config for a model with this many channels, made as `create_model` does."""
    if cfg.input_size[0] == in_chans and len(cfg.mean) == in_chans:
        return cfg
    mean, std = (
        channel_mixing("repeat", len(values), in_chans).channel_values(values) for values in (cfg.mean, cfg.std)
    )
    return with_channels(cfg, mean, std)


def with_channels(cfg: PretrainedCfg, mean: tuple[float, ...], std: tuple[float, ...]) -> PretrainedCfg:
    """The config with these means and standard deviations, and with their number of channels."""

    def sized(size: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
        return size and (len(mean), *size[1:])

    return replace(
        cfg,
        input_size=(len(mean), *cfg.input_size[1:]),
        test_input_size=sized(cfg.test_input_size),
        min_input_size=sized(cfg.min_input_size),
        mean=mean,
        std=std,
    )


def weight_metadata(
    cfg: PretrainedCfg,
    *,
    num_classes: int,
    origin: Mapping[str, Any],
    kept: Mapping[str, str] | None = None,
    bands: Sequence[str] = (),
    input_layout: str = "",
    model_args: Mapping[str, Any] | None = None,
    graph: Mapping[str, Any] | None = None,
    reparameterized: bool = False,
) -> dict[str, str]:
    """Metadata of a file written by zoo.

    Args:
        cfg: describes the file's own input: its channels, sizes, mean and std.
        num_classes: classes of the tensors in the file; 0 if the classifier is not in it.
        origin: how the file was made; numbers, strings and lists.
        kept: entries of the source's own metadata.
        bands: names of the channels, if known.
        input_layout: as `InputLayout` parses it, if it is not a convolution's.
        model_args: what the model must be built with, e.g. img_size.
        graph: of a graph, what it takes and gives.
        reparameterized: whether branches and norms are joined for inference.
    """
    values = {
        "schema_version": SCHEMA_VERSION,
        "architecture": cfg.architecture,
        "tag": cfg.tag,
        "in_chans": cfg.input_size[0],
        "num_classes": num_classes,
        "input_size": cfg.input_size,
        "mean": cfg.mean,
        "std": cfg.std,
        "origin": origin,
        **{key: value for key in _CARRIED if (value := getattr(cfg, key)) is not None},
    }
    optional: dict[str, Any] = {"bands": bands, "input_layout": input_layout, "model_args": model_args, "graph": graph}
    optional["reparameterized"] = reparameterized
    values |= {key: value for key, value in optional.items() if value}
    return {**(kept or {}), "format": "pt", METADATA_KEY: json.dumps(values, sort_keys=True)}


def stated_configuration(metadata: Mapping[str, str], architecture: str, path: str) -> dict[str, Any]:
    """The configuration that a weight file states; empty if zoo did not write the file.

    Args:
        metadata: the file's.
        architecture: the architecture that the file is used for; '' if unknown.
        path: for the message.

    Raises InvalidInputError if the statement is damaged or names a different architecture.
    """
    if METADATA_KEY not in metadata:
        return {}
    try:
        values = json.loads(metadata[METADATA_KEY])
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or values.get("schema_version") != SCHEMA_VERSION or not _is_sound(values):
        raise InvalidInputError(
            f"{path} states a configuration that does not describe a model's input, or that a different version of zoo"
            " wrote.",
            hint="Write the file again with this zoo.",
            path=path,
        )
    stated = values.get("architecture")
    if stated and architecture and stated != architecture:
        raise InvalidInputError(
            f"{path} states that it holds {stated[:80]}, not {architecture}.", hint=f"Name {stated[:80]}.", path=path
        )
    return values


def file_configuration(path: str | os.PathLike[str], architecture: str, *, key: str = "") -> dict[str, Any]:
    """`stated_configuration` of a weight file; empty if it has no metadata. Also raises as `open_weights`."""
    from zoo.core.files.open_weights import open_weights

    with open_weights(path, key=key) as opened:
        return stated_configuration(opened.metadata, architecture, os.fspath(path))


def stated_image_size(model_args: Mapping[str, Any]) -> tuple[int, int] | None:
    """Height and width in pixels of the images that weights are for, from the arguments of their model."""
    size = model_args.get("img_size")
    sides = (size, size) if isinstance(size, int) else size
    if not isinstance(sides, Sequence) or len(sides) != 2 or not all(map(_is_size, sides)):
        return None
    return sides[0], sides[1]


def with_image_size(stated: Mapping[str, Any], size: tuple[int, int] | None, path: str) -> dict[str, Any]:
    """The stated configuration with the image size that the user gives; None if the user gives none.

    Raises UsageError if the file states a different one.
    """
    if size is None:
        return dict(stated)
    arguments = stated.get("model_args", {})
    own = stated_image_size(arguments)
    if own not in (None, size):
        raise UsageError(
            f"{path} states that it is for images of {own[0]} x {own[1]}, not {size[0]} x {size[1]}.",
            hint="Leave out --source-size.",
        )
    return {**stated, "model_args": {**arguments, "img_size": list(size)}}


def _is_sound(values: Mapping[str, Any]) -> bool:
    """Whether the values used from an untrusted configuration have the required types and lengths."""
    in_chans: Any = values.get("in_chans")
    classes, size = values.get("num_classes"), values.get("input_size")
    texts = ("architecture", "tag", "interpolation", "crop_mode", "license", "input_layout")
    ratios = (values.get("crop_pct", 1.0), values.get("test_crop_pct", 1.0))
    layers = (values.get("first_conv", ""), values.get("classifier", ""), values.get("bands", ""))
    return (
        _is_size(in_chans)
        and type(classes) is int
        and classes >= 0
        and _is_image_size(size, in_chans)
        and _is_image_size(values.get("test_input_size", size), in_chans)
        and _are_numbers(values.get("mean"), in_chans)
        and _are_numbers(values.get("std"), in_chans)
        and _are_numbers(list(ratios), 2)
        and min(*values["std"], *ratios) > 0
        and all(isinstance(values.get(key, ""), str) for key in texts)
        and _is_layout(values.get("input_layout", "conv"))
        and are_model_arguments(values.get("model_args", {}))
        and type(values.get("reparameterized", False)) is bool
        and all(_are_texts([layer] if isinstance(layer, str) else layer) for layer in layers)
    )


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 < value < 1 << 31


def _is_image_size(value: Any, in_chans: int) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(_is_size, value)) and value[0] == in_chans


def _are_numbers(values: Any, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(type(value) in (int, float) and math.isfinite(value) for value in values)
    )


def _is_layout(text: str) -> bool:
    try:
        InputLayout.parse(text)
    except UsageError:
        return False
    return True


def changes_tensors(arguments: Mapping[str, Any]) -> bool:
    """Whether a model with these arguments may have other tensors than its architecture's, sizes left aside."""
    return any(key not in (*_SIZES, *_EPSILONS) for key in arguments)


def are_model_arguments(values: Any) -> bool:
    """Whether a file may state these as the arguments of its model: plain values, within what time and memory allow."""
    return (
        isinstance(values, Mapping)
        and len(values) <= _MOST_ARGUMENTS
        and all(_is_model_argument(key, value) for key, value in values.items())
    )


def _is_model_argument(key: Any, value: Any) -> bool:
    if not isinstance(key, str) or not key.isidentifier() or len(key) > _MOST_ARGUMENTS:
        return False
    if key in _EPSILONS:
        return type(value) is float and 0 < value < 1
    if key in _SIZES:
        return all(map(_is_size, value)) and len(value) == 2 if isinstance(value, list | tuple) else _is_size(value)
    largest = _DEEPEST if any(word in key for word in ("depth", "layers", "blocks")) else _LARGEST
    return _is_plain(value, largest, levels=2)


def _is_plain(value: Any, largest: int, levels: int) -> bool:
    if isinstance(value, list | tuple):
        return levels > 0 and len(value) <= _MOST_ARGUMENTS and all(_is_plain(v, largest, levels - 1) for v in value)
    if isinstance(value, str):
        return len(value) <= _MOST_ARGUMENTS and value.isprintable()
    if type(value) is float:
        return math.isfinite(value)
    return value is None or type(value) is bool or (type(value) is int and abs(value) <= largest)


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def configured(cfg: PretrainedCfg, stated: Mapping[str, Any]) -> PretrainedCfg:
    """A config overridden with what a file states."""
    known = _tuples({key: stated[key] for key in (*_CARRIED, *_PER_CHANNEL) if key in stated})
    if not stated.get("architecture"):  # it was unknown when the file was written
        known.pop("architecture", None)
    if arguments := _tuples(stated.get("model_args", {})):
        known["model_args"] = tuple({**dict(cfg.model_args), **arguments}.items())
        if size := stated_image_size(arguments):
            known["input_size"] = (known.get("input_size", cfg.input_size)[0], *size)
    return replace(cfg, **known)


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


_PER_CHANNEL = ("input_size", "mean", "std", "num_classes", "architecture", "tag")

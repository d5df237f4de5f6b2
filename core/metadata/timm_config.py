"""Read and write the `config.json` of published weights, in timm's format; a file that is read is untrusted.

    {"architecture": ..., "num_classes": ..., "global_pool": ..., "model_args": {...}, "pretrained_cfg": {...}}

The older form has the entries of `pretrained_cfg` at the level of `architecture` instead.
"""

from __future__ import annotations

import json
import math
import os
import re
import reprlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from zoo.core.architectures.published import find_cfg, num_features
from zoo.core.architectures.records import PretrainedCfg
from zoo.core.errors import InvalidInputError, NotFoundError
from zoo.core.files.json_file import read_json_object
from zoo.core.metadata.stated import adapted_cfg, are_model_arguments

CONFIG_FILE = "config.json"

_CARRIED = (
    "tag", "interpolation", "crop_pct", "test_crop_pct", "crop_mode", "mean", "std", "input_size", "test_input_size",
    "min_input_size", "fixed_input_size", "pool_size", "first_conv", "classifier", "license",
)  # fmt: skip
"""What a written config states of its weights."""

_MAX_TEXT = 1000
_MAX_SIZE = 1 << 16
_MODULE_PATH = re.compile(r"\w+(\.\w+)*", re.ASCII)
_NAME = re.compile(r"\w[\w.-]*", re.ASCII)


def read_timm_config(source: str | os.PathLike[str] | Mapping[str, Any], *, origin: str = "") -> PretrainedCfg:
    """The config that a `config.json` of timm's format states, without a source of weights.

    timm leaves input size, mean and std of the RGB weights in a model made for a different number of channels
    (`model_args.in_chans`); these values are adapted here. `first_conv` and `classifier` default to those of the
    architecture, if zoo knows it.

    Args:
        source: the file, the folder that holds it, or its parsed content.
        origin: what to call a mapping in messages.

    Raises:
        NotFoundError: there is no such file.
        InvalidInputError: it is not in this format, or a value lacks the type, length or range of its entry.
    """
    if isinstance(source, Mapping):
        document, origin = source, origin or "the configuration"
    else:
        path = os.path.join(source, CONFIG_FILE) if os.path.isdir(source) else os.fspath(source)
        document, origin = read_json_object(path), path
    stated = document.get("pretrained_cfg", document)
    if not isinstance(stated, Mapping):
        _refuse(origin, "pretrained_cfg", "an object", stated)
    # What the file states about the model takes precedence over what it states about the weights it was made from.
    values = {**stated, **{key: document[key] for key in ("architecture", "num_classes") if key in document}}
    arguments = document.get("model_args", {})
    if not are_model_arguments(arguments):
        _refuse(origin, "model_args", "an object of plain arguments", arguments)

    known = {key: _checked(origin, key, values[key]) for key in _ENTRIES if values.get(key) is not None}
    if "architecture" not in known:
        _refuse(origin, "architecture", _ENTRIES["architecture"][1], values.get("architecture"))
    architecture, _, tag = known["architecture"].partition(".")
    known |= {"architecture": architecture, "tag": known.get("tag", tag)}
    for key, layer in _layers_of(architecture).items():
        # timm writes an empty string or list if there is none, and nothing if it does not know.
        known[key] = (known.get(key) or None) if key in stated else layer
    for key in known.keys() & {"test_input_size", "min_input_size"}:
        known[key] = (known.get("input_size", (3,))[0], *known[key][1:])
    known["model_args"] = tuple((key, value) for key, value in arguments.items() if key not in _TASK)
    cfg = PretrainedCfg(**known)
    in_chans = arguments.get("in_chans", cfg.input_size[0])
    if not _is_count(in_chans):
        _refuse(origin, "model_args.in_chans", "a number of channels", in_chans)
    if len(cfg.mean) != len(cfg.std) or len(cfg.mean) not in (1, 3, cfg.input_size[0], in_chans):
        _refuse(origin, "mean and std", f"{in_chans} numbers each", [cfg.mean, cfg.std])
    return adapted_cfg(cfg, in_chans)


def stated_class_names(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the classes in a `config.json`, in order; () if it states none, or not one name for each number.

    They are timm's `label_names`, beside the architecture or in `pretrained_cfg`, or transformers' `id2label`.
    """
    stated = document.get("pretrained_cfg")
    places = (document, stated if isinstance(stated, Mapping) else {})
    names = next((place["label_names"] for place in places if place.get("label_names")), None)
    numbered = document.get("id2label")
    if names is None and isinstance(numbered, Mapping):
        names = [numbered.get(str(number)) for number in range(len(numbered))]
    if not isinstance(names, list) or not all(map(_is_text, names)) or len(set(names)) != len(names):
        return ()
    return tuple(names)


def write_timm_config(
    cfg: PretrainedCfg,
    *,
    in_chans: int,
    num_classes: int,
    model_args: Mapping[str, Any],
    features: int | None = None,
) -> bytes:
    """The text of a `config.json` for weights in timm's layout.

    Args:
        cfg: the weights' config, with their channels, sizes, mean and std.
        in_chans, num_classes: those of the weights.
        model_args: what the model is built with besides.
        features: channels of its last map; None for those of the architecture as it is published.
    """
    document = {
        "architecture": cfg.architecture,
        "num_classes": num_classes,
        "num_features": num_features(cfg.architecture) if features is None else features,
        "model_args": {**model_args, "in_chans": in_chans, "num_classes": num_classes},
        "pretrained_cfg": {
            **{key: cfg[key] for key in _CARRIED if cfg[key] not in (None, "")},
            "custom_load": False,
            "num_classes": num_classes,
        },
    }
    return (json.dumps({k: v for k, v in document.items() if v is not None}, indent=2) + "\n").encode()


def _layers_of(architecture: str) -> dict[str, str | tuple[str, ...] | None]:
    """`first_conv` and `classifier` of an architecture; None if it is unknown."""
    try:
        with warnings.catch_warnings(action="ignore"):
            cfg = find_cfg(architecture)
    except NotFoundError:
        return {"first_conv": None, "classifier": None}
    return {"first_conv": cfg.first_conv, "classifier": cfg.classifier}


def _refuse(origin: str, key: str, expected: str, found: object) -> NoReturn:
    # Escape and cut the text: it is untrusted and ends up in a terminal.
    shown = reprlib.repr(found)
    raise InvalidInputError(
        f"{origin}: {key} should be {expected}, found {shown[:80]}.",
        hint="Mend the file, or name the architecture instead.",
        path=origin,
    )


def _checked(origin: str, key: str, value: Any) -> Any:
    is_sound, expected = _ENTRIES[key]
    if not is_sound(value):
        _refuse(origin, key, expected, value)
    return tuple(value) if isinstance(value, list) else value


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 < value <= _MAX_SIZE


def _is_number(value: Any) -> bool:
    return (type(value) is int and abs(value) < 1 << 53) or (type(value) is float and math.isfinite(value))


def _is_ratio(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_TEXT and value.isprintable()


def _is_name(value: Any) -> bool:
    return _is_text(value) and _NAME.fullmatch(value) is not None


def _is_module_path(value: Any) -> bool:
    return _is_text(value) and _MODULE_PATH.fullmatch(value) is not None


def _is_layer(value: Any) -> bool:
    return value == "" or _is_module_path(value) or _is_list(value, _is_module_path)


def _is_list(value: Any, is_item: Callable[[Any], bool], count: int | None = None) -> bool:
    is_long_enough = isinstance(value, list | tuple) and (len(value) == count if count else len(value) <= _MAX_SIZE)
    return is_long_enough and all(map(is_item, value))


def _is_image_size(value: Any) -> bool:
    return _is_list(value, _is_count, 3)


_IMAGE_SIZE = (_is_image_size, "[channels, height, width]")
_TEXT = (_is_text, f"a text of one line and at most {_MAX_TEXT} characters")
_RATIO = (_is_ratio, "a number above 0")
_LAYER = (_is_layer, "a module path or a list of them")

_ENTRIES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "architecture": (_is_name, "the name of an architecture"),
    "tag": (lambda value: value == "" or _is_name(value), "the tag of the weights"),
    "input_size": _IMAGE_SIZE,
    "test_input_size": _IMAGE_SIZE,
    "min_input_size": _IMAGE_SIZE,
    "fixed_input_size": (lambda value: type(value) is bool, "true or false"),
    "interpolation": _TEXT,
    "crop_pct": _RATIO,
    "test_crop_pct": _RATIO,
    "crop_mode": _TEXT,
    "mean": (lambda value: _is_list(value, _is_number), "a list of numbers"),
    "std": (lambda value: _is_list(value, _is_ratio), "a list of numbers above 0"),
    "num_classes": (lambda value: type(value) is int and 0 <= value < 1 << 31, "a number of classes"),
    "pool_size": (lambda value: _is_list(value, _is_count, 2), "[height, width]"),
    "first_conv": _LAYER,
    "classifier": _LAYER,
    "license": _TEXT,
    "origin_url": _TEXT,
    "paper_ids": _TEXT,
    "paper_name": _TEXT,
}
"""Entry -> whether a value is sound, and what it should be. Sources of weights (url, file, hub id) are not read:
whoever names the file says where the weights are, not the file."""

_TASK = ("in_chans", "num_classes")

"""The configuration that a weight file carries, so that it is used without flags: one JSON value in its metadata."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from zoo.core.adapt import adapt_channel_values
from zoo.core.records import PretrainedCfg

METADATA_KEY = "zoo"
SCHEMA_VERSION = 1

_CARRIED = (
    "test_input_size", "fixed_input_size", "interpolation", "crop_pct", "test_crop_pct", "crop_mode", "first_conv",
    "classifier", "license",
)  # fmt: skip


def adapted_cfg(cfg: PretrainedCfg, in_chans: int) -> PretrainedCfg:
    """The config that describes a model of this many channels: input size, mean and std follow the filters."""
    if cfg.input_size[0] == in_chans and len(cfg.mean) == in_chans:
        return cfg

    def sized(size: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
        return size and (in_chans, *size[1:])

    return replace(
        cfg,
        input_size=(in_chans, *cfg.input_size[1:]),
        test_input_size=sized(cfg.test_input_size),
        min_input_size=sized(cfg.min_input_size),
        mean=adapt_channel_values(cfg.mean, in_chans),
        std=adapt_channel_values(cfg.std, in_chans),
    )


def weight_metadata(
    cfg: PretrainedCfg, *, in_chans: int, num_classes: int, origin: Mapping[str, Any], kept: Mapping[str, str]
) -> dict[str, str]:
    """Metadata of a file written by zoo.

    Args:
        cfg: the source's config; channel-wise values are adapted to `in_chans`.
        in_chans, num_classes: of the tensors in the file; 0 classes where the classifier is not in it.
        origin: how the file was made; numbers, texts and lists.
        kept: entries of the source's own metadata.
    """
    fitted = adapted_cfg(cfg, in_chans)
    values = {
        "schema_version": SCHEMA_VERSION,
        "architecture": cfg.architecture,
        "tag": cfg.tag,
        "in_chans": in_chans,
        "num_classes": num_classes,
        "input_size": fitted.input_size,
        "mean": fitted.mean,
        "std": fitted.std,
        "origin": origin,
        **{key: fitted[key] for key in _CARRIED if fitted[key] is not None},
    }
    return {**kept, "format": "pt", METADATA_KEY: json.dumps(values, sort_keys=True)}


def stated_configuration(metadata: Mapping[str, str]) -> dict[str, Any]:
    """What a file says of itself; empty where zoo did not write it, or where it says nothing usable."""
    try:
        values = json.loads(metadata.get(METADATA_KEY, "{}"))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(values, dict) or values.get("schema_version") != SCHEMA_VERSION:
        return {}
    return values if _is_sound(values) else {}


def _is_sound(values: dict[str, Any]) -> bool:
    """Whether what is used of a stranger's configuration has the types and lengths that it must have."""

    in_chans, classes = values.get("in_chans"), values.get("num_classes")
    texts = ("architecture", "tag", "interpolation", "crop_mode")
    return (
        type(in_chans) is int
        and type(classes) is int
        and classes >= 0
        and _are_positive(values.get("input_size"), 3, int)
        and values["input_size"][0] == in_chans
        and all(_are_positive(values.get(key), in_chans, (int, float)) for key in ("mean", "std"))
        and all(isinstance(values.get(key, ""), str) for key in texts)
        and isinstance(values.get("crop_pct", 1.0), int | float)
    )


def _are_positive(values: Any, count: int, kind: type | tuple[type, ...]) -> bool:
    return isinstance(values, list) and len(values) == count and all(isinstance(v, kind) and v > 0 for v in values)  # type: ignore[operator]


def file_configuration(path: str | os.PathLike[str]) -> dict[str, Any]:
    """`stated_configuration` of a file; empty for a file that is not safetensors (which is read, or refused, later)."""
    from zoo.core.errors import ZooError
    from zoo.core.safetensors_file import open_safetensors

    try:
        with open_safetensors(path) as file:
            return stated_configuration(file.metadata)
    except ZooError:
        return {}


def configured(cfg: PretrainedCfg, stated: Mapping[str, Any]) -> PretrainedCfg:
    """A config with what a file says of itself put over it."""
    known: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in stated.items() if k in (*_CARRIED, *_PER_CHANNEL)
    }
    return replace(cfg, **known)


_PER_CHANNEL = ("input_size", "mean", "std", "num_classes", "tag")

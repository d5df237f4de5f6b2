"""The settings of a model's evaluation transform as a plain dict, by the keys of the published API."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from zoo.core.architectures.records import IMAGENET_MEAN, IMAGENET_STD
from zoo.core.errors import UsageError

DEFAULT_CROP_PCT = 0.875
DEFAULT_CROP_MODE = "center"
DEFAULT_SIZE = 224


def resolve_data_config(
    args: Mapping[str, Any] | None = None,
    pretrained_cfg: Mapping[str, Any] | None = None,
    model: Any = None,
    use_test_size: bool = False,
    verbose: bool = False,
) -> dict[str, Any]:
    """How images are prepared: input_size (channels, height, width), interpolation, mean, std, crop_pct and crop_mode.

    Each value is the caller's, else the config's, else a default.

    Args:
        args: the caller's values by these names; also `img_size` for the side of a square, and `in_chans`.
        pretrained_cfg: a default config; by default the model's.
        model: a model with a `pretrained_cfg`.
        use_test_size: prefer the config's `test_input_size` and `test_crop_pct`.
        verbose: log the result.

    Raises:
        UsageError: nothing is given, an image size is no size, or mean and std are for other channels.
    """
    if not (args or pretrained_cfg) and model is None:
        raise UsageError("A data config is made from a model, a pretrained_cfg or values of your own; none was given.")
    given = {key: value for key, value in (args or {}).items() if value is not None}
    cfg = pretrained_cfg or getattr(model, "pretrained_cfg", None) or {}
    size = _input_size(given, cfg, use_test_size)
    config = {
        "input_size": size,
        "interpolation": given.get("interpolation") or cfg.get("interpolation") or "bicubic",
        "mean": _per_channel("mean", given, cfg.get("mean") or IMAGENET_MEAN, size[0]),
        "std": _per_channel("std", given, cfg.get("std") or IMAGENET_STD, size[0]),
        "crop_pct": given.get("crop_pct")
        or (use_test_size and cfg.get("test_crop_pct"))
        or cfg.get("crop_pct")
        or DEFAULT_CROP_PCT,
        "crop_mode": given.get("crop_mode") or cfg.get("crop_mode") or DEFAULT_CROP_MODE,
    }
    if verbose:
        for name, value in config.items():
            logging.getLogger("zoo").info("%s: %s", name, value)
    return config


def resolve_model_data_config(
    model: Any,
    args: Mapping[str, Any] | None = None,
    pretrained_cfg: Mapping[str, Any] | None = None,
    use_test_size: bool = False,
    verbose: bool = False,
) -> dict[str, Any]:
    """As `resolve_data_config`, with the model first."""
    return resolve_data_config(args, pretrained_cfg, model, use_test_size, verbose)


def _input_size(given: Mapping[str, Any], cfg: Mapping[str, Any], use_test_size: bool) -> tuple[int, int, int]:
    channels = given.get("in_chans", given.get("chans", 3))
    if "input_size" in given:
        size = tuple(given["input_size"])
        if len(size) != 3:
            raise UsageError(f"input_size is (channels, height, width), found {given['input_size']}.")
        return size
    if "img_size" in given:
        if not isinstance(given["img_size"], int):
            raise UsageError(f"img_size is the side of a square in pixels, found {given['img_size']!r}.")
        return (channels, given["img_size"], given["img_size"])
    stated = (use_test_size and cfg.get("test_input_size")) or cfg.get("input_size")
    return tuple(stated) if stated else (channels, DEFAULT_SIZE, DEFAULT_SIZE)


def _per_channel(name: str, given: Mapping[str, Any], default: Any, channels: int) -> tuple[float, ...]:
    if name not in given:
        return tuple(default)
    channels = given.get("in_chans", given.get("chans", 3)) if "input_size" not in given else channels
    values = tuple(given[name])
    if len(values) not in (1, channels):
        raise UsageError(f"{name} needs one value or one for each of {channels} channels, found {len(values)}.")
    return values * channels if len(values) == 1 else values

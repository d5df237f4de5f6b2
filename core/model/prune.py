"""Networks whose channel counts come from a table instead of a formula."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

import torch
import torch.nn as nn

from zoo.core.errors import UsageError
from zoo.models.base import ImageModel


def prune(model: ImageModel, name: str) -> None:
    """Give a model on the meta device the channel counts of the pruned network of this name."""
    _resize_channels(model, _channel_counts()[name])
    _remeasure_features(model)


@cache
def _channel_counts() -> dict[str, dict[str, list[int]]]:
    table = files("zoo.core.architectures.configs").joinpath("pruned.json")
    return json.loads(table.read_text())  # type: ignore[no-any-return]


def _resize_channels(model: nn.Module, channels: Mapping[str, Sequence[int]]) -> None:
    """Change the channel counts of convolutions, batch norms and linear layers.

    Args:
        model: on the meta device; its layers are replaced, not sliced.
        channels: module path -> [in, out] of a convolution or linear layer, [channels] of a norm. A layer that the
            model was built without (its classifier) is skipped.
    """
    for path, counts in channels.items():
        module = model.get_submodule(path)
        if isinstance(module, nn.Conv2d):
            module.in_channels, module.out_channels = counts[0], counts[1]
            module.groups = module.groups if module.groups == 1 else counts[0]
            module.weight = nn.Parameter(
                module.weight.new_empty((counts[1], counts[0] // module.groups, *module.kernel_size))
            )
            if module.bias is not None:
                module.bias = nn.Parameter(module.bias.new_empty(counts[1]))
        elif isinstance(module, nn.Linear):
            module.in_features = counts[0]
            module.weight = nn.Parameter(module.weight.new_empty((module.out_features, counts[0])))
        elif isinstance(module, nn.BatchNorm2d):
            module.num_features = counts[0]
            for name, value in [*module._parameters.items(), *module._buffers.items()]:
                if value is not None and value.ndim:
                    empty = value.new_empty(counts[0])
                    setattr(module, name, nn.Parameter(empty) if isinstance(value, nn.Parameter) else empty)
        elif not isinstance(module, nn.Identity):
            raise UsageError(f"{path} is a {type(module).__name__}, which cannot be pruned.")


def _remeasure_features(model: ImageModel) -> None:
    """Update the channel counts of the levels and of the head's input, with a run on the meta device."""
    trunk, maps = model.forward_intermediates(torch.empty(1, model.in_chans, 64, 64))
    for level, feature_map in zip(model.feature_info, maps, strict=True):
        level["num_chs"] = feature_map.shape[1]
    model.num_features = trunk.shape[1]
    model.head_hidden_size = model.num_features * model.global_pool.feature_multiplier

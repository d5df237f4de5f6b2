"""Layers that a caller chooses by their class, as timm's users do: `act_layer=nn.SiLU`, `mlp_layer=SwiGLUPacked`.

Networks are described by names of layers, which a weight file can state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch.nn as nn

from zoo.core.errors import UsageError
from zoo.models.layers.activation import ACTIVATIONS
from zoo.models.layers.transformer_block import MLPS

_ACT, _MLP, _NORM, _EPS = "act_layer", "mlp_layer", "norm_layer", "norm_eps"

_OTHER_NAMES = {
    _ACT: {"Swish": "silu", "HardSwish": "hard_swish", "HardSigmoid": "hard_sigmoid", "GELUTanh": "gelu_tanh"},
    _MLP: {"SwiGLUPacked": "swiglu_packed"},
    _NORM: {
        "BatchNorm2d": "batchnorm",
        "GroupNorm": "groupnorm",
        "GroupNorm1": "groupnorm1",
        "LayerNorm": "layernorm",
        "LayerNorm2d": "layernorm",
        "RMSNorm": "rmsnorm",
        "RmsNorm": "rmsnorm",
    },
}
"""Names of classes of torch and timm that mean a layer with a name."""
_SILENT = {_ACT: {"inplace"}, _NORM: {"eps"}, _MLP: {"act", "act_layer"}}
"""What a `functools.partial` may set beside the class: where it counts, an option of the network says the same."""


def with_names_of_layers(options: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
    """The options of a network, with the names of layers for their classes.

    Args:
        options: by name; a class, or a `functools.partial` of one, stands for a layer.
        known: names of the options that the network has.

    Raises UsageError for a class that stands for no layer of zoo's.
    """
    named = dict(options)
    for option, value in options.items():
        if not callable(value) or option not in _OTHER_NAMES or option not in known:
            continue
        named[option] = _name_of(option, value)
        if option == _NORM and _EPS in known and named[option] in ("layernorm", "rmsnorm"):
            layer, settings = _parts_of(value)
            eps = settings.get("eps", 1e-5 if layer is nn.LayerNorm else None)  # 1e-5 is torch's
            if eps is not None:
                named.setdefault(_EPS, eps)
    return named


def _name_of(option: str, value: Callable[..., Any]) -> str:
    layer, settings = _parts_of(value)
    chosen = {key: setting for key, setting in settings.items() if key not in _SILENT[option]}
    named: Mapping[str, Any] = {_ACT: ACTIVATIONS, _MLP: MLPS, _NORM: {}}[option]
    for name, one in named.items():
        own, set_by_name = _parts_of(one)
        if getattr(own, "__name__", "") == getattr(layer, "__name__", None) and set_by_name == chosen:
            return name
    name = _OTHER_NAMES[option].get(getattr(layer, "__name__", ""), "")
    if name and not chosen:
        return name
    choices = ", ".join(named or dict.fromkeys(_OTHER_NAMES[_NORM].values()))
    raise UsageError(
        f"{option} takes a layer that has a name, and {getattr(layer, '__name__', layer)!s} has none.",
        hint=f"Choose one of {choices}.",
    )


def _parts_of(value: Callable[..., Any]) -> tuple[Callable[..., Any], Mapping[str, Any]]:
    """A class and what a `functools.partial` sets of it."""
    return (value.func, value.keywords) if isinstance(value, partial) else (value, {})

"""zoo: inspect image models, adapt their weights to any number of channels, export their features.

Everything public is importable from here; torch is imported only when a name that needs it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.core.adapt import adapt_input
    from zoo.core.adapt_file import OutputRequest
    from zoo.core.adapt_request import AdaptRequest
    from zoo.core.adapt_weights import adapt_weights
    from zoo.core.build import create_model
    from zoo.core.errors import ExitCode, ZooError
    from zoo.core.features import FeatureHookNet, FeatureInfo, FeatureListNet
    from zoo.core.load import load_checkpoint, load_pretrained
    from zoo.core.records import PretrainedCfg
    from zoo.core.registry import (
        get_arch_pretrained_cfgs,
        get_pretrained_cfg,
        get_pretrained_cfg_value,
        is_model,
        is_model_in_modules,
        is_model_pretrained,
        list_models,
        list_modules,
        list_pretrained,
        model_entrypoint,
        register_model,
    )

__version__ = "0.1.0"

_HOME = {
    "AdaptRequest": "core.adapt_request",
    "ExitCode": "core.errors",
    "FeatureHookNet": "core.features",
    "FeatureInfo": "core.features",
    "FeatureListNet": "core.features",
    "OutputRequest": "core.adapt_file",
    "PretrainedCfg": "core.records",
    "ZooError": "core.errors",
    "adapt_input": "core.adapt",
    "adapt_weights": "core.adapt_weights",
    "create_model": "core.build",
    "get_arch_pretrained_cfgs": "core.registry",
    "get_pretrained_cfg": "core.registry",
    "get_pretrained_cfg_value": "core.registry",
    "is_model": "core.registry",
    "is_model_in_modules": "core.registry",
    "is_model_pretrained": "core.registry",
    "list_models": "core.registry",
    "list_modules": "core.registry",
    "list_pretrained": "core.registry",
    "load_checkpoint": "core.load",
    "load_pretrained": "core.load",
    "model_entrypoint": "core.registry",
    "register_model": "core.registry",
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    value = getattr(import_module(f"zoo.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

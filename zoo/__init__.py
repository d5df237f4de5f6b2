"""zoo: inspect image models, adapt their weights to any number of channels, export their features.

Everything public is importable from here; torch is imported only when a name that needs it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.core.adapt.job import OutputRequest
    from zoo.core.adapt.request import AdaptRequest
    from zoo.core.adapt.sources import adapt_weights
    from zoo.core.architectures.records import PretrainedCfg
    from zoo.core.architectures.registry import (
        get_arch_pretrained_cfgs,
        get_pretrained_cfg,
        get_pretrained_cfg_value,
        is_model,
        is_model_in_modules,
        is_model_pretrained,
        list_models,
        list_modules,
        list_pretrained,
        register_model,
    )
    from zoo.core.channels.mixing import adapt_input
    from zoo.core.errors import ExitCode, ZooError
    from zoo.core.model.build import create_model
    from zoo.core.model.features import FeatureHookNet, FeatureInfo, FeatureListNet
    from zoo.core.model.load import load_checkpoint, load_pretrained
    from zoo.core.model.reparameterize import reparameterize
    from zoo.models.entrypoints import model_entrypoint

__version__ = "0.1.0"

_HOME = {
    "AdaptRequest": "core.adapt.request",
    "ExitCode": "core.errors",
    "FeatureHookNet": "core.model.features",
    "FeatureInfo": "core.model.features",
    "FeatureListNet": "core.model.features",
    "OutputRequest": "core.adapt.job",
    "PretrainedCfg": "core.architectures.records",
    "ZooError": "core.errors",
    "adapt_input": "core.channels.mixing",
    "adapt_weights": "core.adapt.sources",
    "create_model": "core.model.build",
    "get_arch_pretrained_cfgs": "core.architectures.registry",
    "get_pretrained_cfg": "core.architectures.registry",
    "get_pretrained_cfg_value": "core.architectures.registry",
    "is_model": "core.architectures.registry",
    "is_model_in_modules": "core.architectures.registry",
    "is_model_pretrained": "core.architectures.registry",
    "list_models": "core.architectures.registry",
    "list_modules": "core.architectures.registry",
    "list_pretrained": "core.architectures.registry",
    "load_checkpoint": "core.model.load",
    "load_pretrained": "core.model.load",
    "model_entrypoint": "models.entrypoints",
    "register_model": "core.architectures.registry",
    "reparameterize": "core.model.reparameterize",
}

__all__ = ["__version__", *sorted(_HOME)]


_MODULES = ("data", "layers", "models", "utils")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"zoo.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    value = getattr(import_module(f"zoo.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

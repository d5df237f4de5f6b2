"""The names of timm's published API, and where each lives here: one table for all modules that offer them.

A module of this list has no code of its own. Its names are imported when they are asked for, so importing it is cheap.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

_REGISTRY = {
    **dict.fromkeys(
        (
            "get_arch_pretrained_cfgs", "get_pretrained_cfg", "get_pretrained_cfg_value", "is_model",
            "is_model_in_modules", "is_model_pretrained", "list_models", "list_modules", "list_pretrained",
            "register_model",
        ),
        "core.architectures.registry",
    ),
    **dict.fromkeys(("get_arch_name", "split_model_name_tag"), "core.architectures.names"),
    "model_entrypoint": "models.entrypoints",
}  # fmt: skip
_LOADING = {
    "adapt_input_conv": "core.model.published_loading",
    "clean_state_dict": "core.model.state_dict",
    "group_modules": "core.model.parameter_groups",
    "group_parameters": "core.model.parameter_groups",
    "load_checkpoint": "core.model.load",
    "load_pretrained": "core.model.load",
    "load_state_dict": "core.model.published_loading",
    "model_parameters": "core.model.parameter_groups",
    "named_apply": "core.model.parameter_groups",
}
_FEATURES = dict.fromkeys(
    ("FeatureDictNet", "FeatureGetterNet", "FeatureGraphNet", "FeatureHookNet", "FeatureInfo", "FeatureListNet"),
    "core.model.features",
)
_CONFIG = dict.fromkeys(("resolve_data_config", "resolve_model_data_config"), "core.images.data_config")
_CONSTANTS = {
    "DEFAULT_CROP_MODE": "core.images.data_config",
    "DEFAULT_CROP_PCT": "core.images.data_config",
    "IMAGENET_DEFAULT_MEAN": "core.architectures.records:IMAGENET_MEAN",
    "IMAGENET_DEFAULT_STD": "core.architectures.records:IMAGENET_STD",
    "IMAGENET_INCEPTION_MEAN": "core.architectures.records:HALF",
    "IMAGENET_INCEPTION_STD": "core.architectures.records:HALF",
    "IMAGENET_DPN_MEAN": "core.architectures.configs.dpn:MEAN",
    "IMAGENET_DPN_STD": "core.architectures.configs.dpn:STD",
    "OPENAI_CLIP_MEAN": "core.architectures.records:CLIP_MEAN",
    "OPENAI_CLIP_STD": "core.architectures.records:CLIP_STD",
}
_TRANSFORMS = {"create_transform": "core.model.image_transform"}

PUBLISHED: Mapping[str, Mapping[str, str]] = {
    "zoo.models": {
        **_REGISTRY,
        **_LOADING,
        **_FEATURES,
        "DefaultCfg": "core.architectures.records",
        "PretrainedCfg": "core.architectures.records",
        "create_model": "core.model.build",
        "generate_default_cfgs": "core.architectures.records",
        "load_model_config_from_hf": "core.model.published_loading",
        "load_state_dict_from_hf": "core.model.published_loading",
        "parse_model_name": "core.architectures.hub_names",
        "reparameterize_model": "core.model.reparameterize",
        "safe_model_name": "core.architectures.hub_names",
        "save_for_hf": "core.model.hub_folder",
    },
    "zoo.models.registry": _REGISTRY,
    "zoo.models.helpers": _LOADING,
    "zoo.models.features": _FEATURES,
    "zoo.data": {**_CONFIG, **_CONSTANTS, **_TRANSFORMS},
    "zoo.data.config": _CONFIG,
    "zoo.data.constants": _CONSTANTS,
    "zoo.data.transforms_factory": _TRANSFORMS,
    "zoo.layers": {
        "DropPath": "models.layers.drop",
        "GluMlp": "models.layers.mlp",
        "LayerNorm2d": "models.layers.norm",
        "LayerScale": "models.layers.layer_scale",
        "Mlp": "models.layers.mlp",
        "SwiGLU": "models.layers.mlp",
        "SwiGLUPacked": "models.layers.mlp",
        "resample_abs_pos_embed": "models.layers.position_embedding",
        "resample_patch_embed": "models.layers.patch_embed",
    },
    "zoo.utils": {"reparameterize_model": "core.model.reparameterize"},
}
"""Module -> its names -> where each lives: a module of zoo, and after a colon the name there if it is another."""


def offer(module: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """The `__getattr__`, `__dir__` and `__all__` of a module of the table."""
    homes = PUBLISHED[module]

    def module_getattr(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, _, other = homes[name].partition(":")
        value = getattr(import_module(f"zoo.{home}"), other or name)
        setattr(sys.modules[module], name, value)
        return value

    return module_getattr, lambda: sorted(homes), sorted(homes)

"""An adapted checkpoint as a folder that timm's `local-dir:` and the Hub's timm format read. Standard library only.

The format: model.safetensors beside config.json, whose `model_args` are passed to the model and whose `pretrained_cfg`
describes the weights (https://huggingface.co/docs/timm/hf_hub).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from zoo.core.adapt_plan import AdaptPlan
from zoo.core.errors import UsageError
from zoo.core.records import PretrainedCfg

_CARRIED = (
    "tag", "interpolation", "crop_pct", "test_crop_pct", "crop_mode", "mean", "std", "input_size", "test_input_size",
    "min_input_size", "fixed_input_size", "pool_size", "first_conv", "classifier", "license",
)  # fmt: skip


def timm_config(cfg: PretrainedCfg, plan: AdaptPlan, model_args: Mapping[str, Any]) -> bytes:
    """The text of config.json.

    Args:
        cfg: of the file: its channels, sizes, mean and std.
        plan: how it was made.
        model_args: what the model is built with besides channels and classes.

    Raises UsageError where timm could not know which architecture to build.
    """
    if not cfg.architecture:
        raise UsageError(
            "A folder for timm names its architecture, which is not known here.", hint="Give the model's name."
        )
    if plan.request.prefix:
        raise UsageError("timm knows no prefixes in its folders.", hint="Leave out --prefix.")
    values = {
        "architecture": cfg.architecture,
        "num_classes": plan.num_classes,
        "num_features": num_features(cfg.architecture),
        "model_args": {
            **dict(cfg.model_args),
            **model_args,
            "in_chans": plan.in_chans,
            "num_classes": plan.num_classes,
        },
        "pretrained_cfg": {
            **{key: cfg[key] for key in _CARRIED if cfg[key] not in (None, "")},
            "custom_load": False,
            "num_classes": plan.num_classes,
        },
    }
    return (json.dumps({k: v for k, v in values.items() if v is not None}, indent=2) + "\n").encode()


def num_features(architecture: str) -> int | None:
    """Channels of the last feature map, where the architecture is known."""
    from zoo.core import registry
    from zoo.core.known_architectures import find_known

    if registry.is_model(architecture):
        return registry.facts(architecture).num_features
    known = find_known(architecture)
    return known.num_features if known else None

"""The facts of a network that a config.json describes, which may be another than the architecture's published one."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from zoo.core.architectures import registry
from zoo.core.architectures.model_facts import FeatureLevel, ModelFacts
from zoo.core.architectures.records import PretrainedCfg
from zoo.core.model.check import meta_model
from zoo.models.base import ImageModel


def own_model(cfg: PretrainedCfg, *, in_chans: int | None = None) -> ImageModel:
    """The network of a config with its channels, classes and `model_args`, on the meta device.

    Raises as `create_model` does for arguments that the architecture does not take.
    """
    channels = cfg.input_size[0] if in_chans is None else in_chans
    model = meta_model(cfg, in_chans=channels, num_classes=cfg.num_classes, **dict(cfg.model_args))
    assert isinstance(model, ImageModel)
    return model.eval().requires_grad_(False)


def own_facts(cfg: PretrainedCfg) -> ModelFacts:
    """What is measured of `own_model` for one image of the config's size. Raises likewise."""
    model = own_model(cfg)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, *cfg.input_size, device="meta"))
    return registry.facts(cfg.architecture)._replace(
        params=sum(parameter.numel() for parameter in model.parameters()),
        macs=counter.get_total_flops() // 2,
        input_size=cfg.input_size,
        num_features=model.num_features,
        levels=tuple(
            FeatureLevel(channels=level["num_chs"], reduction=level["reduction"], module=level["module"])
            for level in model.feature_info
        ),
    )

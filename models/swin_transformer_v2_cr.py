"""Swin Transformer V2 of Reich: positions by a perceptron of plain logarithms, norms behind the branches.

Liu et al., Swin Transformer V2: Scaling Up Capacity and Resolution (arXiv:2111.09883), built from the paper before the
authors published theirs: downsampling is that of the first generation, and further norms end stages or follow every few
blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.swin_transformer_v2_cr import SwinTransformerV2CrSpec
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.cosine_attention import CosineWindowAttention
from zoo.models.layers.log_position_bias import biases_of_pairs, log_offsets
from zoo.models.layers.mlp import Mlp
from zoo.models.layers.window import Size
from zoo.models.swin_transformer import SwinTransformer
from zoo.models.swin_transformer_v2 import PostNormBlock

__getattr__ = family_attributes("swin_transformer_v2_cr")


class WindowAttention(CosineWindowAttention):
    """Cosine attention with the biases that a perceptron `meta_mlp` makes of the logarithms of offsets."""

    relative_coordinates_log: Tensor

    def __init__(self, channels: int, num_heads: int, *, window: Size, **options: Any) -> None:
        super().__init__(channels, num_heads, window=window, **options)
        self.meta_mlp = Mlp(2, 384, num_heads, act="relu")
        self.meta_mlp.drop1 = nn.Dropout(0.125)

        self.register_buffer("relative_coordinates_log", log_offsets(window), persistent=False)

    def position_bias(self) -> Tensor:
        by_offset = self.meta_mlp(self.relative_coordinates_log).flatten(0, 1)
        return biases_of_pairs(by_offset.T.contiguous(), self.relative_position_index)


class ThreeNormBlock(PostNormBlock):
    """A block of the second generation, with a norm of the sum at its end where `extra_norm` says so."""

    attention_class = WindowAttention

    def __init__(self, style: Any, drop_path: float, *, extra_norm: bool, **options: Any) -> None:
        super().__init__(style, drop_path, **options)
        self.norm3 = style.make_norm() if extra_norm else nn.Identity()

    def forward(self, x: Tensor, *_: Tensor | None) -> Tensor:
        return self.norm3(super().forward(x))


class SwinTransformerV2Cr(SwinTransformer):
    """A Swin Transformer whose stages are `stages`, with the same arguments; the last stage ends in the last norm."""

    spec: SwinTransformerV2CrSpec
    trunk = "stages"
    block_class = ThreeNormBlock
    default_drop_path_rate = 0.0
    no_decay = ()

    def block_options(self, stage: int, position: int) -> dict[str, Any]:
        spec, number = self.spec, position + 1
        is_end = number == spec.depths[stage] and (spec.extra_norm_stage or stage == len(spec.depths) - 1)
        is_period = spec.extra_norm_period and number % spec.extra_norm_period == 0
        return {"extra_norm": bool(is_end or is_period)}

    def make_norm(self) -> nn.Module:
        return nn.Identity()

    def init_module(self, name: str, module: nn.Module) -> None:  # noqa: ARG002
        reset = getattr(module, "reset_parameters", None)
        if reset is not None:
            reset()


def repair_keys(state_dict: Mapping[str, Tensor], model: SwinTransformerV2Cr) -> dict[str, Tensor]:  # noqa: ARG001
    """Older files hold the inverse of the scale, as the paper has it, and the classifier without its last name."""
    if "head.fc.weight" in state_dict:
        return dict(state_dict)
    repaired = {}
    for key, value in state_dict.items():
        if key.endswith(".tau"):
            key, value = key.removesuffix("tau") + "logit_scale", -value.log()
        repaired[key.replace("head.", "head.fc.", 1) if key.startswith("head.") else key] = value
    return repaired

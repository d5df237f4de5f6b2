"""Swin Transformer V2: scores of attention by angle, positions by a perceptron, norms behind the branches.

Liu et al., Swin Transformer V2: Scaling Up Capacity and Resolution (arXiv:2111.09883).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.swin_transformer_v2 import SwinTransformerV2Spec
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.cosine_attention import CosineWindowAttention
from zoo.models.layers.log_position_bias import biases_of_pairs, scaled_log_offsets
from zoo.models.layers.window import Size
from zoo.models.swin_transformer import PatchMerging, SwinTransformer, SwinTransformerBlock
from zoo.models.swin_transformer import repair_keys as repair_keys  # the authors' files of both generations
from zoo.models.swin_transformer import unused_keys as v1_unused_keys

__getattr__ = family_attributes("swin_transformer_v2")


class WindowAttention(CosineWindowAttention):
    """Cosine attention whose biases lie between 0 and 16 (the authors' code, not in the paper).

    `trained` is the window that the perceptron of offsets was trained in, by default this one. Keys have no bias.
    """

    scale_axes = 2
    relative_coords_table: Tensor

    def __init__(
        self,
        channels: int,
        num_heads: int,
        *,
        window: Size,
        trained: Size | None = None,
        qkv_bias: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(channels, num_heads, window=window, qkv_bias="qv" if qkv_bias else False, **options)
        self.cpb_mlp = nn.Sequential(nn.Linear(2, 512), nn.ReLU(inplace=True), nn.Linear(512, num_heads, bias=False))
        offsets = scaled_log_offsets(window, trained or window)
        self.register_buffer("relative_coords_table", offsets, persistent=False)

    def position_bias(self) -> Tensor:
        by_offset = 16 * self.cpb_mlp(self.relative_coords_table).flatten(0, 1).sigmoid()
        return biases_of_pairs(by_offset.T.contiguous(), self.relative_position_index)


class PostNormBlock(SwinTransformerBlock):
    """Attention within windows and a perceptron, each with a shortcut and a norm behind it that starts as zero."""

    attention_class: ClassVar[type[nn.Module]] = WindowAttention

    def reset_parameters(self) -> None:
        for norm in (self.norm1, self.norm2):
            nn.init.zeros_(norm.weight)  # type: ignore[arg-type]
            nn.init.zeros_(norm.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, *_: Tensor | None) -> Tensor:
        x = x + self.drop_path1(self.norm1(self.attend(x)))
        return x + self.drop_path2(self.norm2(self.mlp(x)))


class ReducingMerging(PatchMerging):
    """Patch merging that reduces the channels before the norm."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.norm = nn.LayerNorm(2 * channels)

    def merge(self, x: Tensor) -> Tensor:
        return self.norm(self.reduction(x))


class SwinTransformerV2(SwinTransformer):
    """A Swin Transformer of the second generation, with the same arguments."""

    spec: SwinTransformerV2Spec
    block_class = PostNormBlock
    merging_class = ReducingMerging

    def block_options(self, stage: int, position: int) -> dict[str, Any]:  # noqa: ARG002
        trained = self.spec.pretrained_window_sizes
        return {"trained": (trained[stage],) * 2 if trained else None}


def unused_keys(keys: Collection[str], model: SwinTransformerV2) -> set[str]:
    """What follows from the sizes of image and window."""
    return v1_unused_keys(keys, model) | {key for key in keys if key.endswith("relative_coords_table")}

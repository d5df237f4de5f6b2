"""Networks built from tables of blocks.

Lin et al., GENet (arXiv:2006.14090); Ding et al., RepVGG (arXiv:2101.03697); Vasu et al., MobileOne (arXiv:2206.04040);
Dollar et al., RegNetZ (arXiv:2103.06877); Radford et al., the ResNets of CLIP (arXiv:2103.00020); ResNets with
attention: SE (arXiv:1709.01507), ECA (arXiv:1910.03151), GC (arXiv:1904.11492), BAT (CVPR 2020).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.block_rows import make_divisible
from zoo.core.architectures.configs.byobnet import AttentionPooledSpec, Blocks, ByobNetSpec
from zoo.models.base import FeatureDict
from zoo.models.byobnet_blocks import BlockStyle, make_block
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.attention_pool2d import AttentionPool2d
from zoo.models.layers.channel_attention import GlobalContext
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.head import NormMlpHead
from zoo.models.layers.init import GROUPED_FAN_OUT
from zoo.models.layers.norm import norm_factory
from zoo.models.layers.patch_embed import as_pair
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.stages import BlockPlace, walk_stages

__getattr__ = family_attributes("byobnet")

KEY_LAYOUTS = ("open_clip",)


def make_stem(style: BlockStyle, in_chans: int) -> nn.Sequential:
    """Convolutions `conv1`, `conv2`, ..., then `pool`: 4 times smaller. Without it the last has a second stride."""
    spec, stem = style.spec, nn.Sequential()
    kernel, num_bare = 7 if spec.stem_type == "7x7" else 3, 2 if spec.stem_type == "quad2" else 0
    last = len(spec.stem_widths)
    for number, width in enumerate(spec.stem_widths, 1):
        stride = 2 if number == 1 or (number == last and not spec.stem_pool) else 1
        if number <= num_bare:
            conv: nn.Module = make_conv(in_chans, width, kernel, stride)
        else:
            conv = style.conv(in_chans, width, kernel, stride, aa_layer="")
        stem.add_module(f"conv{number}", conv)
        in_chans = width
    if spec.stem_pool:
        pool = nn.AvgPool2d(2) if spec.stem_pool == "avg2" else nn.MaxPool2d(3, stride=2, padding=1)
        stem.add_module("pool", pool)
    return stem


class ByobNet(ConvNet):
    """Stem, stages of blocks, a 1x1 convolution, pooling, classifier `head.fc`."""

    spec: ByobNetSpec
    initial_values = GROUPED_FAN_OUT
    trunk = ("stem", "stages.*", "final_conv")
    head: Any

    def build(self, output_stride: int = 32, drop_path_rate: float = 0.0) -> None:
        style = BlockStyle(self.spec)
        level = self._make_stem(style)
        level = self._make_stages(style, level, output_stride, drop_path_rate)
        self.num_features = round(self.spec.num_features * self.spec.width_factor) or level["num_chs"]
        self.final_conv: nn.Module = nn.Identity()
        if self.spec.num_features:
            self.final_conv = style.conv(level["num_chs"], self.num_features)
        self.add_level(self.num_features, level["reduction"], "final_conv")

    def _make_stem(self, style: BlockStyle) -> FeatureDict:
        """Create `stem`; returns the level of its output, `feature_info` gets one before it."""
        spec, widths = style.spec, style.spec.stem_widths
        place = BlockPlace(self.in_chans, widths[0], stride=2, reduction=2)
        if spec.stem_type in ("rep", "one"):
            row = Blocks(spec.stem_type, 1, widths[0], attention=spec.stem_type == "rep")
            self.stem = make_block(style, row, place)
            return place.level("stem")
        if not spec.stem_pool and len(widths) == 1:
            kernel = 7 if spec.stem_type == "7x7" else 3
            self.stem = style.conv(self.in_chans, widths[0], kernel, 2, aa_layer="")
            return place.level("stem")
        self.stem = make_stem(style, self.in_chans)
        self.trunk = ("stem.*", *self.trunk[1:])
        # The last module strides a second time: a pooling of the last convolution's map, or that convolution itself.
        names = [name for name, _ in self.stem.named_children()]
        self.add_level([*widths, widths[-1]][len(names) - 2], 2, f"stem.{names[-2]}")
        return {"num_chs": widths[-1], "reduction": 4, "module": f"stem.{names[-1]}"}

    def _make_stages(
        self, style: BlockStyle, level: FeatureDict, output_stride: int, drop_path_rate: float
    ) -> FeatureDict:
        """Create `stages`; returns the level of the last, `feature_info` gets those before each stride."""
        stages = [stage if isinstance(stage, tuple) else (stage,) for stage in style.spec.stages]
        rows = [[row for row in stage for _ in range(row.depth)] for stage in stages]
        walk = walk_stages(
            [[make_divisible(row.channels * style.spec.width_factor) for row in stage] for stage in rows],
            level["num_chs"],
            level["reduction"],
            strides=[stage[0].stride for stage in rows],
            output_stride=output_stride,
            drop_path=drop_path_rate,
            own_dilation=True,
        )
        self.stages = nn.Sequential()
        for stage, places in zip(rows, walk, strict=True):
            if stage[0].stride > 1:
                self.feature_info.append(level)
            level = places[-1].level(f"stages.{len(self.stages)}")
            blocks = (self.make_block(style, row, place) for row, place in zip(stage, places, strict=True))
            self.stages.append(nn.Sequential(*blocks))
        return level

    def make_block(self, style: BlockStyle, row: Blocks, place: BlockPlace) -> nn.Module:
        """The block of a row, for families that have rows of their own besides."""
        return make_block(style, row, place)

    def make_head(self, global_pool: str) -> None:
        spec = self.spec
        if spec.head_hidden_size and not hasattr(self, "head"):
            norm = norm_factory(spec.norm_layer)
            self.head = NormMlpHead(self.num_features, norm, spec.head_hidden_size, spec.act_layer)
        super().make_head(global_pool)

    def before_classifier(self, x: Tensor) -> Tensor:
        return self.head(x, is_map=not self.pools) if self.spec.head_hidden_size else x

    def classifier_width(self, pooled: int) -> int:
        return self.head.width(pooled) if self.spec.head_hidden_size else pooled

    def zero_initialised(self, block: ResidualBlock) -> bool:
        return self.spec.zero_init_last and block.shortcut is not None

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        if isinstance(module, GlobalContext):
            nn.init.kaiming_normal_(module.conv_attn.weight, nonlinearity="relu")
            nn.init.zeros_(module.mlp_add.get_parameter("fc2.weight"))


class AttentionPooledByobNet(ByobNet):
    """A byobnet that pools by attention, classifier `head.proj`. `global_pool` is 'token', or '' for maps."""

    spec: AttentionPooledSpec
    default_pool = "token"

    @property
    def global_pool(self) -> AttentionPool2d:  # the head itself: registered once
        pool: AttentionPool2d = self.head
        return pool

    def make_head(self, global_pool: str) -> None:
        if not hasattr(self, "head"):
            height, width = self.img_size = as_pair(self.spec.img_size)
            stride = self.feature_info[-1]["reduction"]
            self.head = AttentionPool2d(self.num_features, (height // stride, width // stride))
        self.check_head(global_pool)
        self.head.set_pool_type(global_pool)
        self.head_hidden_size = self.num_features
        self.head.proj = self.make_classifier()


def unused_keys(keys: Collection[str], model: ByobNet) -> set[str]:
    """The pooling by attention of CLIP's own files, for a model that averages."""
    is_averaging = "visual.conv1.weight" in keys and not isinstance(model, AttentionPooledByobNet)
    return {key for key in keys if is_averaging and key.startswith("visual.attnpool.")}

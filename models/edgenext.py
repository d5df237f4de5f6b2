"""EdgeNeXt: Maaz et al., Efficiently Amalgamated CNN-Transformer Architecture for Mobile Vision Applications.

arXiv:2206.10589. ConvNeXt's blocks with kernels that grow from stage to stage, and at the end of a stage attention
between channels behind convolutions of several scales.
"""

from __future__ import annotations

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.edgenext import EdgeNeXtSpec
from zoo.models.convnext import ConvNeXt, ConvNeXtBlock
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.cross_covariance import CrossCovarianceAttention, FourierPositions
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.multi_scale import multi_scale
from zoo.models.layers.norm import norm_factory, token_norm_factory
from zoo.models.layers.scaled_block import ScaledBlock
from zoo.models.layers.stages import BlockPlace
from zoo.models.layers.transformer_block import BlockStyle

__getattr__ = family_attributes("edgenext")

KEY_LAYOUTS = ("authors",)


class DownsamplingBlock(ConvNeXtBlock):
    """A block whose convolution changes the shape, so that the shortcut starts behind it."""

    def __init__(self, spec: EdgeNeXtSpec, place: BlockPlace, kernel: int) -> None:
        super().__init__(spec, place, kernel)
        width = place.in_channels
        self.conv_dw = make_conv(width, place.channels, kernel, place.stride, groups=width, bias=spec.conv_bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_dw(x)
        return self.behind_conv(x) + x


class GlobalBlock(ScaledBlock):
    """Convolutions of several scales, attention between channels, a perceptron: (N, C, H, W) -> the same (section 3).

    The paper calls it the split depth-wise transpose attention encoder.
    """

    def __init__(self, spec: EdgeNeXtSpec, place: BlockPlace) -> None:
        channels, scales = place.channels, spec.d2_scales[place.stage]
        norm = token_norm_factory(spec.norm_layer, spec.norm_eps)
        style = BlockStyle(
            embed_dim=channels,
            num_heads=spec.heads[place.stage],
            norm=norm,
            init_values=spec.ls_init_value or 0.0,
            act_layer=spec.act_layer,
        )
        super().__init__(style, ("gamma_xca", "gamma") if style.init_values else ())
        width = -(-channels // scales)
        self.convs = nn.ModuleList(
            make_conv(width, width, 3, groups=width, bias=spec.conv_bias) for _ in range(max(1, scales - 1))
        )
        self.pos_embd = FourierPositions(channels) if spec.use_pos_emb[place.stage] else None
        self.norm_xca = norm(channels)
        self.xca = CrossCovarianceAttention(style)
        self.norm = norm(channels)
        self.mlp = style.make_mlp()
        self.drop_path = make_drop_path(place.drop_path)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        x = multi_scale(x, self.convs, adds=True).permute(0, 2, 3, 1)
        if self.pos_embd is not None:
            x = x + self.pos_embd((x.shape[1], x.shape[2]))
        found = self.xca(self.norm_xca(x).flatten(1, 2)).unflatten(1, x.shape[1:3])
        x = x + self.drop_path(self.scaled(0, found))
        x = self.scaled(1, self.mlp(self.norm(x)))
        return shortcut + self.drop_path(x.permute(0, 3, 1, 2))


class EdgeNeXt(ConvNeXt):
    """Stem, four stages, pooling, norm, classifier `head.fc`; with `head_norm_first` the norm is before pooling."""

    spec: EdgeNeXtSpec

    def build(self, drop_path_rate: float = 0.0) -> None:  # type: ignore[override]  # strides stay strides
        super().build(drop_path_rate=drop_path_rate)

    def make_stem(self) -> nn.Sequential:
        spec = self.spec
        if spec.stem_type == "patch":
            return super().make_stem()
        conv = make_conv(self.in_chans, spec.dims[0], 9, 4, padding=4, bias=spec.conv_bias)
        return nn.Sequential(conv, norm_factory(spec.norm_layer, spec.norm_eps)(spec.dims[0]))

    def make_downsample(self, first: BlockPlace) -> nn.Module:
        return nn.Identity() if self.spec.downsample_block else super().make_downsample(first)

    def make_block(self, place: BlockPlace, kernel: int) -> nn.Module:
        spec = self.spec
        if place.position >= spec.depths[place.stage] - spec.global_block_counts[place.stage]:
            return GlobalBlock(spec, place)
        if spec.downsample_block and not place.keeps_shape:
            return DownsamplingBlock(spec, place, kernel)
        return super().make_block(place, kernel)

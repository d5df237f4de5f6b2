"""FastViT: Vasu et al., A Fast Hybrid Vision Transformer using Structural Reparameterization (arXiv:2303.14189).

Its larger forms are the image encoders of MobileCLIP (arXiv:2311.17049, arXiv:2508.20691).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.fastvit import FastVitSpec
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import KeyTable, rename_keys
from zoo.models.layers.attention import Attention
from zoo.models.layers.channel_attention import SqueezeExcite, make_attention
from zoo.models.layers.conv_norm_act import conv_factory
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.layer_scale import MapScale
from zoo.models.layers.linear_map import Diagonal, LinearMap, sum_of_normed
from zoo.models.layers.mlp import Mlp
from zoo.models.layers.multi_branch import MobileOneBlock
from zoo.models.layers.norm import norm_factory
from zoo.models.layers.norm_act import norm_act_factory
from zoo.models.layers.stages import BlockPlace, walk_stages
from zoo.models.layers.token_init import init_linear

__getattr__ = family_attributes("fastvit")

HEAD_DIM = 32
DOWN_KERNEL = 7
"""Of the convolutions between stages."""
FINAL_RATIO = 2
"""Channels that the classifier reads against those of the last stage."""

make_conv = conv_factory("batchnorm", "identity")
norm_act = norm_act_factory("batchnorm", "identity")


class Branches(MobileOneBlock):
    """MobileOne's block with GELU, squeeze-and-excitation as its `se`, and on demand no 1x1 convolution."""

    attn_name = "se"

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int,
        stride: int = 1,
        *,
        groups: int = 1,
        act: str = "gelu",
        use_se: bool = False,
        use_scale: bool = True,
    ) -> None:
        se = make_attention("se" if use_se else "", channels, divisor=1)
        place = BlockPlace(in_channels, channels, stride)
        super().__init__(place, kernel, groups, norm_act=norm_act, act=act, attn=se)
        if not use_scale:
            self.conv_scale = None


class LargeKernel(nn.Module):
    """A large and a small depthwise convolution, added (Ding et al., RepLKNet, arXiv:2203.06717)."""

    def __init__(self, spec: FastVitSpec, in_channels: int, channels: int, use_se: bool) -> None:
        super().__init__()
        self.large_conv = make_conv(in_channels, channels, DOWN_KERNEL, 2, groups=in_channels)
        self.small_conv = make_conv(in_channels, channels, 3, 2, groups=in_channels)
        self.se = SqueezeExcite(channels, 0.25) if use_se else nn.Identity()
        self.act = nn.GELU() if spec.lkc_use_act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.se(self.large_conv(x) + self.small_conv(x)))

    def fuse(self) -> nn.Module:
        conv = sum_of_normed((self.large_conv, self.small_conv)).as_layer(self.large_conv.conv)
        return nn.Sequential(OrderedDict(reparam_conv=conv, se=self.se, act=self.act))


class RepMixer(nn.Module):
    """What branches make of a map against its norm, scaled, with a shortcut (section 3.2.1)."""

    def __init__(self, spec: FastVitSpec, channels: int) -> None:
        super().__init__()
        self.norm = nn.Sequential(OrderedDict(identity=nn.BatchNorm2d(channels)))
        self.mixer = Branches(channels, channels, 3, groups=channels, act="identity")
        self.layer_scale = MapScale(channels, spec.layer_scale_init_value)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer_scale(self.mixer(x) - self.norm(x))

    def fuse(self) -> nn.Module:
        like = self.mixer.conv_norms()[0].conv
        branch = self.mixer.linear_map() + -Diagonal.of(self.norm.get_submodule("identity"))
        found = branch.then(Diagonal.factor(self.layer_scale.get_parameter("gamma").flatten())) + Diagonal.identity(
            like
        )
        return nn.Sequential(OrderedDict(reparam_conv=found.as_layer(like)))


class ConvMlp(Mlp):
    """A perceptron behind a large depthwise convolution (section 3.2.3): (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, spec: FastVitSpec, channels: int, drop: float) -> None:
        super().__init__(channels, spec.mlp_ratio * channels, drop=drop, use_conv=True)
        self.conv = make_conv(channels, channels, 7, groups=channels)

    def reset_parameters(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.conv(x))


class RepMixerBlock(nn.Module):
    def __init__(self, spec: FastVitSpec, place: BlockPlace, proj_drop: float) -> None:
        super().__init__()
        self.token_mixer = RepMixer(spec, place.channels)
        self.mlp = ConvMlp(spec, place.channels, proj_drop)
        self.layer_scale = MapScale(place.channels, spec.layer_scale_init_value)
        self.drop_path = make_drop_path(place.drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = self.token_mixer(x)
        return x + self.drop_path(self.layer_scale(self.mlp(x)))


class MapAttention(Attention):
    """Attention over the positions of (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # there are no positions
        size = x.shape[2:]
        return super().forward(x.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, size)


class AttentionBlock(nn.Module):
    def __init__(self, spec: FastVitSpec, place: BlockPlace, proj_drop: float) -> None:
        super().__init__()
        channels, initial = place.channels, spec.layer_scale_init_value
        self.norm = norm_factory(spec.norm_layer, 1e-5)(channels)
        self.token_mixer = MapAttention(channels, channels // HEAD_DIM, qkv_bias=False)
        self.layer_scale_1 = MapScale(channels, initial)
        self.drop_path1 = make_drop_path(place.drop_path)
        self.mlp = ConvMlp(spec, channels, proj_drop)
        self.layer_scale_2 = MapScale(channels, initial)
        self.drop_path2 = make_drop_path(place.drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path1(self.layer_scale_1(self.token_mixer(self.norm(x))))
        return x + self.drop_path2(self.layer_scale_2(self.mlp(x)))


BLOCKS = {"repmixer": RepMixerBlock, "attention": AttentionBlock}


class PositionConv(nn.Module):
    """A large depthwise convolution with a shortcut, which tells the positions apart (arXiv:2102.10882)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pos_enc = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.pos_enc(x) + x

    def fuse(self) -> nn.Module:
        found = LinearMap.of(self.pos_enc) + Diagonal.identity(self.pos_enc)
        return nn.Sequential(OrderedDict(reparam_conv=found.as_layer(self.pos_enc)))


class FastVit(ConvNet):
    """Stem, four or five stages, a convolution that widens the map, pooling, classifier `head.fc`."""

    spec: FastVitSpec
    default_out_indices = (0, 1, 2, 3)

    def build(self, proj_drop_rate: float = 0.0, drop_path_rate: float = 0.0) -> None:
        spec, width, use_scale = self.spec, self.spec.embed_dims[0], self.spec.stem_use_scale_branch
        self.stem = nn.Sequential(
            Branches(self.in_chans, width, 3, 2, use_scale=use_scale),
            Branches(width, width, 3, 2, groups=width, use_scale=use_scale),
            Branches(width, width, 1),
        )
        self.stages = nn.Sequential()
        widths = [[channels] * depth for channels, depth in zip(spec.embed_dims, spec.layers, strict=True)]
        for places in walk_stages(widths, width, 4, drop_path=drop_path_rate):
            first, last = places[0], places[-1]
            mixer = spec.token_mixers[last.stage]
            parts: dict[str, nn.Module] = {
                "downsample": self._downsample(first) if first.stage else nn.Identity(),
                "pos_emb": PositionConv(last.channels) if mixer == "attention" else nn.Identity(),
                "blocks": nn.Sequential(*(BLOCKS[mixer](spec, place, proj_drop_rate) for place in places)),
            }
            self.stages.append(nn.Sequential(OrderedDict(parts)))
            self.add_level(last.channels, 4 * 2**last.stage, f"stages.{last.stage}")
        channels = spec.embed_dims[-1]
        self.num_features = FINAL_RATIO * channels
        self.final_conv = Branches(channels, self.num_features, 3, groups=channels, use_se=True)

    def _downsample(self, first: BlockPlace) -> nn.Sequential:
        large = LargeKernel(self.spec, first.in_channels, first.channels, self.spec.se_downsamples[first.stage])
        pointwise = Branches(first.channels, first.channels, 1)
        return nn.Sequential(OrderedDict(proj=nn.Sequential(large, pointwise)))

    def finish(self, x: Tensor) -> Tensor:
        return self.final_conv(x)

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        init_linear(module)


TOWERS = ("visual.trunk.", "image_encoder.model.")
"""Where files of MobileCLIP hold the network of images."""

AUTHORS_KEYS: KeyTable = {
    r"^patch_embed\.": "stem.",
    r"\.rbr_conv\.": ".conv_kxk.",
    r"\.rbr_scale\.": ".conv_scale.",
    r"\.rbr_skip\.": ".identity.",
    r"^conv_exp\.": "final_conv.",
    r"\.lkb_origin\.": ".large_conv.",
    r"\.convffn\.": ".mlp.",
    r"\.se\.reduce\.": ".se.fc1.",
    r"\.se\.expand\.": ".se.fc2.",
    r"\.(layer_scale(_\d)?)$": r".\1.gamma",
    r"^head\.proj$": "head.fc.weight",
    r"^head\.(weight|bias)$": r"head.fc.\1",
}


def _tower(keys: Collection[str]) -> str:
    return next((tower for tower in TOWERS if any(key.startswith(tower) for key in keys)), "")


def unused_keys(keys: Collection[str], model: FastVit) -> set[str]:  # noqa: ARG001
    """The text tower beside an image tower."""
    tower = _tower(keys)
    return {key for key in keys if not key.startswith(tower)}


def repair_keys(state_dict: Mapping[str, Tensor], model: FastVit) -> dict[str, Tensor]:
    """The names of the authors' files, where what lies between the stages counts among them, and of CLIP's towers."""
    tower = _tower(state_dict)
    tensors = {key.removeprefix(tower): value for key, value in state_dict.items()}
    if "patch_embed.0.rbr_conv.0.conv.weight" not in tensors:
        return tensors
    places: list[tuple[str, str]] = []
    for stage, mixer in enumerate(model.spec.token_mixers):
        places += [(r"\.proj\.", f"stages.{stage}.downsample.proj.")] if stage else []
        places += [(r"\.pe\.", f"stages.{stage}.pos_emb.pos_enc.")] if mixer == "attention" else []
        places += [(r"\.", f"stages.{stage}.blocks.")]
    network = {rf"^network\.{index}{part}": name for index, (part, name) in enumerate(places)}
    transposed = tensors.get("head.proj")
    tensors = rename_keys(tensors, {**network, **AUTHORS_KEYS})
    if transposed is not None:  # the projection to CLIP's embedding, which has no bias
        tensors["head.fc.weight"] = transposed.T
        tensors["head.fc.bias"] = transposed.new_zeros(transposed.shape[1])
    return tensors

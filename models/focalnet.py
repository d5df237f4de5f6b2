"""FocalNet: Yang et al., Focal Modulation Networks (arXiv:2203.11926)."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.focalnet import FocalNetSpec
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import KeyTable, rename_keys, reshape_to_fit
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.init import TRUNCATED_NORMAL
from zoo.models.layers.layer_scale import LayerScale2d
from zoo.models.layers.mlp import Mlp
from zoo.models.layers.norm import LayerNorm2d
from zoo.models.layers.stages import BlockPlace, walk_stages
from zoo.models.layers.tracing import listed

__getattr__ = family_attributes("focalnet")

WINDOW_GROWTH = 2
"""By how much the kernel grows from level to level."""
make_norm = partial(LayerNorm2d, eps=1e-5)


class FocalModulation(nn.Module):
    """A query at each position is multiplied by the context that gates pick from several levels (equations 4 to 6).

    The levels are depthwise convolutions one after the other, the last one is the mean of the map.
    """

    def __init__(self, spec: FocalNetSpec, channels: int, stage: int, proj_drop: float) -> None:
        super().__init__()
        levels, window = spec.focal_levels[stage], spec.focal_windows[stage]
        self.sizes = channels, channels, levels + 1
        self.f = nn.Conv2d(channels, sum(self.sizes), 1)
        self.h = nn.Conv2d(channels, channels, 1)
        self.act = nn.GELU()
        self.proj = nn.Conv2d(channels, channels, 1)
        self.proj_drop = nn.Dropout(proj_drop)
        self.focal_layers = nn.ModuleList()
        for kernel in range(window, window + WINDOW_GROWTH * levels, WINDOW_GROWTH):
            conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False)
            self.focal_layers.append(nn.Sequential(conv, nn.GELU()))
        self.norm = make_norm(channels) if spec.use_post_norm_in_modulation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        query, context, gates = self.f(x).split(self.sizes, 1)
        gate, last_gate = listed(gates.split(1, 1), len(self.focal_layers)), gates[:, -1:]
        gathered = 0
        for layer, weight in zip(self.focal_layers, gate, strict=True):
            context = layer(context)
            gathered = gathered + context * weight
        gathered = gathered + self.act(context.mean((2, 3), keepdim=True)) * last_gate
        return self.proj_drop(self.proj(self.norm(query * self.h(gathered))))


class FocalNetBlock(nn.Module):
    """Focal modulation and a perceptron, each with a shortcut and a norm before it or behind it."""

    def __init__(self, spec: FocalNetSpec, place: BlockPlace, proj_drop: float) -> None:
        super().__init__()
        channels, post = place.channels, spec.use_post_norm
        hidden = int(channels * spec.mlp_ratio)
        self.norm1, self.norm1_post = self._norms(channels, post)
        self.modulation = FocalModulation(spec, channels, place.stage, proj_drop)
        self.ls1 = self._scale(channels, spec.layerscale_value)
        self.drop_path1 = make_drop_path(place.drop_path)
        self.norm2, self.norm2_post = self._norms(channels, post)
        self.mlp = Mlp(channels, hidden, drop=proj_drop, use_conv=True)
        self.ls2 = self._scale(channels, spec.layerscale_value)
        self.drop_path2 = make_drop_path(place.drop_path)

    @staticmethod
    def _norms(channels: int, post: bool) -> tuple[nn.Module, nn.Module]:
        return (nn.Identity(), make_norm(channels)) if post else (make_norm(channels), nn.Identity())

    @staticmethod
    def _scale(channels: int, initial: float | None) -> nn.Module:
        return nn.Identity() if initial is None else LayerScale2d(channels, initial)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path1(self.ls1(self.norm1_post(self.modulation(self.norm1(x)))))
        return x + self.drop_path2(self.ls2(self.norm2_post(self.mlp(self.norm2(x)))))


def embed_patches(in_channels: int, channels: int, stride: int, overlap: bool) -> nn.Sequential:
    """A convolution over patches of `stride` pixels, which with `overlap` are larger, and a norm."""
    kernel, padding = {4: (7, 2), 2: (3, 1)}[stride] if overlap else (stride, 0)
    proj = nn.Conv2d(in_channels, channels, kernel, stride, padding)
    return nn.Sequential(OrderedDict(proj=proj, norm=make_norm(channels)))


class FocalNet(ConvNet):
    """Stem, stages `layers`, norm, pooling, classifier `head.fc`."""

    spec: FocalNetSpec
    initial_values = TRUNCATED_NORMAL
    trunk = ("stem", "layers.*")

    @property
    def embed_dim(self) -> list[int]:
        return [level["num_chs"] for level in self.feature_info]

    def build(self, proj_drop_rate: float = 0.0, drop_path_rate: float = 0.1) -> None:
        spec = self.spec
        self.stem = embed_patches(self.in_chans, spec.embed_dim, 4, spec.use_overlap_down)
        self.layers = nn.Sequential()
        widths = [[spec.embed_dim * 2**stage] * depth for stage, depth in enumerate(spec.depths)]
        for places in walk_stages(widths, spec.embed_dim, 4, drop_path=drop_path_rate):
            first, last = places[0], places[-1]
            downsample: nn.Module = nn.Identity()
            if first.stage:
                downsample = embed_patches(first.in_channels, first.channels, 2, spec.use_overlap_down)
            blocks = nn.Sequential(*(FocalNetBlock(spec, place, proj_drop_rate) for place in places))
            self.layers.append(nn.Sequential(OrderedDict(downsample=downsample, blocks=blocks)))
            self.feature_info.append(last.level(f"layers.{last.stage}"))
        self.num_features = widths[-1][0]
        self.norm = make_norm(self.num_features)

    def finish(self, x: Tensor) -> Tensor:
        return self.norm(x)


AUTHORS_KEYS: KeyTable = {
    r"\.gamma_(\d)$": r".ls\1.gamma",
    r"^patch_embed\.": "stem.",
    # The stage before counts the downsampling as its own.
    r"^layers\.(\d)\.downsample\.": lambda stage: f"layers.{int(stage[1]) + 1}.downsample.",
    r"\.ln\.": ".norm.",
    r"^head\.": "head.fc.",
}


def repair_keys(state_dict: Mapping[str, Tensor], model: FocalNet) -> dict[str, Tensor]:
    """The names of the authors' files, whose linear layers become 1x1 convolutions."""
    if "stem.proj.weight" in state_dict:
        return dict(state_dict)
    wanted = model.state_dict()
    renamed = {
        key if key in wanted else re.sub(r"\.norm(\d)\.", r".norm\1_post.", key): value
        for key, value in rename_keys(state_dict, AUTHORS_KEYS).items()
    }
    return reshape_to_fit(renamed, wanted)

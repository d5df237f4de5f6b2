"""Vision transformers whose patches are cells of the map of a convolutional network.

Dosovitskiy et al., An Image is Worth 16x16 Words (arXiv:2010.11929), section 3.1; Steiner et al., How to train your ViT
(arXiv:2106.10270); Vasu et al., MobileCLIP (arXiv:2311.17049).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, MutableMapping
from functools import partial
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs import resnet
from zoo.core.architectures.configs.vision_transformer_hybrid import HybridSpec
from zoo.models import vision_transformer_keys
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import KeyTable, rename_keys
from zoo.models.layers.conv_norm_act import ConvNormAct
from zoo.models.layers.conv_same import pad_same
from zoo.models.layers.hybrid_embed import Backbone, HybridEmbed
from zoo.models.layers.init import KAIMING, TORCH, InitialValues
from zoo.models.layers.norm_act import norm_act_factory
from zoo.models.layers.residual import ResidualBlock
from zoo.models.layers.stages import BlockPlace, walk_stages
from zoo.models.layers.std_conv import StdConv2d
from zoo.models.resnet import ResNet
from zoo.models.vision_transformer import VisionTransformer

__getattr__ = family_attributes("vision_transformer_hybrid")

KEY_LAYOUTS = ("augreg",)

conv = partial(StdConv2d, eps=1e-8, pad_type="same")
group_norm = norm_act_factory("groupnorm", "relu")


class MaxPoolSame(nn.MaxPool2d):
    """3x3 with stride 2, padded as TensorFlow's SAME: of what is not negative, so that zeros will do."""

    def __init__(self) -> None:
        super().__init__(3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(pad_same(x, (3, 3), (2, 2), (1, 1)))


def bottleneck(place: BlockPlace) -> ResidualBlock:
    """1x1, 3x3 with the stride, 1x1, each with its norm; the first block of a stage projects its shortcut."""
    width, shortcut = place.channels // 4, nn.Sequential()
    if place.opens_stage:
        shortcut.add_module("conv", conv(place.in_channels, place.channels, 1, place.stride))
        shortcut.add_module("norm", group_norm(place.channels, act="identity"))
    parts = {
        "downsample": shortcut,
        "conv1": conv(place.in_channels, width, 1),
        "norm1": group_norm(width),
        "conv2": conv(width, width, 3, place.stride),
        "norm2": group_norm(width),
        "conv3": conv(width, place.channels, 1),
        "norm3": group_norm(place.channels, act="identity"),
        "act3": nn.ReLU(inplace=True),
    }
    return ResidualBlock(parts, act="act3", last_norm="norm3")


def resnet_v2(layers: tuple[int, ...], in_chans: int) -> Backbone:
    """The ResNet of Big Transfer with norms behind the convolutions; without layers its stem."""
    stem = nn.Sequential(OrderedDict(conv=conv(in_chans, 64, 7, 2), norm=group_norm(64), pool=MaxPoolSame()))
    if not layers:
        return Backbone(stem, 64, 4)
    widths = [[256 * 2**stage] * depth for stage, depth in enumerate(layers)]
    stages = nn.Sequential()
    for places in walk_stages(widths, 64, 4):
        stages.append(nn.Sequential(OrderedDict(blocks=nn.Sequential(*map(bottleneck, places)))))
    last = places[-1]
    network = nn.Sequential(OrderedDict(stem=stem, stages=stages))
    return Backbone(network, last.channels, last.reduction)


def resnet_stages(name: str, stages: int, in_chans: int) -> Backbone:
    """The first stages of a ResNet."""
    network = ResNet(resnet.VARIANTS[name], num_classes=0, in_chans=in_chans, global_pool="")
    network.prune_intermediate_layers([stages], prune_head=False)
    level = network.feature_info[stages]
    return Backbone(network, level["num_chs"], level["reduction"])


def convolutions(channels: int, in_chans: int) -> Backbone:
    """Three that cut the image into patches of 4, these into 2 and 2, as MobileCLIP's."""
    make, width = partial(ConvNormAct, norm_act=norm_act_factory("batchnorm", "gelu"), padding=0), channels // 4
    last = nn.Sequential(OrderedDict(conv=nn.Conv2d(width, channels, 2, stride=2)))
    network = nn.Sequential(make(in_chans, width, 4, 4), make(width, width, 2, 2), last)
    return Backbone(network, channels, 16, padded=False, embeds=True)


class VisionTransformerHybrid(VisionTransformer):
    """A vision transformer over the map of `patch_embed.backbone`."""

    spec: HybridSpec

    def make_patch_embed(self, **options: Any) -> HybridEmbed:
        spec = self.spec
        return HybridEmbed(self.make_backbone(), spec.img_size, spec.patch_size, spec.embed_dim, **options)

    def make_backbone(self) -> Backbone:
        spec = self.spec
        if spec.backbone == "resnetv2":
            return resnet_v2(spec.layers, self.in_chans)
        if spec.backbone == "convs":
            return convolutions(spec.embed_dim, self.in_chans)
        return resnet_stages(spec.backbone, len(spec.layers), self.in_chans)

    @property
    def backbone_values(self) -> InitialValues:
        """How the layers of the backbone start."""
        return KAIMING if self.spec.layers else TORCH

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        if name.startswith("patch_embed.backbone."):
            self.backbone_values.fill(module)
            if isinstance(module, ResidualBlock) and module.last_norm:
                module.zero_last_norm()


# ---------------------------------------------------------------- published files of other layouts

MOBILECLIP_KEYS: KeyTable = {
    r"^image_encoder\.model\.": "",
    r"^patch_emb\.(\d)\.block\.conv\.": r"patch_embed.backbone.\1.conv.",
    r"^patch_emb\.(\d)\.block\.norm\.": r"patch_embed.backbone.\1.bn.",
    r"^post_transformer_norm\.": "norm.",
    r"^transformer\.": "blocks.",
    r"\.pre_norm_mha\.0\.": ".norm1.",
    r"\.pre_norm_mha\.1\.qkv_proj\.": ".attn.qkv.",
    r"\.pre_norm_mha\.1\.out_proj\.": ".attn.proj.",
    r"\.pre_norm_ffn\.0\.": ".norm2.",
    r"\.pre_norm_ffn\.1\.": ".mlp.fc1.",
    r"\.pre_norm_ffn\.4\.": ".mlp.fc2.",
    r"^pos_embed\.pos_embed\.pos_embed$": "pos_embed",
    r"^classifier\.proj$": "head.weight",
}
MOBILECLIP_FIRST = "image_encoder.model.patch_emb.0.block.conv.weight"


def unused_keys(keys: Collection[str], model: VisionTransformer) -> set[str]:
    """What only served pretraining, and the text tower beside MobileCLIP's image tower."""
    text = {key for key in keys if MOBILECLIP_FIRST in keys and not key.startswith("image_encoder.model.")}
    return text | vision_transformer_keys.unused_keys(keys, model)


def repair_keys(state_dict: MutableMapping[str, Tensor], model: VisionTransformerHybrid) -> MutableMapping[str, Tensor]:
    """Bring MobileCLIP's tensors into the model's keys; others stay as they are."""
    if MOBILECLIP_FIRST in state_dict:
        state_dict = rename_keys(state_dict, MOBILECLIP_KEYS)
        state_dict["pos_embed"] = state_dict["pos_embed"].flatten(0, 1)
        if "head.weight" in state_dict:
            state_dict["head.weight"] = state_dict["head.weight"].T.contiguous()
            state_dict["head.bias"] = torch.zeros(len(state_dict["head.weight"]))
    return vision_transformer_keys.repair_keys(state_dict, model)

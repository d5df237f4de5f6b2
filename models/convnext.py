"""ConvNeXt and ConvNeXt V2.

Liu et al., A ConvNet for the 2020s (arXiv:2201.03545); Woo et al., ConvNeXt V2 (arXiv:2301.00808).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, MutableMapping

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.block_rows import make_divisible
from zoo.core.architectures.configs.convnext import ConvNeXtSpec
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.head import NormMlpHead
from zoo.models.layers.init import TRUNCATED_NORMAL
from zoo.models.layers.layer_scale import ChannelScale, scale_maps
from zoo.models.layers.mlp import GlobalResponseNormMlp, Mlp
from zoo.models.layers.norm import norm_factory, token_norm_factory
from zoo.models.layers.norm_downsample import norm_downsample
from zoo.models.layers.stages import BlockPlace, walk_stages

__getattr__ = family_attributes("convnext")

KEY_LAYOUTS = ("authors", "dino", "open_clip")


class ConvNeXtBlock(ChannelScale):
    """Depthwise convolution, norm, MLP at each position; scaled by `gamma` and added to the input.

    The MLP's linear layers read (N, H, W, C). With `conv_mlp` the maps stay (N, C, H, W), which is faster for the
    small widths.
    """

    def __init__(self, spec: ConvNeXtSpec, place: BlockPlace, kernel: int) -> None:
        super().__init__()
        channels = place.channels
        self.channels_last = not spec.conv_mlp
        self.init_value = spec.ls_init_value
        self.conv_dw = make_conv(
            channels, channels, kernel, dilation=place.dilation, groups=channels, bias=spec.conv_bias
        )
        make_norm = token_norm_factory if self.channels_last else norm_factory
        self.norm = make_norm(spec.norm_layer, spec.norm_eps)(channels)
        mlp = GlobalResponseNormMlp if spec.use_grn else Mlp
        self.mlp = mlp(channels, 4 * channels, act=spec.act_layer, use_conv=spec.conv_mlp)
        self.gamma = nn.Parameter(torch.empty(channels)) if spec.ls_init_value is not None else None
        self.drop_path = make_drop_path(place.drop_path)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        if self.gamma is not None and self.init_value is not None:
            nn.init.constant_(self.gamma, self.init_value)

    def forward(self, x: Tensor) -> Tensor:
        return self.behind_conv(self.conv_dw(x)) + x

    def behind_conv(self, x: Tensor) -> Tensor:
        """What the branch makes of the convolution's output."""
        if self.channels_last:
            x = self.mlp(self.norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        else:
            x = self.mlp(self.norm(x))
        return self.drop_path(scale_maps(x, self.gamma))


class ConvNeXt(ConvNet):
    """Stem, four stages, pooling, norm, classifier `head.fc`; with `head_norm_first` the norm is before pooling."""

    spec: ConvNeXtSpec
    initial_values = TRUNCATED_NORMAL

    def build(self, output_stride: int = 32, drop_path_rate: float = 0.0) -> None:
        spec = self.spec
        norm = norm_factory(spec.norm_layer, spec.norm_eps)
        kernels = (spec.kernel_sizes,) * 4 if isinstance(spec.kernel_sizes, int) else spec.kernel_sizes
        self.stem = self.make_stem()
        self.stages = nn.Sequential()
        widths = [[channels] * depth for channels, depth in zip(spec.dims, spec.depths, strict=True)]
        reduction = spec.patch_size if spec.stem_type == "patch" else 4
        walk = walk_stages(
            widths,
            spec.dims[0],
            reduction,
            output_stride=output_stride,
            drop_path=drop_path_rate,
            own_dilation=True,
        )
        for kernel, places in zip(kernels, walk, strict=True):
            blocks = nn.Sequential(*(self.make_block(place, kernel) for place in places))
            downsample = nn.Identity() if places[0].keeps_shape else self.make_downsample(places[0])
            self.feature_info.append(places[-1].level(f"stages.{len(self.stages)}"))
            self.stages.append(nn.Sequential(OrderedDict(downsample=downsample, blocks=blocks)))
        self.num_features = spec.dims[-1]
        self.norm_pre = norm(self.num_features) if spec.head_norm_first else nn.Identity()
        if not spec.head_norm_first:
            self.head = NormMlpHead(self.num_features, norm, spec.head_hidden_size)

    def make_block(self, place: BlockPlace, kernel: int) -> nn.Module:
        return ConvNeXtBlock(self.spec, place, kernel)

    def make_downsample(self, first: BlockPlace) -> nn.Module:
        """What stands before the first block of a stage that changes the shape."""
        return norm_downsample(first, norm_factory(self.spec.norm_layer, self.spec.norm_eps), self.spec.conv_bias)

    def make_stem(self) -> nn.Sequential:
        spec, in_chans = self.spec, self.in_chans
        width, bias = spec.dims[0], spec.conv_bias
        norm = norm_factory(spec.norm_layer, spec.norm_eps)(width)
        if spec.stem_type == "patch":
            return nn.Sequential(nn.Conv2d(in_chans, width, spec.patch_size, spec.patch_size, bias=bias), norm)
        first = make_divisible(width // 2) if spec.stem_type == "overlap_tiered" else width
        between = [make_activation(spec.act_layer)] if spec.stem_type == "overlap_act" else []
        return nn.Sequential(
            make_conv(in_chans, first, 3, stride=2, bias=bias),
            *between,
            make_conv(first, width, 3, stride=2, bias=bias),
            norm,
        )

    def finish(self, x: Tensor) -> Tensor:
        return self.norm_pre(x)

    def before_classifier(self, x: Tensor) -> Tensor:
        return x if self.spec.head_norm_first else self.head(x, is_map=not self.pools)

    def classifier_width(self, pooled: int) -> int:
        return pooled if self.spec.head_norm_first else self.head.width(pooled)

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        if isinstance(module, nn.Conv2d | nn.Linear) and name.startswith("head."):
            module.weight.mul_(self.spec.head_init_scale)


# ---------------------------------------------------------------- published files of other layouts


def unused_keys(keys: Collection[str], model: ConvNeXt) -> set[str]:  # noqa: ARG001
    """The heads of a distillation in the authors' files."""
    if any(key.startswith("downsample_layers.") for key in keys):
        return {key for key in keys if key.startswith(("projectors.", "norms."))}
    return set()


def repair_keys(state_dict: MutableMapping[str, Tensor], model: ConvNeXt) -> MutableMapping[str, Tensor]:
    """Linear layers and convolutions of 1x1 as the model has them, and a norm behind a network without a head."""
    return _with_final_norm(_reshaped(state_dict, model), model)


def _reshaped(state_dict: MutableMapping[str, Tensor], model: ConvNeXt) -> dict[str, Tensor]:
    """Linear layers as the 1x1 convolutions of `conv_mlp`."""
    wanted = model.state_dict()

    def fits(key: str, value: Tensor) -> bool:
        return ".mlp." in key and key in wanted and value.squeeze().shape == wanted[key].squeeze().shape

    return {key: value.reshape(wanted[key].shape) if fits(key, value) else value for key, value in state_dict.items()}


def _with_final_norm(state_dict: MutableMapping[str, Tensor], model: ConvNeXt) -> MutableMapping[str, Tensor]:
    """A masked autoencoder (V2's FCMAE) has no head at all: the norm before the classifier starts as the identity."""
    if any(key.startswith(("head.", "norm_pre.")) for key in state_dict):
        return state_dict
    wanted = {key: value for key, value in model.state_dict().items() if key.startswith("head.norm.")}
    initial = {key: torch.full(value.shape, float(key.endswith("weight"))) for key, value in wanted.items()}
    return {**state_dict, **initial}

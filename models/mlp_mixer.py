"""Networks of perceptrons over patches, which a linear layer or a perceptron across them mixes.

Tolstikhin et al., MLP-Mixer (arXiv:2105.01601); Touvron et al., ResMLP (arXiv:2105.03404); Liu et al., Pay Attention to
MLPs (arXiv:2105.08050). Weights for every pair of patches make these networks take images of one size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.mlp_mixer import MlpMixerSpec
from zoo.models.base import ImageModel, Size, Step
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.activation import make_activation
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.layer_scale import ChannelScale, scale_tokens
from zoo.models.layers.mlp import GluMlp, Mlp
from zoo.models.layers.norm import token_norm_factory
from zoo.models.layers.patch_embed import PatchEmbed
from zoo.models.layers.token_init import init_as_jax
from zoo.models.token_model import TokenModel

__getattr__ = family_attributes("mlp_mixer")

LAYERS = {"mlp": Mlp, "glu": GluMlp}
layer_norm = token_norm_factory("layernorm", eps=1e-6)


class MixerBlock(nn.Module):
    """A perceptron across the patches, one across the channels, both on normed tokens (N, patches, C)."""

    def __init__(self, spec: MlpMixerSpec, num_patches: int, drop: float, drop_path: float) -> None:
        super().__init__()
        make_mlp, channels = LAYERS[spec.mlp_layer], spec.embed_dim
        ratios = spec.mlp_ratio if isinstance(spec.mlp_ratio, tuple) else (spec.mlp_ratio, spec.mlp_ratio)
        self.norm1 = layer_norm(channels)
        self.mlp_tokens = make_mlp(num_patches, int(channels * ratios[0]), act=spec.act_layer, drop=drop)
        self.norm2 = layer_norm(channels)
        self.mlp_channels = make_mlp(channels, int(channels * ratios[1]), act=spec.act_layer, drop=drop)
        self.drop_path = make_drop_path(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.mlp_tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2))
        return x + self.drop_path(self.mlp_channels(self.norm2(x)))


class Affine(nn.Module):
    """`alpha * x + beta` for each channel, which ResMLP has in place of a norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.empty(1, 1, channels))
        self.beta = nn.Parameter(torch.empty(1, 1, channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.ones_(self.alpha)
        nn.init.zeros_(self.beta)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.beta, self.alpha, x)


class ResMlpBlock(ChannelScale):
    """A linear layer across the patches, a perceptron across the channels, both scaled by learned factors."""

    scales = "ls1", "ls2"

    def __init__(self, spec: MlpMixerSpec, num_patches: int, drop: float, drop_path: float) -> None:
        super().__init__()
        channels, hidden = spec.embed_dim, _hidden_channels(spec)
        self.init_values = spec.init_values
        self.ls1 = nn.Parameter(torch.empty(channels))
        self.ls2 = nn.Parameter(torch.empty(channels))
        self.norm1 = Affine(channels)
        self.linear_tokens = nn.Linear(num_patches, num_patches)
        self.norm2 = Affine(channels)
        self.mlp_channels = LAYERS[spec.mlp_layer](channels, hidden, act=spec.act_layer, drop=drop)
        self.drop_path = make_drop_path(drop_path)

    def reset_parameters(self) -> None:
        nn.init.constant_(self.ls1, self.init_values)
        nn.init.constant_(self.ls2, self.init_values)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.linear_tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        x = x + self.drop_path(scale_tokens(mixed, self.ls1))
        return x + self.drop_path(scale_tokens(self.mlp_channels(self.norm2(x)), self.ls2))


class SpatialGate(nn.Module):
    """(N, patches, 2 C) -> (N, patches, C): one half times the other, which a linear layer has mixed across patches."""

    def __init__(self, channels: int, num_patches: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.proj = nn.Linear(num_patches, num_patches)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = x.chunk(2, -1)
        return value * self.proj(self.norm(gate).transpose(1, 2)).transpose(1, 2)


class SpatiallyGatedMlp(nn.Module):
    """A perceptron across the channels with a gate between its layers."""

    def __init__(self, channels: int, hidden: int, num_patches: int, act: str, drop: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.act = make_activation(act)
        self.drop1 = nn.Dropout(drop)
        self.gate = SpatialGate(hidden // 2, num_patches)
        self.fc2 = nn.Linear(hidden // 2, channels)
        self.drop2 = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        x = self.gate(self.drop1(self.act(self.fc1(x))))
        return self.drop2(self.fc2(x))


class GatedBlock(nn.Module):
    """The block of gMLP."""

    def __init__(self, spec: MlpMixerSpec, num_patches: int, drop: float, drop_path: float) -> None:
        super().__init__()
        self.norm = layer_norm(spec.embed_dim)
        hidden = _hidden_channels(spec)
        self.mlp_channels = SpatiallyGatedMlp(spec.embed_dim, hidden, num_patches, spec.act_layer, drop)
        self.drop_path = make_drop_path(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop_path(self.mlp_channels(self.norm(x)))


def _hidden_channels(spec: MlpMixerSpec) -> int:
    """Of a block that has one perceptron."""
    ratio = spec.mlp_ratio[1] if isinstance(spec.mlp_ratio, tuple) else spec.mlp_ratio
    return int(spec.embed_dim * ratio)


BLOCKS = {"mixer": MixerBlock, "resmlp": ResMlpBlock, "gmlp": GatedBlock}


class MlpMixer(TokenModel):
    """Patch embedding `stem`, blocks, norm, pooling, classifier `head`.

    Args:
        spec: the variant, with the size of the images.
        num_classes: outputs of the classifier; 0 leaves it out.
        in_chans: channels of the image.
        global_pool: avg, max, avgmax, or '' with num_classes=0.
        drop_rate: dropout before the classifier.
        proj_drop_rate, drop_path_rate: dropout within, stochastic depth of every block.
    """

    def __init__(
        self,
        spec: MlpMixerSpec,
        num_classes: int = 1000,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__(in_chans=in_chans, num_classes=num_classes, drop_rate=drop_rate)
        self.spec = spec
        channels = self.num_features = spec.embed_dim
        self.stem = PatchEmbed(spec.img_size, spec.patch_size, in_chans, channels)
        self.img_size = self.stem.img_size
        make_block, num_patches = BLOCKS[spec.block], self.stem.num_patches
        self.blocks = nn.Sequential(
            *(make_block(spec, num_patches, proj_drop_rate, drop_path_rate) for _ in range(spec.num_blocks))
        )
        self.feature_info = [
            {"num_chs": channels, "reduction": spec.patch_size, "module": f"blocks.{index}"}
            for index in range(spec.num_blocks)
        ]
        self.norm = Affine(channels) if spec.block == "resmlp" else layer_norm(channels)
        self.make_head(global_pool)

    def feature_size(self, height: int, width: int) -> Size:
        return self.stem.feature_size(height, width)

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "stem", self.stem
        for index, block in enumerate(self.blocks):
            yield f"blocks.{index}", block

    def finish(self, x: Tensor) -> Tensor:
        return self.norm(x)

    def init_module(self, name: str, module: nn.Module) -> None:
        """A classifier of zeros, Xavier's uniform linear layers, LeCun's normal patch embedding, open gates."""
        ImageModel.init_module(self, name, module)  # its scheme is none of vision transformers
        if isinstance(module, nn.Linear) and name == "head":
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, SpatialGate):
            nn.init.normal_(module.proj.weight, std=1e-6)
            nn.init.ones_(module.proj.bias)
        else:
            init_as_jax(name, module)


def repair_keys(state_dict: Mapping[str, Tensor], model: MlpMixer) -> Mapping[str, Tensor]:  # noqa: ARG001
    """The names of the ResMLP authors' files, and the shape that their affine layers have here."""
    if "patch_embed.proj.weight" not in state_dict:
        return state_dict
    repaired = {}
    for key, value in state_dict.items():
        for theirs, ours in (("patch_embed.", "stem."), ("attn.", "linear_tokens."), ("mlp.", "mlp_channels.")):
            key = key.replace(theirs, ours)
        key = key.replace("gamma_", "ls")
        repaired[key] = value.reshape(1, 1, -1) if key.endswith((".alpha", ".beta")) else value
    return repaired

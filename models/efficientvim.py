"""EfficientViM: Lee et al., Efficient Vision Mamba with Hidden State Mixer based Duality (arXiv:2411.15241).

A mixer gathers a map into a few hidden states, mixes these, and spreads them over the map again. Each stage's hidden
states have a classifier of their own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.configs.efficientvim import EfficientVimSpec
from zoo.core.errors import UsageError
from zoo.models.base import Step
from zoo.models.conv_net import ConvNet
from zoo.models.distilled import DistilledModel
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import reshape_to_fit
from zoo.models.layers.channel_attention import SqueezeExcite
from zoo.models.layers.drop import drop_path_schedule, make_drop_path
from zoo.models.layers.linear_map import Diagonal, LinearMap
from zoo.models.layers.norm import LayerNorm2d
from zoo.models.layers.token_init import init_linear

__getattr__ = family_attributes("efficientvim")

NORM_EPS = 1e-5
STEM_STRIDE = 16
DECAY_RANGE = 1.0, 16.0
INITIAL_GATE = 1e-4

State = list[Tensor]
"""The map (N, C, H, W), then the hidden states (N, C, S) of each stage so far."""


class ConvNorm(nn.Sequential):
    """A convolution without bias, a batch norm, on demand an activation."""

    conv: nn.Module
    norm: nn.Module

    def __init__(
        self, in_channels: int, channels: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: bool = True
    ) -> None:
        conv = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
        parts = OrderedDict[str, nn.Module](conv=conv, norm=nn.BatchNorm2d(channels))
        if act:
            parts["act"] = nn.ReLU(inplace=True)
        super().__init__(parts)

    def linear_map(self) -> LinearMap:
        return LinearMap.of(self.conv, self.norm)

    def with_conv(self, found: LinearMap) -> nn.Sequential:
        """A convolution of this map, and the activation."""
        others = {name: part for name, part in self.named_children() if name not in ("conv", "norm")}
        return nn.Sequential(OrderedDict(conv=found.as_layer(self.conv), **others))

    def fuse(self) -> nn.Module:
        return self.with_conv(self.linear_map())


class Depthwise(ConvNorm):
    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, groups=channels, act=False)


class ShortcutDepthwise(Depthwise):
    """With the input added."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)

    def linear_map(self) -> LinearMap:
        return super().linear_map() + Diagonal.identity(self.conv)


def projection(in_channels: int, channels: int) -> nn.Sequential:
    """Of (N, C, L)."""
    return nn.Sequential(OrderedDict(conv=nn.Conv1d(in_channels, channels, 1, bias=False)))


class HiddenStateMixer(nn.Module):
    """Map (N, C, H, W) -> the mixed map, and its hidden states (N, C, S) (algorithm 1)."""

    def __init__(self, channels: int, num_states: int, hidden: int) -> None:
        super().__init__()
        self.BCdt_proj = projection(channels, 3 * num_states)
        conv = nn.Conv2d(3 * num_states, 3 * num_states, 3, padding=1, groups=3 * num_states, bias=False)
        self.dw = nn.Sequential(OrderedDict(conv=conv))
        self.hz_proj = projection(channels, 2 * hidden)
        self.out_proj = projection(hidden, channels)
        self.A = nn.Parameter(torch.empty(num_states))
        self.D = nn.Parameter(torch.empty(1))

    def reset_parameters(self) -> None:
        nn.init.uniform_(self.A, *DECAY_RANGE)
        nn.init.ones_(self.D)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        size, cells = x.shape[2:], x.flatten(2)
        writing, reading, step = self.dw(self.BCdt_proj(cells).unflatten(2, size)).flatten(2).chunk(3, 1)
        share = (step + self.A.unsqueeze(1)).softmax(2)  # of each cell in a state
        states, gate = self.hz_proj(cells @ (share * writing).transpose(1, 2)).chunk(2, 1)
        states = self.out_proj(states * F.silu(gate) + states * self.D)
        return (states @ reading).unflatten(2, size), states


def gated(found: LinearMap, gate: Tensor) -> LinearMap:
    """From the input as far towards what the map gives as the gate (C,) says."""
    return found.then(Diagonal.factor(gate)) + Diagonal.factor(1 - gate)


class MixerBlock(nn.Module):
    """A convolution, the mixer, a convolution, a perceptron; `alpha` says how far each of them replaces its input."""

    def __init__(self, spec: EfficientVimSpec, stage: int, drop_path: float) -> None:
        super().__init__()
        self.stage, channels = stage, spec.embed_dim[stage]
        hidden = int(spec.mlp_ratio * channels)
        self.mixer = HiddenStateMixer(channels, spec.state_dim[stage], int(spec.ssd_expand * channels))
        self.norm = LayerNorm2d(channels, NORM_EPS)
        self.dwconv1: nn.Module = Depthwise(channels)
        self.dwconv2: nn.Module = Depthwise(channels)
        ffn = {"fc1": ConvNorm(channels, hidden), "fc2": ConvNorm(hidden, channels, act=False)}
        self.ffn = nn.Sequential(OrderedDict(ffn))
        self.alpha = nn.Parameter(torch.empty(4, channels))
        self.drop_path = make_drop_path(drop_path)
        self.convs_have_gates = False

    def reset_parameters(self) -> None:
        nn.init.constant_(self.alpha, INITIAL_GATE)

    def fuse(self) -> nn.Module:
        """The block with the gates of both convolutions in their kernels; `alpha` stays for the other two."""
        if isinstance(self.dwconv1, Depthwise) and isinstance(self.dwconv2, Depthwise):
            gates = self.alpha.detach().double().sigmoid()
            self.dwconv1 = self.dwconv1.with_conv(gated(self.dwconv1.linear_map(), gates[0]))
            self.dwconv2 = self.dwconv2.with_conv(gated(self.dwconv2.linear_map(), gates[2]))
            self.convs_have_gates = True
        return self

    def forward(self, state: State) -> State:
        """The state with the new map, and with the hidden states of this block as the last ones of the stage."""
        x, gates = state[0], self.alpha.sigmoid().view(4, -1, 1, 1)

        def towards(x: Tensor, mixed: Tensor, gate: int) -> Tensor:
            way: Tensor = self.drop_path(gates[gate] * (mixed - x))
            return x + way

        x = self.dwconv1(x) if self.convs_have_gates else towards(x, self.dwconv1(x), 0)
        mixed, hidden = self.mixer(self.norm(x))
        x = towards(x, mixed, 1)
        x = self.dwconv2(x) if self.convs_have_gates else towards(x, self.dwconv2(x), 2)
        return [towards(x, self.ffn(x), 3), *state[1 : 1 + self.stage], hidden]


class PatchMerging(nn.Module):
    """An inverted bottleneck of stride 2 between two convolutions with shortcuts, on the map of a state."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        hidden = 4 * channels
        self.conv = nn.Sequential(
            ConvNorm(in_channels, hidden),
            ConvNorm(hidden, hidden, 3, 2, groups=hidden),
            SqueezeExcite(hidden, 0.25),
            ConvNorm(hidden, channels, act=False),
        )
        self.dwconv1 = ShortcutDepthwise(in_channels)
        self.dwconv2 = ShortcutDepthwise(channels)

    def forward(self, state: State) -> State:
        x, *hidden = state
        return [self.dwconv2(self.conv(self.dwconv1(x))), *hidden]


class EfficientViM(DistilledModel, ConvNet):
    """Stem `patch_embed`, three stages, norms of the hidden states and of the last map, their classifiers `heads`.

    `forward_features` gives a list: the hidden states of each stage (N, C, S) and the last map (N, C, H * W). The
    logits are a mean, weighted by the softmax of `weights`, of what the four classifiers say. A distilled network has
    another such set, `heads_dist`.
    """

    spec: EfficientVimSpec

    def build(self, drop_path_rate: float = 0.0) -> None:
        spec, widths = self.spec, self.spec.embed_dim
        stem, channels = nn.Sequential(), self.in_chans
        for width in (widths[0] // 8, widths[0] // 4, widths[0] // 2, widths[0]):
            stem.append(ConvNorm(channels, width, 3, 2, act=width < widths[0]))
            channels = width
        self.patch_embed = nn.Sequential(OrderedDict(conv=stem))
        rates = iter(drop_path_schedule(drop_path_rate, sum(spec.depths)))
        self.stages = nn.Sequential()
        for stage, depth in enumerate(spec.depths):
            blocks = nn.Sequential(*(MixerBlock(spec, stage, next(rates)) for _ in range(depth)))
            parts = OrderedDict[str, nn.Module](blocks=blocks)
            if stage + 1 < len(widths):
                parts["downsample"] = PatchMerging(widths[stage], widths[stage + 1])
            self.stages.append(nn.Sequential(parts))
            self.add_level(widths[stage], STEM_STRIDE * 2**stage, f"stages.{stage}.blocks", f"stages.{stage}")
        self.head_widths = (*widths, widths[-1])
        self.num_features = sum(self.head_widths)
        norms = [nn.LayerNorm(width, NORM_EPS) for width in widths]
        self.norm = nn.ModuleList([*norms, LayerNorm2d(widths[-1], NORM_EPS)])
        self.sets = ("", "_dist") if spec.distilled else ("",)
        for name in self.sets:
            self.register_parameter(f"weights{name}", nn.Parameter(torch.empty(len(self.head_widths))))

    def reset_parameters(self) -> None:
        for weights in self._parameters.values():
            if weights is not None:
                nn.init.ones_(weights)

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        init_linear(module)

    # ------------------------------------------------------------ forward

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "patch_embed", self._embed
        for index, stage in enumerate(self.stages):
            yield from ((f"stages.{index}.{name}", part) for name, part in stage.named_children())

    def _embed(self, x: Tensor) -> Any:
        return [self.patch_embed(x)]

    def level_state(self, x: Any, level: int) -> Tensor:  # noqa: ARG002 - each level reads the map
        last: Tensor = x[0]
        return last

    def finish(self, x: Any) -> Any:
        last, *hidden = x
        normed = [norm(states.transpose(1, 2)).transpose(1, 2) for norm, states in zip(self.norm, hidden, strict=False)]
        return [*normed, self.norm[-1](last).flatten(2)]

    # ------------------------------------------------------------ classifiers

    @property
    def is_distilled(self) -> bool:
        return self.spec.distilled and self.num_classes > 0

    def make_pool(self, pool_type: str) -> nn.Module:
        if pool_type not in ("", "avg"):
            raise UsageError(f"The classifiers of EfficientViM read means: global_pool='avg', found {pool_type!r}.")
        return super().make_pool(pool_type)

    def make_head(self, global_pool: str) -> None:
        self.check_head(global_pool)
        self.global_pool = self.make_pool(global_pool)
        self.head_hidden_size = self.num_features
        for name in self.sets:
            heads = [
                nn.Linear(width, self.num_classes) if self.num_classes else nn.Identity() for width in self.head_widths
            ]
            self.add_module(f"heads{name}", nn.ModuleList(heads))
            self.get_parameter(f"weights{name}").requires_grad_(self.num_classes > 0)

    def classifier_input(self, x: Any) -> Any:
        return [part.mean(2) for part in x] if self.global_pool.pool_type else x

    def embedding(self, pooled: Any) -> Any:
        """The means side by side; the parts as they are where they are not pooled."""
        return torch.cat(pooled, 1) if self.global_pool.pool_type else pooled

    def logits(self, pooled: Any) -> list[Tensor]:
        """Of each set of classifiers their weighted mean."""
        return [self._weighted(name, pooled) for name in self.sets]

    def _weighted(self, name: str, pooled: Sequence[Tensor]) -> Tensor:
        weights = getattr(self, f"weights{name}").softmax(0)
        said = [head(part) for head, part in zip(self.get_submodule(f"heads{name}").children(), pooled, strict=True)]
        return torch.stack(said, 2) @ weights

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] | None = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        kept = super().prune_intermediate_layers(indices, prune_norm, prune_head)
        for name in self.sets if prune_head else ():
            self.register_parameter(f"weights{name}", None)
        return kept


def unused_keys(keys: Collection[str], model: EfficientViM) -> set[str]:
    """The classifiers that learned from a teacher, where the model has none."""
    taught = "heads_dist.", "weights_dist"
    return set() if model.spec.distilled else {key for key in keys if key.startswith(taught)}


def repair_keys(state_dict: Mapping[str, Tensor], model: EfficientViM) -> dict[str, Tensor]:
    """The authors' norms have axes for the cells."""
    return reshape_to_fit(state_dict, model.state_dict())

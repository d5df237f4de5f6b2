"""Sequencer: Tatsunami and Taki, Deep LSTM for Image Classification (arXiv:2205.01972).

Where a transformer attends, an LSTM reads the columns of the map and another one its rows, in both directions. Maps are
(N, H, W, C) inside the trunk.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from functools import partial

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs.sequencer import SequencerSpec
from zoo.core.errors import UsageError
from zoo.models.base import Size, Step
from zoo.models.conv_net import ConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import KeyTable, rename_keys
from zoo.models.layers.drop import make_drop_path
from zoo.models.layers.mlp import Mlp
from zoo.models.layers.patch_embed import as_pair
from zoo.models.layers.stages import BlockPlace, walk_stages
from zoo.models.layers.token_init import init_as_jax

__getattr__ = family_attributes("sequencer")

make_norm = partial(nn.LayerNorm, eps=1e-6)


class Lstm2d(nn.Module):
    """Two bidirectional LSTMs read columns and rows of (N, H, W, C), a linear layer mixes what they say (figure 2)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc = nn.Linear(4 * hidden, channels)
        self.rnn_v = nn.LSTM(channels, hidden, bidirectional=True)
        self.rnn_h = nn.LSTM(channels, hidden, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, _ = x.shape
        # An LSTM takes the positions of a sequence first.
        columns, _ = self.rnn_v(x.transpose(0, 1).flatten(1, 2))
        rows, _ = self.rnn_h(x.permute(2, 0, 1, 3).flatten(1, 2))
        columns = columns.view(height, batch, width, -1).transpose(0, 1)
        rows = rows.view(width, batch, height, -1).permute(1, 2, 0, 3)
        mixed: Tensor = self.fc(torch.cat([columns, rows], 3))
        return mixed


class SequencerBlock(nn.Module):
    """The LSTMs and a perceptron, each on the normed map and with a shortcut."""

    def __init__(self, spec: SequencerSpec, place: BlockPlace, proj_drop: float, drop_path: float) -> None:
        super().__init__()
        channels, stage = place.channels, place.stage
        self.norm1 = make_norm(channels)
        self.rnn_tokens = Lstm2d(channels, spec.hidden_sizes[stage])
        self.drop_path = make_drop_path(drop_path)
        self.norm2 = make_norm(channels)
        self.mlp_channels = Mlp(channels, int(spec.mlp_ratios[stage] * channels), drop=proj_drop)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.rnn_tokens(self.norm1(x)))
        return x + self.drop_path(self.mlp_channels(self.norm2(x)))


class Downsample(nn.Module):
    """Patches of a map (N, H, W, C), embedded."""

    def __init__(self, in_channels: int, channels: int, patch: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(in_channels, channels, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x.permute(0, 3, 1, 2))
        return x.permute(0, 2, 3, 1)


class Sequencer2d(ConvNet):
    """Stem, four stages, norm, pooling, classifier `head.fc`."""

    spec: SequencerSpec
    default_out_indices = (0, 1, 2)

    def build(self, img_size: int | Size = 224, proj_drop_rate: float = 0.0, drop_path_rate: float = 0.0) -> None:
        """Images of any size that holds a patch will do. Every block has the same rate of stochastic depth."""
        spec, patch = self.spec, self.spec.patch_sizes[0]
        if min(as_pair(img_size)) < patch * spec.patch_sizes[1]:
            raise UsageError(f"The sides of an image must be {patch * spec.patch_sizes[1]} or more, found {img_size}.")
        self.stem = nn.Sequential(OrderedDict(proj=nn.Conv2d(self.in_chans, spec.embed_dims[0], patch, patch)))
        self.stages = nn.Sequential()
        widths = [[channels] * depth for channels, depth in zip(spec.embed_dims, spec.layers, strict=True)]
        for places in walk_stages(widths, spec.embed_dims[0], patch, strides=(1, *spec.patch_sizes[1:])):
            first, last = places[0], places[-1]
            downsample: nn.Module = nn.Identity()
            if first.stage:
                downsample = Downsample(first.in_channels, first.channels, spec.patch_sizes[first.stage])
            blocks = [SequencerBlock(spec, place, proj_drop_rate, drop_path_rate) for place in places]
            self.stages.append(nn.Sequential(OrderedDict(downsample=downsample, blocks=nn.Sequential(*blocks))))
            self.feature_info.append(last.level(f"stages.{last.stage}"))
        self.num_features = spec.embed_dims[-1]
        self.norm = make_norm(self.num_features)

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "stem", lambda x: self.stem(x).permute(0, 2, 3, 1)
        yield from list(super().steps())[1:]

    def finish(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        return x.permute(0, 3, 1, 2)

    def feature_map(self, x: Tensor, size: Size, level: int) -> Tensor:  # noqa: ARG002 - the map has its own
        return x.permute(0, 3, 1, 2).contiguous()

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        init_as_jax(name, module)
        if name == self.spec.classifier and self.num_classes:
            nn.init.zeros_(module.get_parameter("weight"))


AUTHORS_KEYS: KeyTable = {
    # The stage before counts the downsampling among its blocks.
    r"^blocks\.(\d+)\.\d+\.down\.": lambda stage: f"stages.{int(stage[1]) + 1}.downsample.down.",
    r"^blocks\.(\d+)\.(\d+)\.": r"stages.\1.blocks.\2.",
    r"^head\.": "head.fc.",
}


def repair_keys(state_dict: Mapping[str, Tensor], model: Sequencer2d) -> dict[str, Tensor]:  # noqa: ARG001
    """The names of the authors' files."""
    if "stages.0.blocks.0.norm1.weight" in state_dict:
        return dict(state_dict)
    return rename_keys(state_dict, AUTHORS_KEYS)

"""MobileNetV5: the image encoder of Gemma 3n, of the blocks of MobileNetV4 (Qin et al., arXiv:2404.10518)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, MutableMapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.core.architectures.block_rows import UniversalBottleneck
from zoo.core.architectures.configs.efficientnet import EfficientNetSpec
from zoo.core.architectures.configs.mobilenetv5 import EncoderSpec, MobileNetV5Spec
from zoo.core.errors import UsageError
from zoo.models.base import Step
from zoo.models.efficientnet import EfficientNet
from zoo.models.entrypoints import family_attributes
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.mbconv import BlockStyle, make_block
from zoo.models.layers.stages import BlockPlace
from zoo.models.layers.tracing import leaf_function

__getattr__ = family_attributes("mobilenetv5")


class MultiScaleFusion(nn.Module):
    """Maps of several resolutions, brought to that of the first, then a feed-forward network and one output size."""

    def __init__(self, style: BlockStyle, in_channels: int, channels: int, resolution: int) -> None:
        super().__init__()
        row = UniversalBottleneck(channels=channels, kernel=0, expand=2, skip=False)
        self.ffn = make_block(replace(style, layer_scale=0.0), row, BlockPlace(in_channels, channels))
        self.norm = style.norm_act(channels, act="identity")
        self.size = (resolution, resolution)

    def forward(self, first: Tensor, *others: Tensor) -> Tensor:
        """(N, C, H, W), where the first is the largest -> (N, channels, resolution, resolution)."""
        size = first.shape[-2:]
        x = self.ffn(torch.cat([first, *(F.interpolate(x, size=size, mode="nearest") for x in others)], 1))
        return self.norm(shrunk(x, self.size))


@leaf_function
def shrunk(x: Tensor, size: tuple[int, int]) -> Tensor:
    """A map (N, C, H, W) in another height and width: averages where they divide its own."""
    pairs = list(zip(x.shape[2:], size, strict=True))
    if any(cells % wanted for cells, wanted in pairs):
        return F.interpolate(x, size=size, mode="bilinear")
    return x if x.shape[2:] == size else F.avg_pool2d(x, [cells // wanted for cells, wanted in pairs])


class MobileNetV5(EfficientNet):
    """Stem, four stages, fusion of the last two `msfa`, pooling, classifier `classifier`."""

    spec: MobileNetV5Spec

    def make_style(self) -> BlockStyle:
        return BlockStyle.of(self.spec, layer_scale=self.spec.layer_scale)

    def make_stem(self, spec: EfficientNetSpec, style: BlockStyle) -> None:
        conv = make_conv(self.in_chans, spec.stem_channels, 3, 2, pad_type=spec.pad_type, bias=True)
        self.conv_stem = nn.Sequential(OrderedDict(conv=conv, bn=style.norm_act(spec.stem_channels)))
        self.bn1 = nn.Identity()  # the level's published name

    def make_final_conv(self, spec: EfficientNetSpec, style: BlockStyle, channels: int) -> int:  # noqa: ARG002 - of two
        fused = sum(level["num_chs"] for level in self.feature_info[-2:])
        self.msfa = MultiScaleFusion(style, fused, spec.num_features, self.spec.msfa_output_resolution)
        return spec.num_features

    def steps(self) -> Iterator[tuple[str, Step]]:
        last = self.feature_info[-1]["module"]
        for path, step in super().steps():
            yield path, self.last_stage if path == last else step

    def last_stage(self, x: Tensor) -> Any:
        """The output of the last stage, beside its input where both are to be fused."""
        out = super()._run(self.blocks[-1], x)
        return out if self._last_step else (x, out)

    def _run(self, step: Step, x: Tensor) -> Tensor:
        # The last stage is checkpointed part by part, as the others are.
        return step(x) if step == self.last_stage else super()._run(step, x)

    def level_state(self, x: Any, level: int) -> Tensor:  # noqa: ARG002 - the trunk carries two maps at its end
        return x[-1] if isinstance(x, tuple) else x

    def finish(self, x: Any) -> Tensor:
        out: Tensor = self.msfa(*x)
        return out


class MobileNetV5Encoder(MobileNetV5):
    """The network without a head: it gives the fused map (N, channels, H, W), and takes no number of classes."""

    spec: EncoderSpec

    def __init__(self, spec: EncoderSpec, num_classes: int = 0, in_chans: int = 3, **options: Any) -> None:  # noqa: ARG002
        super().__init__(spec, num_classes=0, in_chans=in_chans, **{**options, "global_pool": ""})

    def check_head(self, global_pool: str) -> None:
        if self.num_classes or global_pool:
            raise UsageError(
                "This is an encoder without pooling and classifier.", hint="mobilenetv5_300m is the same with both."
            )


# Gemma 3n's own files hold the encoder beside the language model.
GEMMA_PREFIX = "model.vision_tower.timm_model."


def unused_keys(keys: Collection[str], model: nn.Module) -> set[str]:  # noqa: ARG001
    """Of Gemma's files: the rest."""
    rest = {key for key in keys if not key.startswith(GEMMA_PREFIX)}
    return rest if len(rest) < len(keys) else set()


def repair_keys(state_dict: MutableMapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:  # noqa: ARG001
    """Rename the encoder of Gemma's files."""
    return {key.removeprefix(GEMMA_PREFIX): value for key, value in state_dict.items()}

"""Networks built from tables of blocks.

Lin et al., GENet (arXiv:2006.14090); Ding et al., RepVGG (arXiv:2101.03697); Vasu et al., MobileOne (arXiv:2206.04040);
Dollar et al., RegNetZ (arXiv:2103.06877); Radford et al., the ResNets of CLIP (arXiv:2103.00020); ResNets with
attention: SE (arXiv:1709.01507), ECA (arXiv:1910.03151), GC (arXiv:1904.11492), BAT (CVPR 2020).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, MutableMapping
from math import sqrt
from typing import Any

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.block_rows import make_divisible
from zoo.core.architectures.configs.byobnet import AttentionPooledSpec, Blocks, ByobNetSpec
from zoo.models.base import FeatureDict, Step
from zoo.models.byobnet_blocks import BlockPlace, BlockStyle, ResidualBlock, make_block
from zoo.models.conv_net import DilatedConvNet
from zoo.models.entrypoints import family_attributes
from zoo.models.key_table import KeyTable, rename_keys
from zoo.models.layers.attention_pool2d import AttentionPool2d
from zoo.models.layers.channel_attention import GlobalContext
from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.drop import drop_path_schedule
from zoo.models.layers.head import NormMlpHead
from zoo.models.layers.norm import norm_factory
from zoo.models.layers.patch_embed import as_pair

__getattr__ = family_attributes("byobnet")


class Stem(nn.Sequential):
    """Convolutions `conv1`, `conv2`, ..., then `pool`: 4 times smaller. Without pooling the last has a second stride.

    Attributes:
        levels: (module name, channels, reduction) of what is there before and after the second halving.
    """

    def __init__(self, style: BlockStyle, in_chans: int, widths: list[int], kernel: int) -> None:
        super().__init__()
        spec = style.spec
        num_bare = 2 if spec.stem_type == "quad2" else 0
        channels = in_chans
        for index, width in enumerate(widths):
            is_last = index == len(widths) - 1
            stride = 2 if index == 0 or (is_last and not spec.stem_pool) else 1
            if index < num_bare:
                conv: nn.Module = make_conv(channels, width, kernel, stride)
            else:
                conv = style.conv(channels, width, kernel, stride, antialias=False)
            self.add_module(f"conv{index + 1}", conv)
            channels = width
        if spec.stem_pool:
            pool = nn.AvgPool2d(2) if spec.stem_pool == "avg2" else nn.MaxPool2d(3, stride=2, padding=1)
            self.add_module("pool", pool)
        before, last = list(self._modules)[-2:]
        self.levels = [(before, widths[-1 if spec.stem_pool else -2], 2), (last, widths[-1], 4)]


class ByobNet(DilatedConvNet):
    """Stem, stages of blocks, a 1x1 convolution, pooling, classifier `head.fc`."""

    spec: ByobNetSpec
    head: Any

    def build(self, output_stride: int, drop_path_rate: float) -> None:
        spec, in_chans = self.spec, self.in_chans
        style = BlockStyle(spec)
        level = self._make_stem(style, in_chans)
        level = self._make_stages(style, level, output_stride, drop_path_rate)
        self.num_features = round(spec.num_features * spec.width_factor) or level["num_chs"]
        self.final_conv: nn.Module = nn.Identity()
        if spec.num_features:
            self.final_conv = style.conv(level["num_chs"], self.num_features)
        self.feature_info.append({**level, "num_chs": self.num_features, "module": "final_conv"})

    def _make_stem(self, style: BlockStyle, in_chans: int) -> FeatureDict:
        """Create `stem`; returns the level of its output, `feature_info` gets one before it."""
        spec, widths = style.spec, style.spec.stem_widths
        kernel = 7 if spec.stem_type == "7x7" else 3
        self.feature_info = []
        if spec.stem_type not in ("rep", "one") and (spec.stem_pool or len(widths) > 1):
            self.stem: nn.Module = Stem(style, in_chans, widths, kernel)
            levels = [
                {"num_chs": width, "reduction": reduction, "module": f"stem.{name}"}
                for name, width, reduction in self.stem.levels
            ]
            self.feature_info.append(levels[0])
            return levels[1]
        if spec.stem_type in ("rep", "one"):
            row = Blocks(spec.stem_type, 1, widths[0], attention=spec.stem_type == "rep")
            self.stem = make_block(style, row, BlockPlace(in_chans, widths[0], 2, 1, 1, 0.0))
        else:
            self.stem = style.conv(in_chans, widths[0], kernel, 2, antialias=False)
        return {"num_chs": widths[0], "reduction": 2, "module": "stem"}

    def _make_stages(
        self, style: BlockStyle, level: FeatureDict, output_stride: int, drop_path_rate: float
    ) -> FeatureDict:
        """Create `stages`; returns the level of the last, `feature_info` gets those before each stride."""
        stages = [stage if isinstance(stage, tuple) else (stage,) for stage in style.spec.stages]
        rates = iter(drop_path_schedule(drop_path_rate, sum(row.depth for rows in stages for row in rows)))
        channels, reduction, dilation = level["num_chs"], level["reduction"], 1
        self.stages = nn.Sequential()
        for index, rows in enumerate(stages):
            stride = rows[0].stride
            if stride > 1:
                self.feature_info.append(level)
            if stride > 1 and reduction >= output_stride:
                dilation, stride = dilation * stride, 1
            reduction *= stride
            first_dilation = 1 if dilation in (1, 2) else 2
            stage = nn.Sequential()
            for row in rows:
                width = make_divisible(row.channels * style.spec.width_factor)
                for _ in range(row.depth):
                    place = BlockPlace(channels, width, stride, first_dilation, dilation, next(rates))
                    stage.append(make_block(style, row, place))
                    channels, stride, first_dilation = width, 1, dilation
            self.stages.append(stage)
            level = {"num_chs": channels, "reduction": reduction, "module": f"stages.{index}"}
        return level

    def make_head(self, global_pool: str) -> None:
        spec = self.spec
        if spec.head_hidden_size and not hasattr(self, "head"):
            norm = norm_factory(spec.norm_layer)
            self.head = NormMlpHead(self.num_features, norm, spec.head_hidden_size, spec.act_layer)
        super().make_head(global_pool)

    def before_classifier(self, x: Tensor) -> Tensor:
        return self.head(x) if self.spec.head_hidden_size else x

    def classifier_width(self, pooled: int) -> int:
        return self.head.width(pooled) if self.spec.head_hidden_size else pooled

    def steps(self) -> Iterator[tuple[str, Step]]:
        if isinstance(self.stem, Stem):
            for name, part in self.stem.named_children():
                yield f"stem.{name}", part
        else:
            yield "stem", self.stem
        for index, stage in enumerate(self.stages):
            yield f"stages.{index}", stage
        yield "final_conv", self.final_conv

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] * module.kernel_size[1] // module.groups
            nn.init.normal_(module.weight, std=sqrt(2 / fan_out))
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
        elif isinstance(module, GlobalContext):
            nn.init.kaiming_normal_(module.conv_attn.weight, nonlinearity="relu")
            nn.init.zeros_(module.mlp_add.get_parameter("fc2.weight"))
        elif isinstance(module, ResidualBlock) and self.spec.zero_init_last and module.shortcut is not None:
            # Each branch starts as zero, so the network as the identity (arXiv:1706.02677, section 5.1).
            nn.init.zeros_(module.get_parameter(f"{module.last_conv}.bn.weight"))
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


class AttentionPooledByobNet(ByobNet):
    """A byobnet that pools by attention, classifier `head.proj`. `global_pool` is 'token', or '' for maps."""

    spec: AttentionPooledSpec

    def __init__(
        self,
        spec: AttentionPooledSpec,
        num_classes: int = 1000,
        in_chans: int = 3,
        output_stride: int = 32,
        global_pool: str = "token",
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__(spec, num_classes, in_chans, output_stride, global_pool, drop_rate, drop_path_rate)

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


# ---------------------------------------------------------------- published files of other layouts

# The image towers of CLIP as their authors published them.
CLIP_KEYS: KeyTable = {
    r"^visual\.": "",
    r"^conv(\d)\.": r"stem.conv\1.conv.",
    r"^bn(\d)\.": r"stem.conv\1.bn.",
    r"^layer(\d)\.": lambda found: f"stages.{int(found[1]) - 1}.",
    r"\.downsample\.0\.": ".shortcut.conv.conv.",
    r"\.downsample\.1\.": ".shortcut.conv.bn.",
    r"\.(conv|bn)([13])\.(?=\w+$)": r".conv\2_1x1.\1.",
    r"\.(conv|bn)2\.(?=\w+$)": r".conv2_kxk.\1.",
    r"^attnpool\.positional_embedding$": "head.pos_embed",
    r"^attnpool\.([qkv])_proj\.": r"head.\1.",
    r"^attnpool\.c_proj\.": "head.proj.",
}


def unused_keys(keys: Collection[str], model: ByobNet) -> set[str]:
    """Of CLIP's own files, which hold an image tower under `visual.`: the rest."""
    if "visual.conv1.weight" not in keys:
        return set()
    pool = () if isinstance(model, AttentionPooledByobNet) else ("visual.attnpool.",)
    return {key for key in keys if not key.startswith("visual.") or key.startswith(pool)}


def repair_keys(state_dict: MutableMapping[str, Tensor], model: ByobNet) -> MutableMapping[str, Tensor]:  # noqa: ARG001
    """Rename the image tower of CLIP's own files."""
    return rename_keys(state_dict, CLIP_KEYS) if "visual.conv1.weight" in state_dict else state_dict

"""Rows of the block tables that mobile-network papers print, and the scaling that turns a table into a network.

Standard library only. A stage is one row, or several rows that follow each other without a change of resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from zoo.core.errors import UsageError

Kernel = int | tuple[int, ...]
"""Size of a square kernel; several sizes share the channels between them (MixConv, arXiv:1907.09595)."""


@dataclass(frozen=True, kw_only=True)
class BlockRow:
    """`repeat` blocks of `channels` outputs, the first with `stride`.

    `act` replaces the network's activation. `group_size` is the number of channels of one convolution group: 1 is
    depthwise, 0 one group of all. `skip` adds the input where the shapes allow it.
    """

    channels: int
    repeat: int = 1
    kernel: Kernel = 3
    stride: int = 1
    act: str = ""
    group_size: int = 0
    skip: bool = True

    @property
    def halves_resolution(self) -> bool:
        return self.stride > 1


@dataclass(frozen=True, kw_only=True)
class Conv(BlockRow):
    """Convolution, norm, activation."""

    kernel: int = 3
    skip: bool = False


@dataclass(frozen=True, kw_only=True)
class DepthwiseConv(BlockRow):
    """Depthwise, then pointwise convolution (MobileNet, arXiv:1704.04861).

    `se` is the width of squeeze-and-excitation against the block's input (or what the network measures it against,
    here and in the other blocks). `project_act` puts an activation after the
    pointwise convolution too. `space_to_depth` runs the stage at half the resolution and four times the channels
    (EfficientNet-X, arXiv:2102.05610); the next stage takes both back.
    """

    group_size: int = 1
    se: float = 0.0
    project_act: bool = False
    space_to_depth: bool = False

    @property
    def halves_resolution(self) -> bool:
        return self.stride > 1 or self.space_to_depth


@dataclass(frozen=True, kw_only=True)
class MBConv(BlockRow):
    """Pointwise expansion, depthwise convolution, pointwise projection: the inverted residual (arXiv:1801.04381).

    `experts` is the number of kernels that CondConv mixes by input (arXiv:1904.04971), 0 for ordinary convolutions.
    """

    group_size: int = 1
    expand: float
    se: float = 0.0
    experts: int = 0
    expand_kernel: Kernel = 1
    project_kernel: Kernel = 1


@dataclass(frozen=True, kw_only=True)
class FusedMBConv(BlockRow):
    """MBConv whose expansion and depthwise convolution are one dense convolution (EfficientNet-EdgeTPU).

    `expand_from` is the width that `expand` multiplies where that is not the block's input.
    """

    kernel: int = 3
    expand: float
    expand_from: int = 0
    se: float = 0.0


@dataclass(frozen=True, kw_only=True)
class UniversalBottleneck(BlockRow):
    """The universal inverted bottleneck of MobileNetV4 (arXiv:2404.10518, section 3).

    `start_kernel` is that of a depthwise convolution before the expansion, `kernel` of the one after it; 0 leaves it
    out. The stride is on the latter where it is there.
    """

    group_size: int = 1
    start_kernel: int = 0
    kernel: int = 3
    expand: float


@dataclass(frozen=True, kw_only=True)
class MobileAttention(BlockRow):
    """Multi-query attention over the positions of a map (arXiv:2404.10518, section 4).

    All `num_heads` heads, of `head_dim` channels each, share one set of keys and values. A depthwise convolution of
    size `kernel` with `kv_stride` makes the map from which these are computed, where that is above 1.
    """

    kernel: int = 3
    num_heads: int
    head_dim: int
    kv_stride: int = 1


Stage = BlockRow | tuple[BlockRow, ...]


def make_divisible(value: float, divisor: int = 8, round_limit: float = 0.9) -> int:
    """Nearest multiple of `divisor`, at least one; a step up where it would fall below `round_limit * value`."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < round_limit * value else rounded


def scale_repeats(repeats: Sequence[int], depth: float, rounding: str = "ceil") -> list[int]:
    """Repeats of one stage's rows at a network depth of `depth`, at least one each.

    The stage's sum is scaled (`rounding` "ceil" as in arXiv:1905.11946, or "round") and shared out in proportion from
    the last row on, so that what is left over goes to later rows.
    """
    if rounding not in ("ceil", "round"):
        raise UsageError(f"depth_trunc must be 'ceil' or 'round', found {rounding!r}.")
    left = sum(repeats)
    scaled_left = max(1, round(left * depth)) if rounding == "round" else ceil(left * depth)
    scaled = []
    for count in reversed(repeats):
        share = max(1, round(count / left * scaled_left))
        scaled.append(share)
        left -= count
        scaled_left -= share
    return scaled[::-1]


def scale_stages(
    stages: Sequence[Stage],
    *,
    width: float = 1.0,
    depth: float | Sequence[float] = 1.0,
    divisor: int = 8,
    round_limit: float = 0.9,
    rounding: str = "ceil",
    keep_ends: bool = False,
    group_size: int = 0,
) -> list[list[BlockRow]]:
    """The blocks of a network, a list per stage: compound scaling (arXiv:1905.11946, section 3.3) of a table.

    Args:
        width, depth: multipliers of channels and repeats; `depth` may be given per stage.
        divisor, round_limit: how channels are rounded, see make_divisible.
        rounding: of repeats, see scale_repeats.
        keep_ends: do not scale the repeats of the first and the last stage.
        group_size: replaces that of rows which leave it at its default; 0 replaces none.
    """
    depths = [float(depth)] * len(stages) if isinstance(depth, int | float) else list(depth)
    if len(depths) != len(stages):
        raise UsageError(f"{len(stages)} stages need as many depth multipliers, found {len(depths)}.")
    if keep_ends:
        depths[0] = depths[-1] = 1.0

    scaled: list[list[BlockRow]] = []
    for stage, stage_depth in zip(stages, depths, strict=True):
        rows = stage if isinstance(stage, tuple) else (stage,)
        repeats = scale_repeats([row.repeat for row in rows], stage_depth, rounding)
        blocks: list[BlockRow] = []
        for row, repeat in zip(rows, repeats, strict=True):
            channels = make_divisible(row.channels * width, divisor, round_limit)
            block = replace(row, channels=channels, repeat=1)
            if group_size and row.group_size == type(row).group_size:
                block = replace(block, group_size=group_size)
            if isinstance(block, FusedMBConv) and block.expand_from:
                block = replace(block, expand_from=make_divisible(block.expand_from * width, divisor, round_limit))
            blocks += [block] * repeat
        scaled.append([blocks[0], *(replace(block, stride=1) for block in blocks[1:])])
    return _fold_space_to_depth(scaled)


def _fold_space_to_depth(stages: list[list[BlockRow]]) -> list[list[BlockRow]]:
    """Give a space-to-depth stage its channels, and let the stage after it start from there without its stride."""
    for index, blocks in enumerate(stages):
        first = blocks[0]
        if isinstance(first, DepthwiseConv) and first.space_to_depth:
            widths = [4 * block.channels for block in blocks]
            rest = [replace(first, channels=width, stride=1, space_to_depth=False) for width in widths[1:]]
            stages[index] = [replace(first, channels=widths[0]), *rest]
            after = stages[index + 1][0]
            assert isinstance(after, MBConv | FusedMBConv)  # what EfficientNet-X and -H have
            stages[index + 1][0] = replace(after, stride=1, expand=after.expand / 4)
    return stages

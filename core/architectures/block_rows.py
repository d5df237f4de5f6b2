"""Rows of the block tables in mobile-network papers, and the scaling that turns a table into a network.

Standard library only. A stage is one row, or several consecutive rows at one resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from zoo.core.errors import UsageError

Kernel = int | tuple[int, ...]
"""Size of a square kernel; several sizes divide the channels among them (MixConv, arXiv:1907.09595)."""


@dataclass(frozen=True, kw_only=True)
class BlockRow:
    """`repeat` blocks of `channels` outputs, the first with `stride`.

    `act` replaces the network's activation. `group_size` is the number of channels per convolution group: 1 is
    depthwise, 0 is one group of all channels. `skip` adds the input where the shapes allow it.
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

    `se` is the width of squeeze-and-excitation relative to the block's input (or to the network's own reference, here
    and in the other blocks). `project_act` adds an activation after the pointwise convolution. `space_to_depth` runs
    the stage at half the resolution and four times the channels (EfficientNet-X, arXiv:2102.05610); the next stage
    undoes both.
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

    `experts` is the number of kernels that CondConv mixes depending on the input (arXiv:1904.04971); 0 means ordinary
    convolutions.
    """

    group_size: int = 1
    expand: float
    se: float = 0.0
    experts: int = 0
    expand_kernel: Kernel = 1
    project_kernel: Kernel = 1


@dataclass(frozen=True, kw_only=True)
class FusedMBConv(BlockRow):
    """MBConv with its expansion and depthwise convolution fused into one dense convolution (EfficientNet-EdgeTPU).

    `expand_from` is the width that `expand` multiplies if it is not the block's input.
    """

    kernel: int = 3
    expand: float
    expand_from: int = 0
    se: float = 0.0


@dataclass(frozen=True, kw_only=True)
class UniversalBottleneck(BlockRow):
    """The universal inverted bottleneck of MobileNetV4 (arXiv:2404.10518, section 3).

    `start_kernel` is the kernel size of a depthwise convolution before the expansion, `kernel` that of one after it; 0
    leaves it out. If both exist, the second one has the stride.
    """

    group_size: int = 1
    start_kernel: int = 0
    kernel: int = 3
    expand: float


@dataclass(frozen=True, kw_only=True)
class MobileAttention(BlockRow):
    """Multi-query attention over the positions of a map (arXiv:2404.10518, section 4).

    All `num_heads` heads, of `head_dim` channels each, share one set of keys and values. A depthwise convolution of
    size `kernel` with `kv_stride` makes the map from which these are computed, if `kv_stride` is above 1.
    """

    kernel: int = 3
    num_heads: int
    head_dim: int
    kv_stride: int = 1


Stage = BlockRow | tuple[BlockRow, ...]


def make_divisible(value: float, divisor: int = 8, round_limit: float = 0.9) -> int:
    """Round to the nearest multiple of `divisor`, at least one; up if the result is below `round_limit * value`."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < round_limit * value else rounded


def scale_repeats(repeats: Sequence[int], depth: float, rounding: str = "ceil") -> list[int]:
    """Scale the repeats of one stage's rows by `depth`, to at least one each.

    The stage's sum is scaled (`rounding` "ceil" as in arXiv:1905.11946, or "round") and distributed in proportion,
    starting from the last row, so that the remainder goes to later rows.
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
    """Scale a table to the blocks of a network, one list per stage: compound scaling (arXiv:1905.11946, section 3.3).

    Args:
        width, depth: multipliers of channels and repeats; `depth` may be given per stage.
        divisor, round_limit: how channels are rounded, see make_divisible.
        rounding: how repeats are rounded, see scale_repeats.
        keep_ends: do not scale the repeats of the first and the last stage.
        group_size: replaces the default in rows that leave it unset; 0 replaces none.
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
    """Set the channels of a space-to-depth stage, and make the next stage start from them without a stride."""
    for index, blocks in enumerate(stages):
        first = blocks[0]
        if isinstance(first, DepthwiseConv) and first.space_to_depth:
            widths = [4 * block.channels for block in blocks]
            rest = [replace(first, channels=width, stride=1, space_to_depth=False) for width in widths[1:]]
            stages[index] = [replace(first, channels=widths[0]), *rest]
            after = stages[index + 1][0]
            assert isinstance(after, MBConv | FusedMBConv)  # as in EfficientNet-X and -H
            stages[index + 1][0] = replace(after, stride=1, expand=after.expand / 4)
    return stages

"""HardCoRe-NAS variants and their published weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from zoo.core.architectures.block_rows import Conv, DepthwiseConv, MBConv
from zoo.core.architectures.configs.mobilenetv3 import MobileNetV3Spec, v3
from zoo.core.architectures.records import Weights

Block = Callable[..., MBConv]

# Of each searched stage: channels, stride of its first block, activation ("" for the network's).
STAGES = ((24, 2, "relu"), (40, 2, "relu"), (80, 2, ""), (112, 1, ""), (192, 2, ""))


def plain(kernel: int, expand: int) -> Block:
    return partial(MBConv, kernel=kernel, expand=expand)


def se(kernel: int, expand: int) -> Block:
    return partial(MBConv, kernel=kernel, expand=expand, se=0.25)


def network(*chosen: list[Block]) -> MobileNetV3Spec:
    """MobileNetV3 with these blocks in its searched stages (arXiv:2102.11646)."""
    first = DepthwiseConv(kernel=3, stride=1, channels=16, act="relu")
    searched = [
        tuple(
            block(channels=channels, stride=1 if position else stride, act=act) for position, block in enumerate(blocks)
        )
        for blocks, (channels, stride, act) in zip(chosen, STAGES, strict=True)
    ]
    return v3((first, *searched, Conv(kernel=1, stride=1, channels=960)), stem_size=32)


VARIANTS = {
    "hardcorenas_a": network([plain(5, 3), se(5, 3)], [plain(5, 3), se(5, 6)], *[[se(5, 6), se(5, 6)]] * 3),
    "hardcorenas_b": network(
        [plain(5, 3), se(5, 3), plain(3, 3)],
        [plain(5, 3), plain(5, 3), plain(5, 3)],
        [plain(5, 3), plain(5, 3), plain(3, 3), plain(3, 3)],
        [plain(5, 3), plain(3, 3), plain(3, 3), plain(3, 3)],
        [se(5, 6), se(5, 6), se(3, 3)],
    ),
    "hardcorenas_c": network(
        [plain(5, 3), se(5, 3)],
        [plain(5, 3), plain(5, 3), plain(5, 3), plain(5, 3)],
        [plain(5, 4), se(5, 6), plain(3, 3), plain(3, 3)],
        [se(5, 6), plain(3, 3), plain(3, 3), plain(3, 3)],
        [se(5, 6), se(5, 6), se(3, 3)],
    ),
    "hardcorenas_d": network(
        [se(5, 3), se(5, 3)],
        [se(5, 3), se(5, 4), se(3, 3)],
        [se(5, 4), se(3, 3), se(3, 3), se(3, 3)],
        [se(3, 4), se(5, 4), se(3, 3), se(5, 3)],
        [se(5, 6), se(5, 6), se(5, 6), se(3, 6)],
    ),
    "hardcorenas_e": network(
        [se(5, 3), se(5, 3)],
        [se(5, 6), se(5, 4), se(5, 4), se(3, 3)],
        [se(5, 4), se(3, 6)],
        [se(5, 6), se(5, 6), se(5, 6), se(5, 3)],
        [se(5, 6), se(5, 6), se(5, 6), se(3, 6)],
    ),
    "hardcorenas_f": network(
        [se(5, 3), se(5, 3)],
        [se(5, 6), se(5, 6)],
        [se(5, 6), se(5, 6), se(3, 3), se(3, 3)],
        [se(3, 6), se(5, 6), se(5, 6), se(3, 3)],
        [se(5, 6), se(5, 6), se(3, 6), se(3, 6)],
    ),
}

WEIGHTS = {f"{name}.miil_green_in1k": Weights(interpolation="bilinear") for name in VARIANTS}

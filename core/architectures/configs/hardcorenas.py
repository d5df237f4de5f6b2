"""HardCoRe-NAS variants and their published weights."""

from __future__ import annotations

from typing import NamedTuple

from zoo.core.architectures.block_rows import Conv, DepthwiseConv, MBConv, Stage
from zoo.core.architectures.configs.mobilenetv3 import MobileNetV3Spec, v3
from zoo.core.architectures.records import Weights


class Searched(NamedTuple):
    """What the search chooses for a block: kernel, expansion, ratio of squeeze-and-excitation."""

    kernel: int
    expand: int
    se: float = 0.0


class SearchedStage(NamedTuple):
    """What is given of a stage: channels, stride of its first block, activation ("" for the network's)."""

    channels: int
    stride: int
    act: str = ""

    def rows(self, blocks: list[Searched]) -> Stage:
        return tuple(
            MBConv(
                kernel=block.kernel,
                stride=1 if position else self.stride,
                expand=block.expand,
                channels=self.channels,
                se=block.se,
                act=self.act,
            )
            for position, block in enumerate(blocks)
        )


STAGES = (
    SearchedStage(24, 2, "relu"),
    SearchedStage(40, 2, "relu"),
    SearchedStage(80, 2),
    SearchedStage(112, 1),
    SearchedStage(192, 2),
)


def plain(kernel: int, expand: int) -> Searched:
    return Searched(kernel, expand)


def se(kernel: int, expand: int) -> Searched:
    return Searched(kernel, expand, 0.25)


def network(*blocks: list[Searched]) -> MobileNetV3Spec:
    """MobileNetV3 with these blocks in its five searched stages (arXiv:2102.11646)."""
    first = DepthwiseConv(kernel=3, stride=1, channels=16, act="relu")
    searched = [stage.rows(chosen) for stage, chosen in zip(STAGES, blocks, strict=True)]
    return v3((first, *searched, Conv(kernel=1, stride=1, channels=960)), stem_size=32)


VARIANTS = {
    "hardcorenas_a": network(
        [plain(5, 3), se(5, 3)],
        [plain(5, 3), se(5, 6)],
        [se(5, 6), se(5, 6)],
        [se(5, 6), se(5, 6)],
        [se(5, 6), se(5, 6)],
    ),
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

"""The block tables of the mobilenetv3 family, as their papers and reference implementations print them."""

from __future__ import annotations

from typing import Any

from zoo.core.architectures.block_rows import (
    BlockRow,
    Conv,
    DepthwiseConv,
    FusedMBConv,
    MBConv,
    MobileAttention,
    Stage,
    UniversalBottleneck,
)

Stages = tuple[Stage, ...]


def mobilenetv3_large(minimal: bool = False, skip: bool = True) -> Stages:
    """MobileNetV3-Large (arXiv:1905.02244, table 1).

    The minimal version has neither 5x5 kernels, attention nor activations of its own; without `skip` the first block
    has no residual connection.
    """
    kernel, se = (3, 0.0) if minimal else (5, 0.25)
    relu = "" if minimal else "relu"
    return (
        DepthwiseConv(repeat=1, kernel=3, stride=1, channels=16, act=relu, skip=skip),
        (
            MBConv(repeat=1, kernel=3, stride=2, expand=4, channels=24, act=relu),
            MBConv(repeat=1, kernel=3, stride=1, expand=3, channels=24, act=relu),
        ),
        MBConv(repeat=3, kernel=kernel, stride=2, expand=3, channels=40, se=se, act=relu),
        (
            MBConv(repeat=1, kernel=3, stride=2, expand=6, channels=80),
            MBConv(repeat=1, kernel=3, stride=1, expand=2.5, channels=80),
            MBConv(repeat=2, kernel=3, stride=1, expand=2.3, channels=80),
        ),
        MBConv(repeat=2, kernel=3, stride=1, expand=6, channels=112, se=se),
        MBConv(repeat=3, kernel=kernel, stride=2, expand=6, channels=160, se=se),
        Conv(repeat=1, kernel=1, stride=1, channels=960),
    )


def mobilenetv3_small(minimal: bool = False) -> Stages:
    """MobileNetV3-Small (arXiv:1905.02244, table 2)."""
    kernel, se = (3, 0.0) if minimal else (5, 0.25)
    relu = "" if minimal else "relu"
    return (
        DepthwiseConv(repeat=1, kernel=3, stride=2, channels=16, se=se, act=relu),
        (
            MBConv(repeat=1, kernel=3, stride=2, expand=4.5, channels=24, act=relu),
            MBConv(repeat=1, kernel=3, stride=1, expand=3.67, channels=24, act=relu),
        ),
        (
            MBConv(repeat=1, kernel=kernel, stride=2, expand=4, channels=40, se=se),
            MBConv(repeat=2, kernel=kernel, stride=1, expand=6, channels=40, se=se),
        ),
        MBConv(repeat=2, kernel=kernel, stride=1, expand=3, channels=48, se=se),
        MBConv(repeat=3, kernel=kernel, stride=2, expand=6, channels=96, se=se),
        Conv(repeat=1, kernel=1, stride=1, channels=576),
    )


# FBNetV3 (arXiv:2006.02049) as its authors' code defines it.
FBNETV3_B: Stages = (
    DepthwiseConv(repeat=2, kernel=3, stride=1, channels=16),
    (
        MBConv(repeat=1, kernel=5, stride=2, expand=4, channels=24),
        MBConv(repeat=3, kernel=5, stride=1, expand=2, channels=24),
    ),
    (
        MBConv(repeat=1, kernel=5, stride=2, expand=5, channels=40, se=0.25),
        MBConv(repeat=4, kernel=5, stride=1, expand=3, channels=40, se=0.25),
    ),
    (
        MBConv(repeat=1, kernel=5, stride=2, expand=5, channels=72),
        MBConv(repeat=4, kernel=3, stride=1, expand=3, channels=72),
    ),
    (
        MBConv(repeat=1, kernel=3, stride=1, expand=5, channels=120, se=0.25),
        MBConv(repeat=5, kernel=5, stride=1, expand=3, channels=120, se=0.25),
    ),
    (
        MBConv(repeat=1, kernel=3, stride=2, expand=6, channels=184, se=0.25),
        MBConv(repeat=5, kernel=5, stride=1, expand=4, channels=184, se=0.25),
        MBConv(repeat=1, kernel=5, stride=1, expand=6, channels=224, se=0.25),
    ),
    Conv(repeat=1, kernel=1, stride=1, channels=1344),
)
FBNETV3_D: Stages = (
    DepthwiseConv(repeat=2, kernel=3, stride=1, channels=16),
    (
        MBConv(repeat=1, kernel=3, stride=2, expand=5, channels=24),
        MBConv(repeat=5, kernel=3, stride=1, expand=2, channels=24),
    ),
    (
        MBConv(repeat=1, kernel=5, stride=2, expand=4, channels=40, se=0.25),
        MBConv(repeat=4, kernel=3, stride=1, expand=3, channels=40, se=0.25),
    ),
    (
        MBConv(repeat=1, kernel=3, stride=2, expand=5, channels=72),
        MBConv(repeat=4, kernel=3, stride=1, expand=3, channels=72),
    ),
    (
        MBConv(repeat=1, kernel=3, stride=1, expand=5, channels=128, se=0.25),
        MBConv(repeat=6, kernel=5, stride=1, expand=3, channels=128, se=0.25),
    ),
    (
        MBConv(repeat=1, kernel=3, stride=2, expand=6, channels=208, se=0.25),
        MBConv(repeat=5, kernel=5, stride=1, expand=5, channels=208, se=0.25),
        MBConv(repeat=1, kernel=5, stride=1, expand=6, channels=240, se=0.25),
    ),
    Conv(repeat=1, kernel=1, stride=1, channels=1440),
)
FBNETV3_G: Stages = (
    DepthwiseConv(repeat=3, kernel=3, stride=1, channels=24),
    (
        MBConv(repeat=1, kernel=5, stride=2, expand=4, channels=40),
        MBConv(repeat=4, kernel=5, stride=1, expand=2, channels=40),
    ),
    (
        MBConv(repeat=1, kernel=5, stride=2, expand=4, channels=56, se=0.25),
        MBConv(repeat=4, kernel=5, stride=1, expand=3, channels=56, se=0.25),
    ),
    (
        MBConv(repeat=1, kernel=5, stride=2, expand=5, channels=104),
        MBConv(repeat=4, kernel=3, stride=1, expand=3, channels=104),
    ),
    (
        MBConv(repeat=1, kernel=3, stride=1, expand=5, channels=160, se=0.25),
        MBConv(repeat=8, kernel=5, stride=1, expand=3, channels=160, se=0.25),
    ),
    (
        MBConv(repeat=1, kernel=3, stride=2, expand=6, channels=264, se=0.25),
        MBConv(repeat=6, kernel=5, stride=1, expand=5, channels=264, se=0.25),
        MBConv(repeat=2, kernel=5, stride=1, expand=6, channels=288, se=0.25),
    ),
    Conv(repeat=1, kernel=1, stride=1, channels=1728),
)

# PP-LCNet (arXiv:2109.15099, table 1).
ACTIVATED: dict[str, Any] = {"project_act": True, "skip": False}
LCNET: Stages = (
    DepthwiseConv(repeat=1, kernel=3, stride=1, channels=32, **ACTIVATED),
    DepthwiseConv(repeat=2, kernel=3, stride=2, channels=64, **ACTIVATED),
    DepthwiseConv(repeat=2, kernel=3, stride=2, channels=128, **ACTIVATED),
    (
        DepthwiseConv(repeat=1, kernel=3, stride=2, channels=256, **ACTIVATED),
        DepthwiseConv(repeat=1, kernel=5, stride=1, channels=256, **ACTIVATED),
    ),
    DepthwiseConv(repeat=4, kernel=5, stride=1, channels=256, **ACTIVATED),
    DepthwiseConv(repeat=2, kernel=5, stride=2, channels=512, se=0.25, **ACTIVATED),
)


def uib(start: int, kernel: int, channels: int, expand: float = 4, repeat: int = 1, stride: int = 1) -> BlockRow:
    """MobileNetV4's universal inverted bottleneck (arXiv:2404.10518, section 3), 0 for a kernel that it has not.

    With both depthwise kernels it is the paper's ExtraDW, with `kernel` alone the inverted bottleneck, with `start`
    alone ConvNeXt-like, with none a feed-forward network.
    """
    return UniversalBottleneck(
        repeat=repeat, start_kernel=start, kernel=kernel, stride=stride, expand=expand, channels=channels
    )


def mqa(channels: int, heads: int, head_dim: int, kv_stride: int = 1) -> BlockRow:
    """MobileNetV4's attention, where `kv_stride` 2 halves the resolution of keys and values."""
    return MobileAttention(kernel=3, num_heads=heads, head_dim=head_dim, kv_stride=kv_stride, channels=channels)


# MobileNetV4 (arXiv:2404.10518, appendix D).
FUSED_48 = FusedMBConv(repeat=1, kernel=3, stride=2, expand=4, channels=48)
CONV_960 = Conv(repeat=1, kernel=1, stride=1, channels=960)
MEDIUM_80: Stage = (uib(3, 5, 80, stride=2), uib(3, 3, 80, expand=2))
LARGE_96: Stage = (uib(3, 5, 96, stride=2), uib(3, 3, 96))
LARGE_512 = (
    uib(5, 5, 512, repeat=4, stride=2),
    uib(5, 0, 512),
    uib(5, 3, 512),
    uib(5, 0, 512, repeat=2),
    uib(5, 3, 512),
    uib(5, 5, 512),
)

MOBILENETV4_CONV_SMALL: Stages = (
    (Conv(kernel=3, stride=2, channels=32), Conv(kernel=1, channels=32)),
    (Conv(kernel=3, stride=2, channels=96), Conv(kernel=1, channels=64)),
    (uib(5, 5, 96, expand=3, stride=2), uib(0, 3, 96, expand=2, repeat=4), uib(3, 0, 96)),
    (
        uib(3, 3, 128, expand=6, stride=2),
        uib(5, 5, 128),
        uib(0, 5, 128),
        uib(0, 5, 128, expand=3),
        uib(0, 3, 128, repeat=2),
    ),
    CONV_960,
)
MOBILENETV4_CONV_MEDIUM: Stages = (
    FUSED_48,
    MEDIUM_80,
    (
        uib(3, 5, 160, expand=6, stride=2),
        uib(3, 3, 160, repeat=2),
        uib(3, 5, 160),
        uib(3, 3, 160),
        uib(3, 0, 160),
        uib(0, 0, 160, expand=2),
        uib(3, 0, 160),
    ),
    (
        uib(5, 5, 256, expand=6, stride=2),
        uib(5, 5, 256),
        uib(3, 5, 256, repeat=2),
        uib(0, 0, 256),
        uib(3, 0, 256),
        uib(3, 5, 256, expand=2),
        uib(5, 5, 256),
        uib(0, 0, 256, repeat=2),
        uib(5, 0, 256, expand=2),
    ),
    CONV_960,
)
MOBILENETV4_CONV_LARGE: Stages = (
    FUSED_48,
    LARGE_96,
    (uib(3, 5, 192, stride=2), uib(3, 3, 192, repeat=3), uib(3, 5, 192), uib(5, 3, 192, repeat=5), uib(3, 0, 192)),
    (*LARGE_512, uib(5, 0, 512, repeat=3)),
    CONV_960,
)
MOBILENETV4_HYBRID_MEDIUM: Stages = (
    FUSED_48,
    MEDIUM_80,
    (
        uib(3, 5, 160, expand=6, stride=2),
        uib(0, 0, 160, expand=2),
        uib(3, 3, 160),
        uib(3, 5, 160),
        mqa(160, heads=4, head_dim=64, kv_stride=2),
        uib(3, 3, 160),
        mqa(160, heads=4, head_dim=64, kv_stride=2),
        uib(3, 0, 160),
        mqa(160, heads=4, head_dim=64, kv_stride=2),
        uib(3, 3, 160),
        mqa(160, heads=4, head_dim=64, kv_stride=2),
        uib(3, 0, 160),
    ),
    (
        uib(5, 5, 256, expand=6, stride=2),
        uib(5, 5, 256),
        uib(3, 5, 256, repeat=2),
        uib(0, 0, 256, expand=2),
        uib(3, 5, 256, expand=2),
        uib(0, 0, 256, expand=2),
        uib(0, 0, 256),
        mqa(256, heads=4, head_dim=64),
        uib(3, 0, 256),
        mqa(256, heads=4, head_dim=64),
        uib(5, 5, 256),
        mqa(256, heads=4, head_dim=64),
        uib(5, 0, 256),
        mqa(256, heads=4, head_dim=64),
        uib(5, 0, 256),
    ),
    CONV_960,
)
MOBILENETV4_HYBRID_LARGE: Stages = (
    FUSED_48,
    LARGE_96,
    (
        uib(3, 5, 192, stride=2),
        uib(3, 3, 192, repeat=3),
        uib(3, 5, 192),
        uib(5, 3, 192, repeat=2),
        *(mqa(192, heads=8, head_dim=48, kv_stride=2), uib(5, 3, 192)) * 3,
        mqa(192, heads=8, head_dim=48, kv_stride=2),
        uib(3, 0, 192),
    ),
    (*LARGE_512, *(mqa(512, heads=8, head_dim=64), uib(5, 0, 512)) * 4),
    CONV_960,
)

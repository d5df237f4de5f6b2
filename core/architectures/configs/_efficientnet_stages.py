"""The block tables of the efficientnet family, as their papers and reference implementations print them."""

from __future__ import annotations

from typing import Any

from zoo.core.architectures.block_rows import Conv, DepthwiseConv, FusedMBConv, MBConv, Stage

Stages = tuple[Stage, ...]


def efficientnet(se: float = 0.25, experts: int = 0) -> Stages:
    """EfficientNet-B0 (arXiv:1905.11946, table 1); Lite leaves out the attention, CondConv mixes the last stages."""
    return (
        DepthwiseConv(repeat=1, kernel=3, stride=1, channels=16, se=se),
        MBConv(repeat=2, kernel=3, stride=2, expand=6, channels=24, se=se),
        MBConv(repeat=2, kernel=5, stride=2, expand=6, channels=40, se=se),
        MBConv(repeat=3, kernel=3, stride=2, expand=6, channels=80, se=se),
        MBConv(repeat=3, kernel=5, stride=1, expand=6, channels=112, se=se, experts=experts),
        MBConv(repeat=4, kernel=5, stride=2, expand=6, channels=192, se=se, experts=experts),
        MBConv(repeat=1, kernel=3, stride=1, expand=6, channels=320, se=se, experts=experts),
    )


def efficientnet_x(expand: int) -> Stages:
    """EfficientNet-X (arXiv:2102.05610); `expand` of the stages at high resolution is 6, in EfficientNet-H 4."""
    return (
        DepthwiseConv(repeat=1, kernel=3, stride=1, channels=16, se=0.25, space_to_depth=True),
        FusedMBConv(repeat=2, kernel=3, stride=2, expand=expand, channels=24, se=0.25, act="relu"),
        FusedMBConv(repeat=2, kernel=5, stride=2, expand=expand, channels=40, se=0.25, act="relu"),
        MBConv(repeat=3, kernel=3, stride=2, expand=expand, channels=80, se=0.25),
        MBConv(repeat=3, kernel=5, stride=1, expand=6, channels=112, se=0.25),
        MBConv(repeat=4, kernel=5, stride=2, expand=6, channels=192, se=0.25),
        MBConv(repeat=1, kernel=3, stride=1, expand=6, channels=320, se=0.25),
    )


# EfficientNet-EdgeTPU (Gupta and Tan, 2019). The first expansion is of the block's output width, as in the original.
EFFICIENTNET_EDGE: Stages = (
    FusedMBConv(repeat=1, kernel=3, stride=1, expand=4, expand_from=24, channels=24, skip=False),
    FusedMBConv(repeat=2, kernel=3, stride=2, expand=8, channels=32),
    FusedMBConv(repeat=4, kernel=3, stride=2, expand=8, channels=48),
    MBConv(repeat=5, kernel=5, stride=2, expand=8, channels=96),
    MBConv(repeat=4, kernel=5, stride=1, expand=8, channels=144),
    MBConv(repeat=2, kernel=5, stride=2, expand=8, channels=192),
)

# EfficientNetV2 (arXiv:2104.00298, table 4 and the authors' definitions).
EFFICIENTNETV2_BASE: Stages = (
    Conv(repeat=1, kernel=3, stride=1, channels=16, skip=True),
    FusedMBConv(repeat=2, kernel=3, stride=2, expand=4, channels=32),
    FusedMBConv(repeat=2, kernel=3, stride=2, expand=4, channels=48),
    MBConv(repeat=3, kernel=3, stride=2, expand=4, channels=96, se=0.25),
    MBConv(repeat=5, kernel=3, stride=1, expand=6, channels=112, se=0.25),
    MBConv(repeat=8, kernel=3, stride=2, expand=6, channels=192, se=0.25),
)
EFFICIENTNETV2_S: Stages = (
    Conv(repeat=2, kernel=3, stride=1, channels=24, skip=True),
    FusedMBConv(repeat=4, kernel=3, stride=2, expand=4, channels=48),
    FusedMBConv(repeat=4, kernel=3, stride=2, expand=4, channels=64),
    MBConv(repeat=6, kernel=3, stride=2, expand=4, channels=128, se=0.25),
    MBConv(repeat=9, kernel=3, stride=1, expand=6, channels=160, se=0.25),
    MBConv(repeat=15, kernel=3, stride=2, expand=6, channels=256, se=0.25),
)
# Trained before the authors' release, from the paper's figures: another first and another last stage.
EFFICIENTNETV2_RW: Stages = (
    FusedMBConv(repeat=2, kernel=3, stride=1, expand=1, channels=24),
    *EFFICIENTNETV2_S[1:-1],
    MBConv(repeat=15, kernel=3, stride=2, expand=6, channels=272, se=0.25),
)
EFFICIENTNETV2_M: Stages = (
    Conv(repeat=3, kernel=3, stride=1, channels=24, skip=True),
    FusedMBConv(repeat=5, kernel=3, stride=2, expand=4, channels=48),
    FusedMBConv(repeat=5, kernel=3, stride=2, expand=4, channels=80),
    MBConv(repeat=7, kernel=3, stride=2, expand=4, channels=160, se=0.25),
    MBConv(repeat=14, kernel=3, stride=1, expand=6, channels=176, se=0.25),
    MBConv(repeat=18, kernel=3, stride=2, expand=6, channels=304, se=0.25),
    MBConv(repeat=5, kernel=3, stride=1, expand=6, channels=512, se=0.25),
)
EFFICIENTNETV2_L: Stages = (
    Conv(repeat=4, kernel=3, stride=1, channels=32, skip=True),
    FusedMBConv(repeat=7, kernel=3, stride=2, expand=4, channels=64),
    FusedMBConv(repeat=7, kernel=3, stride=2, expand=4, channels=96),
    MBConv(repeat=10, kernel=3, stride=2, expand=4, channels=192, se=0.25),
    MBConv(repeat=19, kernel=3, stride=1, expand=6, channels=224, se=0.25),
    MBConv(repeat=25, kernel=3, stride=2, expand=6, channels=384, se=0.25),
    MBConv(repeat=7, kernel=3, stride=1, expand=6, channels=640, se=0.25),
)
EFFICIENTNETV2_XL: Stages = (
    Conv(repeat=4, kernel=3, stride=1, channels=32, skip=True),
    FusedMBConv(repeat=8, kernel=3, stride=2, expand=4, channels=64),
    FusedMBConv(repeat=8, kernel=3, stride=2, expand=4, channels=96),
    MBConv(repeat=16, kernel=3, stride=2, expand=4, channels=192, se=0.25),
    MBConv(repeat=24, kernel=3, stride=1, expand=6, channels=256, se=0.25),
    MBConv(repeat=32, kernel=3, stride=2, expand=6, channels=512, se=0.25),
    MBConv(repeat=8, kernel=3, stride=1, expand=6, channels=640, se=0.25),
)
EFFICIENTNET_TEST: Stages = (
    Conv(repeat=1, kernel=3, stride=1, channels=16, skip=True),
    FusedMBConv(repeat=1, kernel=3, stride=2, expand=4, channels=24),
    FusedMBConv(repeat=1, kernel=3, stride=2, expand=4, channels=32),
    MBConv(repeat=1, kernel=3, stride=2, expand=4, channels=48, se=0.25),
    MBConv(repeat=1, kernel=3, stride=2, expand=4, channels=64, se=0.25),
)

# MobileNetV1 (arXiv:1704.04861, table 1) and V2 (arXiv:1801.04381, table 2).
MOBILENETV1: Stages = (
    DepthwiseConv(repeat=1, kernel=3, stride=1, channels=64, project_act=True, skip=False),
    DepthwiseConv(repeat=2, kernel=3, stride=2, channels=128, project_act=True, skip=False),
    DepthwiseConv(repeat=2, kernel=3, stride=2, channels=256, project_act=True, skip=False),
    DepthwiseConv(repeat=6, kernel=3, stride=2, channels=512, project_act=True, skip=False),
    DepthwiseConv(repeat=2, kernel=3, stride=2, channels=1024, project_act=True, skip=False),
)
MOBILENETV2: Stages = (
    DepthwiseConv(repeat=1, kernel=3, stride=1, channels=16),
    MBConv(repeat=2, kernel=3, stride=2, expand=6, channels=24),
    MBConv(repeat=3, kernel=3, stride=2, expand=6, channels=32),
    MBConv(repeat=4, kernel=3, stride=2, expand=6, channels=64),
    MBConv(repeat=3, kernel=3, stride=1, expand=6, channels=96),
    MBConv(repeat=3, kernel=3, stride=2, expand=6, channels=160),
    MBConv(repeat=1, kernel=3, stride=1, expand=6, channels=320),
)

# MnasNet-A1 (with attention), -B1 and -small (arXiv:1807.11626, figure 7).
MNASNET_A1: Stages = (
    DepthwiseConv(repeat=1, kernel=3, stride=1, channels=16, skip=False),
    MBConv(repeat=2, kernel=3, stride=2, expand=6, channels=24),
    MBConv(repeat=3, kernel=5, stride=2, expand=3, channels=40, se=0.25),
    MBConv(repeat=4, kernel=3, stride=2, expand=6, channels=80),
    MBConv(repeat=2, kernel=3, stride=1, expand=6, channels=112, se=0.25),
    MBConv(repeat=3, kernel=5, stride=2, expand=6, channels=160, se=0.25),
    MBConv(repeat=1, kernel=3, stride=1, expand=6, channels=320),
)
MNASNET_B1: Stages = (
    DepthwiseConv(repeat=1, kernel=3, stride=1, channels=16, skip=False),
    MBConv(repeat=3, kernel=3, stride=2, expand=3, channels=24),
    MBConv(repeat=3, kernel=5, stride=2, expand=3, channels=40),
    MBConv(repeat=3, kernel=5, stride=2, expand=6, channels=80),
    MBConv(repeat=2, kernel=3, stride=1, expand=6, channels=96),
    MBConv(repeat=4, kernel=5, stride=2, expand=6, channels=192),
    MBConv(repeat=1, kernel=3, stride=1, expand=6, channels=320, skip=False),
)
MNASNET_SMALL: Stages = (
    DepthwiseConv(repeat=1, kernel=3, stride=1, channels=8),
    MBConv(repeat=1, kernel=3, stride=2, expand=3, channels=16),
    MBConv(repeat=2, kernel=3, stride=2, expand=6, channels=16),
    MBConv(repeat=4, kernel=5, stride=2, expand=6, channels=32, se=0.25),
    MBConv(repeat=3, kernel=3, stride=1, expand=6, channels=32, se=0.25),
    MBConv(repeat=3, kernel=5, stride=2, expand=6, channels=88, se=0.25),
    MBConv(repeat=1, kernel=3, stride=1, expand=6, channels=144),
)

# FBNet-C (arXiv:1812.03443, figure 4).
FBNET_C: Stages = (
    MBConv(repeat=1, kernel=3, stride=1, expand=1, channels=16),
    (
        MBConv(repeat=1, kernel=3, stride=2, expand=6, channels=24),
        MBConv(repeat=2, kernel=3, stride=1, expand=1, channels=24),
    ),
    (
        MBConv(repeat=1, kernel=5, stride=2, expand=6, channels=32),
        MBConv(repeat=1, kernel=5, stride=1, expand=3, channels=32),
        MBConv(repeat=1, kernel=5, stride=1, expand=6, channels=32),
        MBConv(repeat=1, kernel=3, stride=1, expand=6, channels=32),
    ),
    (
        MBConv(repeat=1, kernel=5, stride=2, expand=6, channels=64),
        MBConv(repeat=1, kernel=5, stride=1, expand=3, channels=64),
        MBConv(repeat=2, kernel=5, stride=1, expand=6, channels=64),
    ),
    (
        MBConv(repeat=3, kernel=5, stride=1, expand=6, channels=112),
        MBConv(repeat=1, kernel=5, stride=1, expand=3, channels=112),
    ),
    MBConv(repeat=4, kernel=5, stride=2, expand=6, channels=184),
    MBConv(repeat=1, kernel=3, stride=1, expand=6, channels=352),
)

# Single-Path NAS for the Pixel 1 (arXiv:1904.02877, figure 6).
SPNASNET: Stages = (
    DepthwiseConv(repeat=1, kernel=3, stride=1, channels=16, skip=False),
    MBConv(repeat=3, kernel=3, stride=2, expand=3, channels=24),
    (
        MBConv(repeat=1, kernel=5, stride=2, expand=6, channels=40),
        MBConv(repeat=3, kernel=3, stride=1, expand=3, channels=40),
    ),
    (
        MBConv(repeat=1, kernel=5, stride=2, expand=6, channels=80),
        MBConv(repeat=3, kernel=3, stride=1, expand=3, channels=80),
    ),
    (
        MBConv(repeat=1, kernel=5, stride=1, expand=6, channels=96),
        MBConv(repeat=3, kernel=5, stride=1, expand=3, channels=96),
    ),
    MBConv(repeat=4, kernel=5, stride=2, expand=6, channels=192),
    MBConv(repeat=1, kernel=3, stride=1, expand=6, channels=320, skip=False),
)

# MixNet-S and -M (arXiv:1907.09595, figure 6). A pair of 1x1 kernels splits the channels into two groups.
K35, K357, K3579, SPLIT = (3, 5), (3, 5, 7), (3, 5, 7, 9), (1, 1)
BOTH_SPLIT: dict[str, Any] = {"expand_kernel": SPLIT, "project_kernel": SPLIT}
SWISH: dict[str, Any] = {"act": "silu"}
MIXNET_S: Stages = (
    DepthwiseConv(repeat=1, kernel=3, stride=1, channels=16),
    (
        MBConv(repeat=1, kernel=3, stride=2, expand=6, channels=24, **BOTH_SPLIT),
        MBConv(repeat=1, kernel=3, stride=1, expand=3, channels=24, **BOTH_SPLIT),
    ),
    (
        MBConv(repeat=1, kernel=K357, stride=2, expand=6, channels=40, se=0.5, **SWISH),
        MBConv(repeat=3, kernel=K35, stride=1, expand=6, channels=40, se=0.5, **BOTH_SPLIT, **SWISH),
    ),
    (
        MBConv(repeat=1, kernel=K357, stride=2, expand=6, channels=80, se=0.25, project_kernel=SPLIT, **SWISH),
        MBConv(repeat=2, kernel=K35, stride=1, expand=6, channels=80, se=0.25, project_kernel=SPLIT, **SWISH),
    ),
    (
        MBConv(repeat=1, kernel=K357, stride=1, expand=6, channels=120, se=0.5, **BOTH_SPLIT, **SWISH),
        MBConv(repeat=2, kernel=K3579, stride=1, expand=3, channels=120, se=0.5, **BOTH_SPLIT, **SWISH),
    ),
    (
        MBConv(repeat=1, kernel=(3, 5, 7, 9, 11), stride=2, expand=6, channels=200, se=0.5, **SWISH),
        MBConv(repeat=2, kernel=K3579, stride=1, expand=6, channels=200, se=0.5, project_kernel=SPLIT, **SWISH),
    ),
)
MIXNET_M: Stages = (
    DepthwiseConv(repeat=1, kernel=3, stride=1, channels=24),
    (
        MBConv(repeat=1, kernel=K357, stride=2, expand=6, channels=32, **BOTH_SPLIT),
        MBConv(repeat=1, kernel=3, stride=1, expand=3, channels=32, **BOTH_SPLIT),
    ),
    (
        MBConv(repeat=1, kernel=K3579, stride=2, expand=6, channels=40, se=0.5, **SWISH),
        MBConv(repeat=3, kernel=K35, stride=1, expand=6, channels=40, se=0.5, **BOTH_SPLIT, **SWISH),
    ),
    (
        MBConv(repeat=1, kernel=K357, stride=2, expand=6, channels=80, se=0.25, **SWISH),
        MBConv(repeat=3, kernel=K3579, stride=1, expand=6, channels=80, se=0.25, **BOTH_SPLIT, **SWISH),
    ),
    (
        MBConv(repeat=1, kernel=3, stride=1, expand=6, channels=120, se=0.5, **SWISH),
        MBConv(repeat=3, kernel=K3579, stride=1, expand=3, channels=120, se=0.5, **BOTH_SPLIT, **SWISH),
    ),
    (
        MBConv(repeat=1, kernel=K3579, stride=2, expand=6, channels=200, se=0.5, **SWISH),
        MBConv(repeat=3, kernel=K3579, stride=1, expand=6, channels=200, se=0.5, project_kernel=SPLIT, **SWISH),
    ),
)

# MobileNet for the EdgeTPU, and its second version (TensorFlow model garden, edgetpu/vision).
MOBILENET_EDGETPU: Stages = (
    Conv(repeat=1, kernel=1, stride=1, channels=16),
    (
        FusedMBConv(repeat=1, kernel=3, stride=2, expand=8, channels=32),
        FusedMBConv(repeat=3, kernel=3, stride=1, expand=4, channels=32),
    ),
    (
        FusedMBConv(repeat=1, kernel=3, stride=2, expand=8, channels=48),
        FusedMBConv(repeat=3, kernel=3, stride=1, expand=4, channels=48),
    ),
    (
        MBConv(repeat=1, kernel=3, stride=2, expand=8, channels=96),
        MBConv(repeat=3, kernel=3, stride=1, expand=4, channels=96),
    ),
    (
        MBConv(repeat=1, kernel=3, stride=1, expand=8, channels=96, skip=False),
        MBConv(repeat=3, kernel=3, stride=1, expand=4, channels=96),
    ),
    (
        MBConv(repeat=1, kernel=5, stride=2, expand=8, channels=160),
        MBConv(repeat=3, kernel=5, stride=1, expand=4, channels=160),
    ),
    MBConv(repeat=1, kernel=3, stride=1, expand=8, channels=192),
)


def mobilenet_edgetpu_v2(widths: tuple[int, ...], group_size: int = 64) -> Stages:
    """One table for all sizes, which differ in the stages' widths and in the channels of a convolution group."""
    c0, c1, c2, c3, c4, c5, c6 = widths
    return (
        Conv(repeat=1, kernel=1, stride=1, channels=c0),
        (
            FusedMBConv(repeat=1, kernel=3, stride=2, expand=8, channels=c1),
            FusedMBConv(repeat=1, kernel=3, stride=1, expand=4, channels=c1, group_size=group_size),
        ),
        (
            FusedMBConv(repeat=1, kernel=3, stride=2, expand=8, channels=c2),
            FusedMBConv(repeat=1, kernel=3, stride=1, expand=4, channels=c2, group_size=group_size),
            FusedMBConv(repeat=1, kernel=3, stride=1, expand=4, channels=c2),
            FusedMBConv(repeat=1, kernel=3, stride=1, expand=4, channels=c2, group_size=group_size),
        ),
        (
            FusedMBConv(repeat=1, kernel=3, stride=2, expand=8, channels=c3),
            MBConv(repeat=3, kernel=3, stride=1, expand=4, channels=c3),
        ),
        (
            MBConv(repeat=1, kernel=3, stride=1, expand=8, channels=c4),
            MBConv(repeat=3, kernel=3, stride=1, expand=4, channels=c4),
        ),
        (
            MBConv(repeat=1, kernel=3, stride=2, expand=8, channels=c5),
            MBConv(repeat=3, kernel=3, stride=1, expand=4, channels=c5),
        ),
        MBConv(repeat=1, kernel=3, stride=1, expand=8, channels=c6),
    )

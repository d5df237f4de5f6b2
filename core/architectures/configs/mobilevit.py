"""MobileViT (arXiv:2110.02178) and MobileViTv2 (arXiv:2206.02680) as rows of blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.configs.byobnet import Blocks, ByobNetSpec
from zoo.core.architectures.records import SizeFacts, Weights

Stage = tuple[Blocks, ...]


@dataclass(frozen=True)
class TransformerBlocks(Blocks):
    """Convolutions around `transformers` that see a map as patches.

    `kind` is "attention" (of MobileViT) or "separable" (MobileViTv2). `width` are the transformers' channels.
    """

    stride: int = 1
    transformers: int = 2
    width: int = 0


@dataclass(frozen=True, kw_only=True)
class MobileVitSpec(ByobNetSpec):
    """One network: inverted residuals, which double the channels that they read or quadruple them, and transformers."""

    model_class: ClassVar[str] = "MobileVit"
    sizes: ClassVar[SizeFacts] = SizeFacts()

    downsample: str = ""
    bottle_in: bool = True
    linear_out: bool = True
    act_layer: str = "silu"


def inverted(depth: int, channels: int, ratio: float, stride: int = 2) -> Blocks:
    return Blocks("bottle", depth, channels, stride, group_size=1, ratio=ratio)


def mobilevit(channels: tuple[int, ...], widths: tuple[int, ...], num_features: int, ratio: float = 4) -> MobileVitSpec:
    stages: list[Stage] = [(inverted(1, channels[0], ratio, stride=1),), (inverted(3, channels[1], ratio),)]
    for width, out, depth in zip(widths, channels[2:], (2, 4, 3), strict=True):
        stages.append(
            (inverted(1, out, ratio), TransformerBlocks("attention", 1, out, transformers=depth, width=width))
        )
    return MobileVitSpec(stages=tuple(stages), stem_channels=16, num_features=num_features)


def mobilevit_v2(width_factor: float) -> MobileVitSpec:
    stages: list[Stage] = [(inverted(1, 64, 2, stride=1),), (inverted(2, 128, 2),)]
    for out, depth in zip((256, 384, 512), (2, 4, 3), strict=True):
        width = int(out * width_factor / 2)
        transformers = TransformerBlocks("separable", 1, out, group_size=1, transformers=depth, width=width)
        stages.append((inverted(1, out, 2), transformers))
    return MobileVitSpec(stages=tuple(stages), stem_channels=32, width_factor=width_factor)


VARIANTS = {
    "mobilevit_xxs": mobilevit((16, 24, 48, 64, 80), (64, 80, 96), 320, ratio=2),
    "mobilevit_xs": mobilevit((32, 48, 64, 80, 96), (96, 120, 144), 384),
    "mobilevit_s": mobilevit((32, 64, 96, 128, 160), (144, 192, 240), 640),
    "mobilevitv2_050": mobilevit_v2(0.5),
    "mobilevitv2_075": mobilevit_v2(0.75),
    "mobilevitv2_100": mobilevit_v2(1.0),
    "mobilevitv2_125": mobilevit_v2(1.25),
    "mobilevitv2_150": mobilevit_v2(1.5),
    "mobilevitv2_175": mobilevit_v2(1.75),
    "mobilevitv2_200": mobilevit_v2(2.0),
}

V1 = Weights(input_size=256, crop_pct=0.9, mean=(0.0,) * 3, std=(1.0,) * 3, license="cvnets-license")
V2 = V1.but(crop_pct=0.888)
V2_384 = V2.but(input_size=384, crop_pct=1.0)
WEIGHTS = {
    "mobilevit_xxs.cvnets_in1k": V1,
    "mobilevit_xs.cvnets_in1k": V1,
    "mobilevit_s.cvnets_in1k": V1,
    "mobilevitv2_050.cvnets_in1k": V2,
    "mobilevitv2_075.cvnets_in1k": V2,
    "mobilevitv2_100.cvnets_in1k": V2,
    "mobilevitv2_125.cvnets_in1k": V2,
    "mobilevitv2_150.cvnets_in1k": V2,
    "mobilevitv2_150.cvnets_in22k_ft_in1k": V2,
    "mobilevitv2_150.cvnets_in22k_ft_in1k_384": V2_384,
    "mobilevitv2_175.cvnets_in1k": V2,
    "mobilevitv2_175.cvnets_in22k_ft_in1k": V2,
    "mobilevitv2_175.cvnets_in22k_ft_in1k_384": V2_384,
    "mobilevitv2_200.cvnets_in1k": V2,
    "mobilevitv2_200.cvnets_in22k_ft_in1k": V2,
    "mobilevitv2_200.cvnets_in22k_ft_in1k_384": V2_384,
}

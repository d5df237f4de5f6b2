"""Networks whose stages are rows of a table of blocks; the published weights are in _byobnet_weights.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from zoo.core.architectures.configs._byobnet_weights import WEIGHTS
from zoo.core.architectures.records import ClassifierInit, SizedTensors, SizeFacts, Spec

__all__ = ["VARIANTS", "WEIGHTS", "AttentionPooledSpec", "Blocks", "ByobNetSpec"]


@dataclass(frozen=True)
class Blocks:
    """`depth` blocks of one kind.

    `kind` is "basic", "bottle", "dark" (1x1, 3x3), "edge" (3x3, 1x1), "rep" (RepVGG) or "one" (MobileOne). The first
    block of a stage has its `stride`. `group_size` are the channels of a convolution's group, 0 is one group, 1 is
    depthwise. `ratio` is the inner width by the outer one, `kernel` the size of the larger convolutions, `extra_conv`
    a second one of them, `branches` the parallel convolutions of "one"; `attention` False leaves the network's out.
    """

    kind: str
    depth: int
    channels: int
    stride: int = 2
    group_size: int = 0
    ratio: float = 1.0
    kernel: int = 3
    extra_conv: bool = False
    branches: int = 1
    attention: bool = True


Stage = Blocks | tuple[Blocks, ...]


@dataclass(frozen=True, kw_only=True)
class ByobNetSpec(Spec):
    """One network.

    `stem_type` is one convolution ("3x3", "7x7"), one block ("rep", "one") or several 3x3: "deep" (three of one
    width), "tiered" (three that widen), "quad" (four), "quad2" (four, the first two bare), "" (of the widths
    `stem_channels`). `stem_pool` is "", "max", "avg2" (2x2); where it is "" a stem of several has a second stride.
    `num_features` is the width of a last 1x1 convolution (0: none), `width_factor` scales all widths.

    `downsample` projects a shortcut by "conv1x1", "avg" (a 2x2 average first), or "" drops it there. `bottle_in` takes
    a bottleneck's inner width from its input, `linear_out` leaves out the activation after the sum. `attn_layer` is
    "se" (hidden width `se_ratio`, a multiple of `se_divisor`), "eca", "gca" or "bat". `head_hidden_size` puts a norm
    and a layer of that width before the classifier (0: none).
    """

    model_class: ClassVar[str] = "ByobNet"
    classifier: ClassVar[str] = "head.fc"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.01)
    sizes: ClassVar[SizeFacts] = SizeFacts(
        (SizedTensors(r"head\.pos_embed", "pool_tokens", arguments=(("stride", 32),)),)
    )

    choices = {
        "stem_type": ("", "3x3", "7x7", "deep", "tiered", "quad", "quad2", "rep", "one"),
        "stem_pool": ("", "max", "avg2"),
        "downsample": ("conv1x1", "avg", ""),
        "attn_layer": ("", "se", "eca", "gca", "bat"),
        "aa_layer": ("", "blur", "blurpc", "avg"),
    }

    stages: tuple[Stage, ...]
    stem_type: str = "3x3"
    stem_channels: int | tuple[int, ...] = 32
    stem_pool: str = ""
    num_features: int = 0
    width_factor: float = 1.0
    downsample: str = "conv1x1"
    bottle_in: bool = False
    linear_out: bool = False
    act_layer: str = "relu"
    norm_layer: str = "batchnorm"
    norm_group_size: int = 0
    norm_eps: float = 1e-5
    aa_layer: str = ""
    attn_layer: str = ""
    se_ratio: float = 1 / 16
    se_divisor: int = 8
    head_hidden_size: int = 0
    zero_init_last: bool = True

    @property
    def stem_widths(self) -> list[int]:
        """Channels of the stem's convolutions, one for a stem that is a single convolution or block."""
        if isinstance(self.stem_channels, tuple):
            return [round(width * self.width_factor) for width in self.stem_channels]
        width = round(self.stem_channels * self.width_factor)
        if self.stem_type.startswith("quad"):
            return [round(width / 2**i) for i in (3, 2, 1, 0)]
        return {"tiered": [3 * width // 8, width // 2, width], "deep": [width] * 3}.get(self.stem_type, [width])

    @property
    def first_conv(self) -> str | tuple[str, ...]:
        if self.stem_type == "rep":
            return "stem.conv_kxk.conv", "stem.conv_1x1.conv"
        if self.stem_type == "one":
            return "stem.conv_kxk.0.conv", "stem.conv_scale.conv"
        if self.stem_type == "quad2":
            return "stem.conv1"
        return "stem.conv1.conv" if self.stem_pool or len(self.stem_widths) > 1 else "stem.conv"


@dataclass(frozen=True, kw_only=True)
class AttentionPooledSpec(ByobNetSpec):
    """One network whose head pools by attention with a position for each cell of the map of an image of `img_size`."""

    model_class: ClassVar[str] = "AttentionPooledByobNet"
    classifier: ClassVar[str] = "head.proj"

    img_size: int | tuple[int, int] = 224


def bottle(
    depths: Sequence[int],
    channels: Sequence[int],
    group_sizes: Sequence[int] | int = 0,
    ratio: float = 0.25,
    first_stride: int = 1,
) -> tuple[Blocks, ...]:
    """Stages of bottlenecks."""
    sizes = (group_sizes,) * len(depths) if isinstance(group_sizes, int) else group_sizes
    strides = (first_stride, *(2,) * (len(depths) - 1))
    return tuple(Blocks("bottle", *row, ratio=ratio) for row in zip(depths, channels, strides, sizes, strict=True))


# ---------------------------------------------------------------- GENet (arXiv:2006.14090)


def genet(
    stem: int, basic: tuple[Blocks, ...], depths: Sequence[int], widths: Sequence[int], features: int
) -> ByobNetSpec:
    """Basic blocks, then bottlenecks that narrow, then two stages of depthwise ones that widen."""
    narrow, wide, last = zip(depths, widths, strict=True)
    stages = (
        *basic,
        Blocks("bottle", *narrow, ratio=0.25),
        Blocks("bottle", *wide, group_size=1, ratio=3.0),
        Blocks("bottle", *last, stride=1, group_size=1, ratio=3.0),
    )
    return ByobNetSpec(stages=stages, stem_channels=stem, num_features=features)


WIDE_BASIC = (Blocks("basic", 1, 128), Blocks("basic", 2, 192))
NARROW_BASIC = (Blocks("basic", 1, 48), Blocks("basic", 3, 48))

# ---------------------------------------------------------------- RepVGG (arXiv:2101.03697) and MobileOne (2206.04040)

WIDTHS = (64, 128, 256, 512)
REP_A, REP_B, REP_D = (2, 4, 14, 1), (4, 6, 16, 1), (8, 14, 24, 1)


def repvgg(
    depths: Sequence[int], factors: Sequence[float], groups: int = 0, stem: int = 64, **fields: Any
) -> ByobNetSpec:
    """Plain stages; with `groups` every second block's convolutions have that many."""

    def stage(depth: int, channels: int) -> tuple[Blocks, ...]:
        grouped = channels // groups if groups else 0
        return tuple(Blocks("rep", 1, channels, group_size=grouped if i % 2 else 0) for i in range(depth))

    widths = [int(width * factor) for width, factor in zip(WIDTHS, factors, strict=True)]
    stages = tuple(stage(depth, width) for depth, width in zip(depths, widths, strict=True))
    return ByobNetSpec(stages=stages, stem_type="rep", stem_channels=stem, **fields)


def mobileone(
    factors: Sequence[float], branches: int = 1, stem: int = 64, attended: Sequence[int] = (0, 0, 0, 0), **fields: Any
) -> ByobNetSpec:
    """Pairs of a depthwise and a pointwise block; the last `attended` pairs of each stage have attention."""
    stages, before = [], min(64, int(64 * factors[0]))
    for depth, width, factor, last in zip((2, 8, 10, 1), WIDTHS, factors, attended, strict=True):
        stage: list[Blocks] = []
        for i in range(depth):
            shared: dict[str, Any] = {"branches": branches, "attention": i >= depth - last}
            channels = int(width * factor)
            stage.append(Blocks("one", 1, before, group_size=1, **shared))
            stage.append(Blocks("one", 1, channels, kernel=1, **shared))
            before = channels
        stages.append(tuple(stage))
    return ByobNetSpec(stages=tuple(stages), stem_type="one", stem_channels=stem, **fields)


# ---------------------------------------------------------------- residual networks with attention

TIERED: dict[str, Any] = {"stem_type": "tiered", "stem_channels": 64}
TIERED_SILU: dict[str, Any] = {**TIERED, "act_layer": "silu"}
POOLED_SILU: dict[str, Any] = {**TIERED_SILU, "stem_pool": "max"}
RESNET_WIDTHS = (256, 512, 1024, 2048)
RESNEXT_26 = bottle((2, 2, 2, 2), RESNET_WIDTHS, 32)
RESNET_33 = bottle((2, 3, 3, 2), (256, 512, 1536, 1536))
RESNET_51 = (
    *bottle((2, 4, 6), (256, 512, 1536), 32),
    Blocks("bottle", 4, 1536, group_size=1),
)
RESNET_61 = (Blocks("edge", 1, 256, stride=1), *(replace(row, extra_conv=True) for row in RESNET_51[1:]))
QUAD: dict[str, Any] = {"stem_channels": 128, "num_features": 2048, "act_layer": "silu"}


# ---------------------------------------------------------------- RegNetZ (arXiv:2103.06877), in timm's sizes


def regnetz(
    depths: Sequence[int], channels: Sequence[int], group_size: int, ratio: float, features: int, **fields: Any
) -> ByobNetSpec:
    """Bottlenecks that widen, without activation after the sum."""
    deep = "stem_type" in fields
    return ByobNetSpec(
        stages=bottle(depths, channels, group_size, ratio, first_stride=1 if deep else 2),
        stem_channels=64 if deep else 32,
        num_features=features,
        downsample="",
        bottle_in=True,
        linear_out=True,
        act_layer="silu",
        attn_layer="se",
        se_ratio=0.25,
        **fields,
    )


Z_B, Z_D, Z_E = (48, 96, 192, 288), (64, 128, 256, 384), (96, 192, 384, 512)
EVOS: dict[str, Any] = {"norm_layer": "evonorms0a", "norm_group_size": 16, "norm_eps": 1e-3}

# ---------------------------------------------------------------- the ResNets of CLIP (arXiv:2103.00020)

CLIP: dict[str, Any] = {
    "stem_type": "",
    "stem_channels": (32, 32, 64),
    "stem_pool": "avg2",
    "downsample": "avg",
    "aa_layer": "avg",
}


def clip(*depths: int, img_size: int = 224, width: float = 1.0) -> AttentionPooledSpec:
    return AttentionPooledSpec(stages=bottle(depths, RESNET_WIDTHS), width_factor=width, img_size=img_size, **CLIP)


def clip_gap(*depths: int, width: float = 1.0) -> ByobNetSpec:
    """The same with average pooling."""
    return ByobNetSpec(stages=bottle(depths, RESNET_WIDTHS), width_factor=width, **CLIP)


VARIANTS = {
    "gernet_l": genet(32, WIDE_BASIC, (6, 5, 4), (640, 640, 640), 2560),
    "gernet_m": genet(32, WIDE_BASIC, (6, 4, 1), (640, 640, 640), 2560),
    "gernet_s": genet(13, NARROW_BASIC, (7, 2, 1), (384, 560, 256), 1920),
    "repvgg_a0": repvgg(REP_A, (0.75, 0.75, 0.75, 2.5), stem=48),
    "repvgg_a1": repvgg(REP_A, (1, 1, 1, 2.5)),
    "repvgg_a2": repvgg(REP_A, (1.5, 1.5, 1.5, 2.75)),
    "repvgg_b0": repvgg(REP_B, (1, 1, 1, 2.5)),
    "repvgg_b1": repvgg(REP_B, (2, 2, 2, 4)),
    "repvgg_b1g4": repvgg(REP_B, (2, 2, 2, 4), groups=4),
    "repvgg_b2": repvgg(REP_B, (2.5, 2.5, 2.5, 5)),
    "repvgg_b2g4": repvgg(REP_B, (2.5, 2.5, 2.5, 5), groups=4),
    "repvgg_b3": repvgg(REP_B, (3, 3, 3, 5)),
    "repvgg_b3g4": repvgg(REP_B, (3, 3, 3, 5), groups=4),
    "repvgg_d2se": repvgg(REP_D, (2.5, 2.5, 2.5, 5), attn_layer="se", se_divisor=1),
    "resnet51q": ByobNetSpec(stages=RESNET_51, stem_type="quad2", **QUAD),
    "resnet61q": ByobNetSpec(stages=RESNET_61, stem_type="quad", **QUAD),
    "resnext26ts": ByobNetSpec(stages=RESNEXT_26, **POOLED_SILU),
    "gcresnext26ts": ByobNetSpec(stages=RESNEXT_26, attn_layer="gca", **POOLED_SILU),
    "seresnext26ts": ByobNetSpec(stages=RESNEXT_26, attn_layer="se", **POOLED_SILU),
    "eca_resnext26ts": ByobNetSpec(stages=RESNEXT_26, attn_layer="eca", **POOLED_SILU),
    "bat_resnext26ts": ByobNetSpec(stages=RESNEXT_26, attn_layer="bat", **POOLED_SILU),
    "resnet32ts": ByobNetSpec(stages=RESNET_33, **TIERED_SILU),
    "resnet33ts": ByobNetSpec(stages=RESNET_33, num_features=1280, **TIERED_SILU),
    "gcresnet33ts": ByobNetSpec(stages=RESNET_33, num_features=1280, attn_layer="gca", **TIERED_SILU),
    "seresnet33ts": ByobNetSpec(stages=RESNET_33, num_features=1280, attn_layer="se", **TIERED_SILU),
    "eca_resnet33ts": ByobNetSpec(stages=RESNET_33, num_features=1280, attn_layer="eca", **TIERED_SILU),
    "gcresnet50t": ByobNetSpec(stages=bottle((3, 4, 6, 3), RESNET_WIDTHS), attn_layer="gca", **TIERED),
    "gcresnext50ts": ByobNetSpec(stages=bottle((3, 4, 6, 3), RESNET_WIDTHS, 32), attn_layer="gca", **POOLED_SILU),
    "regnetz_b16": regnetz((2, 6, 12, 2), Z_B, 16, 3, 1536),
    "regnetz_c16": regnetz((2, 6, 12, 2), Z_B, 16, 4, 1536),
    "regnetz_d32": regnetz((3, 6, 12, 3), Z_D, 32, 4, 1792, stem_type="tiered"),
    "regnetz_d8": regnetz((3, 6, 12, 3), Z_D, 8, 4, 1792, stem_type="tiered"),
    "regnetz_e8": regnetz((3, 8, 16, 3), Z_E, 8, 4, 2048, stem_type="tiered"),
    "regnetz_b16_evos": regnetz((2, 6, 12, 2), Z_B, 16, 3, 1536, **EVOS),
    "regnetz_c16_evos": regnetz((2, 6, 12, 2), Z_B, 16, 4, 1536, **EVOS),
    "regnetz_d8_evos": regnetz((3, 6, 12, 3), Z_D, 8, 4, 1792, stem_type="deep", **EVOS),
    "mobileone_s0": mobileone((0.75, 1, 1, 2), branches=4, stem=48),
    "mobileone_s1": mobileone((1.5, 1.5, 2, 2.5)),
    "mobileone_s2": mobileone((1.5, 2, 2.5, 4)),
    "mobileone_s3": mobileone((2, 2.5, 3, 4)),
    "mobileone_s4": mobileone((3, 3.5, 3.5, 4), attended=(0, 0, 5, 1), attn_layer="se"),
    "resnet50_clip": clip(3, 4, 6, 3),
    "resnet101_clip": clip(3, 4, 23, 3),
    "resnet50x4_clip": clip(4, 6, 10, 6, width=1.25, img_size=288),
    "resnet50x16_clip": clip(6, 8, 18, 8, width=1.5, img_size=384),
    "resnet50x64_clip": clip(3, 15, 36, 10, width=2.0, img_size=448),
    "resnet50_clip_gap": clip_gap(3, 4, 6, 3),
    "resnet101_clip_gap": clip_gap(3, 4, 23, 3),
    "resnet50x4_clip_gap": clip_gap(4, 6, 10, 6, width=1.25),
    "resnet50x16_clip_gap": clip_gap(6, 8, 18, 8, width=1.5),
    "resnet50x64_clip_gap": clip_gap(3, 15, 36, 10, width=2.0),
    "resnet50_mlp": ByobNetSpec(stages=bottle((3, 4, 6, 3), RESNET_WIDTHS), head_hidden_size=1024, **CLIP),
    "test_byobnet": ByobNetSpec(
        stages=(
            Blocks("edge", 1, 32, ratio=0.5),
            Blocks("dark", 1, 64, ratio=0.5),
            Blocks("basic", 1, 128, group_size=32, ratio=0.25),
            Blocks("bottle", 1, 256, group_size=64, ratio=0.25),
        ),
        stem_channels=24,
        downsample="avg",
        attn_layer="se",
        se_ratio=0.25,
    ),
}

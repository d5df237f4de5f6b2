"""Residual networks whose later stages attend.

Bottleneck transformers (arXiv:2101.11605), HaloNets (arXiv:2103.12731) and lambda networks (arXiv:2102.08602), all but
HaloNet H1 in sizes of timm's.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.configs.byobnet import RESNET_WIDTHS, Blocks, ByobNetSpec
from zoo.core.architectures.records import HALF, SizedTensors, SizeFacts, Weights


@dataclass(frozen=True)
class AttentionBlocks(Blocks):
    """Bottlenecks with attention in place of the larger convolution.

    `kind` is "bottleneck" (over the whole map), "halo" (of blocks of `block_size` cells and `halo_size` more around
    them) or "lambda" (in a neighbourhood of `neighbours` cells on the side, 0 for the whole map). Queries and keys have
    `head_dim` channels a head (0: `qk_ratio` of those of values).
    """

    num_heads: int = 4
    head_dim: int = 0
    qk_ratio: float = 1.0
    block_size: int = 8
    halo_size: int = 3
    neighbours: int = 9


@dataclass(frozen=True, kw_only=True)
class ByoaNetSpec(ByobNetSpec):
    """One network for maps of any size that its blocks divide."""

    model_class: ClassVar[str] = "ByoaNet"
    sizes: ClassVar[SizeFacts] = SizeFacts(
        (
            SizedTensors(r".+\.self_attn\.pos_embed\.(height|width)_rel", "whole_map_axis"),
            SizedTensors(r".+\.self_attn\.pos_emb", "refuse"),
        )
    )


@dataclass(frozen=True, kw_only=True)
class SizedByoaNetSpec(ByoaNetSpec):
    """One network with a position for each offset between two cells of the map of an image of `img_size`."""

    small_size: ClassVar[int] = 256  # where some blocks attend to a whole map, others may halve it into blocks of 8

    img_size: int | tuple[int, int] = 256


Fields = dict[str, Any]
BOTTLENECK: Fields = {"kind": "bottleneck"}
HALO: Fields = {"kind": "halo", "num_heads": 8}
LAMBDA: Fields = {"kind": "lambda", "head_dim": 16}


def stages(
    depths: Sequence[int],
    attended: Sequence[Collection[int]],
    attention: Fields | Sequence[Fields],
    channels: Sequence[int] = RESNET_WIDTHS,
    *,
    ratios: Sequence[float] = (0.25, 0.25, 0.25, 0.25),
    group_size: int = 0,
    first_stride: int = 1,
) -> tuple[tuple[Blocks, ...], ...]:
    """Stages of bottlenecks; those at the positions `attended` attend: all alike, or as each stage says."""
    kinds = [attention] * len(depths) if isinstance(attention, dict) else attention
    strides = (first_stride, *(2,) * (len(depths) - 1))
    made = []
    for *row, positions, kind in zip(depths, channels, strides, ratios, attended, kinds, strict=True):
        depth, width, stride, ratio = row
        shared: Fields = {"depth": 1, "channels": width, "stride": stride, "ratio": ratio, "group_size": group_size}
        blocks = (AttentionBlocks(**shared, **kind) if i in positions else Blocks("bottle", **shared)
                  for i in range(depth))  # fmt: skip
        made.append(tuple(blocks))
    return tuple(made)


D26, IN_26 = (2, 2, 2, 2), ((), (), (1,), (0, 1))
D33, IN_33 = (2, 3, 3, 2), ((), (2,), (2,), (0, 1))
D50, IN_50 = (3, 4, 6, 3), ((), (3,), (1, 3, 5), (1,))
IN_50_EVEN = ((), (1, 3), (1, 3, 5), (1,))
RESNET_33: Fields = {"channels": (256, 512, 1024, 1536), "ratios": (0.25, 0.25, 0.25, 0.333)}

POOLED: Fields = {"stem_type": "tiered", "stem_channels": 64, "stem_pool": "max"}
POOLED_SILU: Fields = {**POOLED, "act_layer": "silu"}
SILU: Fields = {**POOLED_SILU, "stem_pool": ""}
SE_33: Fields = {**SILU, "num_features": 1280, "attn_layer": "se"}

VARIANTS = {
    "botnet26t_256": SizedByoaNetSpec(stages=stages(D26, IN_26, BOTTLENECK), **POOLED),
    "sebotnet33ts_256": SizedByoaNetSpec(stages=stages(D33, IN_33, BOTTLENECK, **RESNET_33), **SE_33),
    "botnet50ts_256": SizedByoaNetSpec(stages=stages(D50, IN_50, BOTTLENECK), **POOLED_SILU),
    "eca_botnext26ts_256": SizedByoaNetSpec(
        stages=stages(D26, IN_26, BOTTLENECK | {"head_dim": 16}, group_size=16), attn_layer="eca", **POOLED_SILU
    ),
    "halonet_h1": ByoaNetSpec(
        stages=stages((3, 3, 10, 3), (range(3), range(3), range(10), range(3)), HALO, (64, 128, 256, 512),
                      ratios=(1, 1, 1, 1)),
        stem_type="7x7", stem_channels=64, stem_pool="max",
    ),
    "halonet26t": ByoaNetSpec(stages=stages(D26, IN_26, HALO | {"halo_size": 2}), **POOLED),
    "sehalonet33ts": ByoaNetSpec(stages=stages(D33, IN_33, HALO, **RESNET_33), **SE_33),
    "halonet50ts": ByoaNetSpec(
        stages=stages(D50, IN_50, (HALO, HALO | {"num_heads": 4}, HALO, HALO)), **POOLED_SILU
    ),
    "eca_halonext26ts": ByoaNetSpec(
        stages=stages(D26, IN_26, HALO | {"halo_size": 2, "head_dim": 16}, group_size=16), attn_layer="eca",
        **POOLED_SILU,
    ),
    "lambda_resnet26t": ByoaNetSpec(stages=stages(D26, IN_26, LAMBDA), **POOLED),
    "lambda_resnet50ts": ByoaNetSpec(stages=stages(D50, IN_50, LAMBDA), **POOLED_SILU),
    "lambda_resnet26rpt_256": SizedByoaNetSpec(stages=stages(D26, IN_26, LAMBDA | {"neighbours": 0}), **POOLED),
    "haloregnetz_b": ByoaNetSpec(
        stages=stages((2, 6, 12, 2), ((), (), (3, 7, 11), (0, 1)),
                      HALO | {"block_size": 7, "halo_size": 2, "qk_ratio": 0.33}, (48, 96, 192, 288),
                      ratios=(3, 3, 3, 3), group_size=16, first_stride=2),
        num_features=1536, downsample="", bottle_in=True, linear_out=True, act_layer="silu", attn_layer="se",
        se_ratio=0.25,
    ),
    "lamhalobotnet50ts_256": SizedByoaNetSpec(
        stages=stages(D50, IN_50_EVEN, ({}, LAMBDA | {"neighbours": 13}, HALO, BOTTLENECK)), **SILU
    ),
    "halo2botnet50ts_256": SizedByoaNetSpec(stages=stages(D50, IN_50_EVEN, ({}, HALO, HALO, BOTTLENECK)), **SILU),
}  # fmt: skip

URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-attn-weights"
SIZED = Weights(input_size=256, min_input_size=224, fixed_input_size=True, crop_pct=0.95)
BLOCKED = Weights(input_size=256, min_input_size=256, crop_pct=0.95)
LOCAL = Weights(input_size=256, min_input_size=128, crop_pct=0.95)
WEIGHTS = {
    "botnet26t_256.c1_in1k": SIZED.but(url=URL + "/botnet26t_c1_256-167a0e9f.pth"),
    "sebotnet33ts_256.a1h_in1k": SIZED.but(url=URL + "/sebotnet33ts_a1h2_256-957e3c3e.pth", crop_pct=0.94),
    "botnet50ts_256.untrained": SIZED.but(hub_id=""),
    "eca_botnext26ts_256.c1_in1k": SIZED.but(url=URL + "/eca_botnext26ts_c_256-95a898f6.pth"),
    "halonet_h1.untrained": BLOCKED.but(hub_id=""),
    "halonet26t.a1h_in1k": BLOCKED.but(url=URL + "/halonet26t_a1h_256-3083328c.pth"),
    "sehalonet33ts.ra2_in1k": BLOCKED.but(url=URL + "/sehalonet33ts_256-87e053f9.pth", crop_pct=0.94),
    "halonet50ts.a1h_in1k": BLOCKED.but(url=URL + "/halonet50ts_a1h2_256-f3a3daee.pth", crop_pct=0.94),
    "eca_halonext26ts.c1_in1k": BLOCKED.but(url=URL + "/eca_halonext26ts_c_256-06906299.pth", crop_pct=0.94),
    "lambda_resnet26t.c1_in1k": LOCAL.but(url=URL + "/lambda_resnet26t_c_256-e5a5c857.pth", crop_pct=0.94),
    "lambda_resnet50ts.a1h_in1k": LOCAL.but(url=URL + "/lambda_resnet50ts_a1h_256-b87370f7.pth"),
    "lambda_resnet26rpt_256.c1_in1k": SIZED.but(url=URL + "/lambda_resnet26rpt_c_256-ab00292d.pth", crop_pct=0.94),
    "haloregnetz_b.ra3_in1k": Weights(
        url=URL + "/haloregnetz_c_raa_256-c8ad7616.pth", min_input_size=224, crop_pct=0.94, mean=HALF, std=HALF
    ),
    "lamhalobotnet50ts_256.a1h_in1k": SIZED.but(url=URL + "/lamhalobotnet50ts_a1h2_256-fe3d9445.pth"),
    "halo2botnet50ts_256.a1h_in1k": SIZED.but(url=URL + "/halo2botnet50ts_a1h2_256-fd9c11a3.pth"),
}

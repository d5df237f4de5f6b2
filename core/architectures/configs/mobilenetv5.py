"""MobileNetV5, the image encoder of Gemma 3n, and its published weights.

There is no paper of version 5; the blocks are MobileNetV4's (arXiv:2404.10518).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.block_rows import FusedMBConv, Stage
from zoo.core.architectures.configs._mobilenetv3_stages import mqa, uib
from zoo.core.architectures.configs.efficientnet import EfficientNetSpec
from zoo.core.architectures.records import HALF, Weights


@dataclass(frozen=True, kw_only=True)
class MobileNetV5Spec(EfficientNetSpec):
    """One network; `num_features` is the width of the layer that fuses the last two stages.

    It gives a map of `msfa_output_resolution` cells on each side, whatever the size of the image. `layer_scale` is the
    initial value of the branches' scales.
    """

    model_class: ClassVar[str] = "MobileNetV5"
    total_stride: ClassVar[int | None] = None

    stem_size: int = 64
    num_features: int = 2048
    act_layer: str = "gelu_tanh"
    norm_layer: str = "rmsnorm"
    bn_eps: float = 1e-6
    layer_scale: float = 1e-5
    msfa_output_resolution: int = 16

    @property
    def first_conv(self) -> str:
        return "conv_stem.conv"


@dataclass(frozen=True, kw_only=True)
class EncoderSpec(MobileNetV5Spec):
    """The network that ends with the fused map."""

    model_class: ClassVar[str] = "MobileNetV5Encoder"


STAGE_1: Stage = (FusedMBConv(channels=128, stride=2, expand=4), FusedMBConv(channels=128, repeat=2, expand=4))
STAGE_2: Stage = (uib(3, 5, 256, expand=6, stride=2), *(uib(5, 0, 256), uib(3, 0, 256)) * 2)


def stages(
    width: int, repeat: int, heads: int, head_dims: tuple[int, int], pairs: tuple[int, int], kv_stride: int
) -> tuple[Stage, ...]:
    """The last two of four stages are convolutions, then so many pairs of attention and a feed-forward network.

    The third has `width` channels, `repeat` convolutions that keep its size and `heads` with `kv_stride`.
    """
    third = (mqa(width, heads, head_dims[0], kv_stride), uib(0, 0, width, expand=2)) * pairs[0]
    fourth = (mqa(2 * width, 16, head_dims[1]), uib(0, 0, 2 * width, expand=2)) * pairs[1]
    convs = (uib(5, 5, width, expand=6, stride=2), uib(5, 0, width, repeat=repeat), uib(0, 0, width, expand=1))
    return STAGE_1, STAGE_2, (*convs, *third), (uib(5, 5, 2 * width, expand=6, stride=2), *fourth)


M300 = stages(640, repeat=7, heads=12, head_dims=(64, 96), pairs=(14, 19), kv_stride=2)
BASE = stages(512, repeat=2, heads=8, head_dims=(64, 64), pairs=(6, 7), kv_stride=1)

VARIANTS = {
    "mobilenetv5_300m": MobileNetV5Spec(stages=M300),
    "mobilenetv5_300m_enc": EncoderSpec(stages=M300, pad_type="same"),
    "mobilenetv5_base": MobileNetV5Spec(stages=BASE),
}

UNTRAINED = Weights(hub_id="", input_size=256, crop_pct=1.0, mean=HALF, std=HALF, pool_size=(16, 16), license=None)
GEMMA = UNTRAINED.but(input_size=768, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), num_classes=0)

WEIGHTS = {
    "mobilenetv5_300m.gemma3n": GEMMA.but(hub_id=None, license="gemma"),
    "mobilenetv5_300m_enc.untrained": GEMMA,
    "mobilenetv5_base.untrained": UNTRAINED,
}

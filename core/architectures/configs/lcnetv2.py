"""PP-LCNetV2 variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from zoo.core.architectures.block_rows import make_divisible
from zoo.core.architectures.records import ClassifierInit, Spec, Weights


class SeparableRow(NamedTuple):
    """The blocks of one stage.

    `branches` makes the depthwise convolution a sum of convolutions of all odd sizes up to `kernel`, `has_se` puts
    attention behind it, `split` makes two pointwise convolutions of one, `skip` adds the input where it has the shape.
    """

    channels: int
    kernel: int = 3
    branches: bool = False
    has_se: bool = False
    split: bool = False
    skip: bool = False


STEM = SeparableRow(64)
STAGES = (
    SeparableRow(128),
    SeparableRow(256),
    SeparableRow(512, kernel=5, branches=True, has_se=True, split=True),
    SeparableRow(1024, kernel=5, branches=True, skip=True),
)


@dataclass(frozen=True, kw_only=True)
class LCNetV2Spec(Spec):
    """One network: `depths` blocks in each stage, all channels multiplied by `scale`."""

    model_class: ClassVar[str] = "LCNetV2"
    classifier: ClassVar[str] = "classifier"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit()
    has_inference_mode: ClassVar[bool] = True

    scale: float = 1.0
    depths: tuple[int, ...] = (2, 2, 6, 2)
    head_hidden_size: int = 1280
    act_layer: str = "relu"
    norm_layer: str = "batchnorm"

    @property
    def first_conv(self) -> str:
        return "stem.0.conv"

    def scaled(self, channels: int) -> int:
        """Channels at this network's width."""
        return make_divisible(channels * self.scale)


VARIANTS = {
    "lcnetv2_small": LCNetV2Spec(scale=0.75, depths=(2, 2, 4, 2)),
    "lcnetv2_base": LCNetV2Spec(),
    "lcnetv2_large": LCNetV2Spec(scale=1.25, depths=(2, 2, 8, 2)),
}

PADDLE = Weights(origin_url="https://github.com/PaddlePaddle/PaddleClas")

WEIGHTS = {
    "lcnetv2_small.paddle_in1k": PADDLE,
    "lcnetv2_base.ssld_in1k": PADDLE,
    "lcnetv2_base.paddle_in1k": PADDLE,
    "lcnetv2_large.paddle_in1k": PADDLE,
}

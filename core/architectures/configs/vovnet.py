"""VoVNet variants of both versions and their published weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from zoo.core.architectures.records import HALF, ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class VovNetSpec(Spec):
    """One network.

    A stage has `block_per_stage` blocks of `layer_per_block` convolutions, each of `stage_conv_chs` channels, that
    give `stage_out_chs` channels. `residual` adds a block's input from the second one of a stage on, `depthwise` makes
    the convolutions separable, and `attn` ("ese", "eca" or "") ends a stage.
    """

    model_class: ClassVar[str] = "VovNet"
    classifier: ClassVar[str] = "head.fc"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit()
    is_padded: ClassVar[bool] = False
    choices = {"attn": ("", "ese", "eca")}

    stem_chs: tuple[int, int, int] = (64, 64, 128)
    stage_conv_chs: tuple[int, ...] = (128, 160, 192, 224)
    stage_out_chs: tuple[int, ...] = (256, 512, 768, 1024)
    block_per_stage: tuple[int, ...]
    layer_per_block: int = 5
    residual: bool = True
    depthwise: bool = False
    attn: str = "ese"
    norm_layer: str = "batchnorm"
    act_layer: str = "relu"

    @property
    def first_conv(self) -> str:
        return "stem.0.conv"


SLIM_CONV, SLIM_OUT = (64, 80, 96, 112), (112, 256, 384, 512)

# Table 1 of arXiv:1904.09730; the residual version with attention is that of arXiv:1911.06667.
V19B = VovNetSpec(block_per_stage=(1, 1, 1, 1), layer_per_block=3)
V19B_SLIM = replace(V19B, stage_conv_chs=SLIM_CONV, stage_out_chs=SLIM_OUT)
V39B = VovNetSpec(block_per_stage=(1, 1, 2, 2))
V57B = VovNetSpec(block_per_stage=(1, 1, 4, 3))

VARIANTS = {
    "vovnet39a": replace(V39B, residual=False, attn=""),
    "vovnet57a": replace(V57B, residual=False, attn=""),
    "ese_vovnet19b_slim_dw": replace(V19B_SLIM, stem_chs=(64, 64, 64), depthwise=True),
    "ese_vovnet19b_dw": replace(V19B, stem_chs=(64, 64, 64), depthwise=True),
    "ese_vovnet19b_slim": V19B_SLIM,
    "ese_vovnet39b": V39B,
    "ese_vovnet57b": V57B,
    "ese_vovnet99b": VovNetSpec(block_per_stage=(1, 3, 9, 3)),
    "eca_vovnet39b": replace(V39B, attn="eca"),
    "ese_vovnet39b_evos": replace(V39B, norm_layer="evonorms0"),
}

RA_IN1K = Weights(test_input_size=288, test_crop_pct=0.95)
UNTRAINED = Weights(hub_id="")

WEIGHTS = {
    "vovnet39a.untrained": UNTRAINED,
    "vovnet57a.untrained": UNTRAINED,
    "ese_vovnet19b_slim_dw.untrained": UNTRAINED,
    "ese_vovnet19b_dw.ra_in1k": RA_IN1K,
    "ese_vovnet19b_slim.untrained": UNTRAINED,
    "ese_vovnet39b.ra_in1k": RA_IN1K,
    "ese_vovnet57b.ra4_e3600_r256_in1k": Weights(
        input_size=256, test_input_size=320, crop_pct=0.95, test_crop_pct=1.0, mean=HALF, std=HALF
    ),
    "ese_vovnet99b.untrained": UNTRAINED,
    "eca_vovnet39b.untrained": UNTRAINED,
    "ese_vovnet39b_evos.untrained": UNTRAINED,
}

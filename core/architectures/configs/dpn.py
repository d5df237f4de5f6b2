"""Dual path networks and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.records import Spec, Weights


@dataclass(frozen=True, kw_only=True)
class DpnSpec(Spec):
    """One dual path network (arXiv:1707.01629, table 1).

    Stage by stage there are `depths` blocks, each of which adds `increments` maps to the dense path. The first stage
    has bottlenecks of `width` channels in `groups` groups, and 256 channels in its residual path (64 in `small`
    networks, whose stem has a 3x3 in place of a 7x7); both double from stage to stage. With `two_outputs` the maps of
    the two paths come from a convolution each. `act_layer` is that of the stem and of the last norm, blocks have ReLU.
    """

    model_class: ClassVar[str] = "DPN"
    classifier: ClassVar[str] = "classifier"

    depths: tuple[int, ...]
    increments: tuple[int, ...]
    width: int
    groups: int = 32
    stem_width: int = 64
    small: bool = False
    two_outputs: bool = False
    act_layer: str = "relu"
    norm_layer: str = "batchnorm"

    @property
    def first_conv(self) -> str:
        return "features.conv1_1.conv"


SMALL: dict[str, Any] = {"increments": (16, 32, 32, 64), "width": 128, "stem_width": 10, "small": True}

VARIANTS = {
    "dpn48b": DpnSpec(depths=(3, 4, 6, 3), two_outputs=True, act_layer="silu", **SMALL),
    "dpn68": DpnSpec(depths=(3, 4, 12, 3), **SMALL),
    "dpn68b": DpnSpec(depths=(3, 4, 12, 3), two_outputs=True, **SMALL),
    "dpn92": DpnSpec(depths=(3, 4, 20, 3), increments=(16, 32, 24, 128), width=96),
    "dpn98": DpnSpec(depths=(3, 6, 20, 3), increments=(16, 32, 32, 128), width=160, groups=40, stem_width=96),
    "dpn107": DpnSpec(depths=(4, 8, 20, 3), increments=(20, 64, 64, 128), width=200, groups=50, stem_width=128),
    "dpn131": DpnSpec(depths=(4, 8, 28, 3), increments=(16, 32, 32, 128), width=160, groups=40, stem_width=128),
}

# Trained with MXNet: the deviation is that of its inputs, 0.0167 in units of their 255 steps.
MEAN, STD = (124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3
MX = Weights(mean=MEAN, std=STD)

# The first tag of a model is its default.
WEIGHTS = {
    "dpn48b.untrained": Weights(hub_id=""),
    "dpn68.mx_in1k": MX,
    "dpn68b.ra_in1k": Weights(test_input_size=288, crop_pct=0.95, test_crop_pct=1.0),
    "dpn68b.mx_in1k": MX,
    "dpn92.mx_in1k": MX,
    "dpn98.mx_in1k": MX,
    "dpn107.mx_in1k": MX,
    "dpn131.mx_in1k": MX,
}

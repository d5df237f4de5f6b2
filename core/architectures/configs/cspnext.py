"""CSPNeXt variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import Spec, Weights


@dataclass(frozen=True, kw_only=True)
class CspNextSpec(Spec):
    """One CSPNeXt: the depths and channels of its stages, and by what they are multiplied.

    `expand_ratio` is the width of each of a stage's two paths against its output.
    """

    model_class: ClassVar[str] = "CspNext"
    classifier: ClassVar[str] = "head.fc"

    depths: tuple[int, ...] = (3, 6, 6, 3)
    channels: tuple[int, ...] = (128, 256, 512, 1024)
    deepen_factor: float = 1.0
    widen_factor: float = 1.0
    expand_ratio: float = 0.5
    channel_attention: bool = True
    act_layer: str = "silu"
    norm_layer: str = "batchnorm"

    @property
    def first_conv(self) -> str:
        return "stem.0.conv"


VARIANTS = {
    "cspnext_tiny": CspNextSpec(deepen_factor=0.167, widen_factor=0.375),
    "cspnext_s": CspNextSpec(deepen_factor=0.33, widen_factor=0.5),
    "cspnext_m": CspNextSpec(deepen_factor=0.67, widen_factor=0.75),
    "cspnext_l": CspNextSpec(),
    "cspnext_x": CspNextSpec(deepen_factor=1.33, widen_factor=1.25),
}

SOURCE_URL = "https://download.openmmlab.com/mmdetection/v3.0/rtmdet/cspnext_rsb_pretrain"


def converted(name: str, source: str) -> Weights:
    """Weights of the authors of RTMDet, converted and hosted by another user of the hub."""
    return Weights(
        hub_id=f"munehiro-k/{name}.rsb_a1_in1k",
        crop_pct=0.949,
        origin_url="https://github.com/open-mmlab/mmdetection/tree/main/configs/rtmdet",
        paper_ids="arXiv:2212.07784",
        paper_name="RTMDet: An Empirical Study of Designing Real-Time Object Detectors",
        notes=(f"Converted from {SOURCE_URL}/{source}", "Not the token hybrid backbone of the same name (2024)."),
    )


WEIGHTS = {
    "cspnext_tiny.rsb_a1_in1k": converted("cspnext_tiny", "cspnext-tiny_imagenet_600e-3a2dd350.pth"),
    "cspnext_s.rsb_a1_in1k": converted("cspnext_s", "cspnext-s_imagenet_600e-ea671761.pth"),
    "cspnext_m.rsb_a1_in1k": converted("cspnext_m", "cspnext-m_8xb256-rsb-a1-600e_in1k-ecb3bbd9.pth"),
    "cspnext_l.rsb_a1_in1k": converted("cspnext_l", "cspnext-l_8xb256-rsb-a1-600e_in1k-6a760974.pth"),
    "cspnext_x.rsb_a1_in1k": converted("cspnext_x", "cspnext-x_8xb256-rsb-a1-600e_in1k-b3f78edd.pth"),
}

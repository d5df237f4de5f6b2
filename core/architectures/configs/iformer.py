"""iFormer variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class IFormerSpec(Spec):
    """One iFormer: channels and blocks of each stage.

    `attn_groups` says how many of a stage's groups of three blocks have attention, whose queries and keys have
    `attn_head_dim_reduction` times fewer channels than the map. `conv_ratio` and `ffn_ratio` are the hidden widths of
    perceptrons behind a depthwise convolution and behind attention, against their input. `layer_scale_init_value` is
    where the scales of the branches start, 0 for none. `distillation` adds a second classifier, which learned from a
    teacher.
    """

    model_class: ClassVar[str] = "IFormer"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)

    dims: tuple[int, ...]
    depths: tuple[int, ...]
    attn_groups: tuple[int, ...]
    attn_head_dim_reduction: tuple[int, ...] = (1, 1, 2, 4)
    conv_ratio: int = 4
    ffn_ratio: int = 3
    layer_scale_init_value: float = 0.0
    act_layer: str = "gelu"
    distillation: bool = False

    @property
    def first_conv(self) -> str:
        return "stem.conv1.c"

    @property
    def classifier(self) -> str | tuple[str, ...]:  # type: ignore[override]  # it depends on the variant here
        return ("head.head.l", "head.head_dist.l") if self.distillation else "head.head.l"


# Table 8 of arXiv:2501.15369.
SIZES = {
    "t": IFormerSpec(
        dims=(32, 64, 128, 256), depths=(2, 2, 16, 6), attn_groups=(0, 0, 3, 2), conv_ratio=3, ffn_ratio=2
    ),
    "s": IFormerSpec(dims=(32, 64, 176, 320), depths=(2, 2, 19, 6), attn_groups=(0, 0, 3, 2)),
    "m": IFormerSpec(dims=(48, 96, 192, 384), depths=(2, 2, 22, 6), attn_groups=(0, 0, 4, 2)),
    "l": IFormerSpec(dims=(48, 96, 256, 384), depths=(2, 2, 33, 6), attn_groups=(0, 0, 8, 2)),
    "l2": IFormerSpec(dims=(64, 128, 256, 512), depths=(3, 3, 46, 9), attn_groups=(0, 0, 11, 3)),
    "h": IFormerSpec(
        dims=(96, 192, 384, 768),
        depths=(5, 5, 60, 18),
        attn_groups=(0, 0, 15, 6),
        attn_head_dim_reduction=(1, 1, 1, 1),
        ffn_ratio=4,
        layer_scale_init_value=1e-6,
    ),
}
VARIANTS = {f"iformer_{size}": spec for size, spec in SIZES.items()} | {
    f"iformer_{size}_distilled": replace(SIZES[size], distillation=True) for size in ("m", "l", "l2")
}

ORIGIN = "https://github.com/ChuanyangZheng/iFormer"
UNTRAINED = Weights(
    hub_id="",
    license="mit",
    origin_url=ORIGIN,
    paper_ids="arXiv:2501.15369",
    paper_name="iFormer: Integrating ConvNet and Transformer for Mobile Application",
)


def released(name: str) -> Weights:
    """The row of a variant whose file its authors released."""
    file = name.replace("iformer", "iFormer").replace("distilled", "distill")
    return UNTRAINED.but(hub_id=None, url=f"{ORIGIN}/releases/download/v0.9/{file}.pth")


WEIGHTS = {f"{name}.in1k": released(name) for name in VARIANTS if name != "iformer_l2"} | {
    "iformer_l2.untrained": UNTRAINED
}

"""TinyViT variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class TinyVitSpec(Spec):
    """One TinyViT: width, depth, heads and side of the windows of each of its stages.

    The first stage has convolutions alone, widened by `mbconv_expand_ratio`. `local_conv_size` is the kernel between
    attention and perceptron, `drop_path_rate` the stochastic depth of the last block.
    """

    model_class: ClassVar[str] = "TinyVit"
    classifier: ClassVar[str] = "head.fc"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)

    embed_dims: tuple[int, ...]
    num_heads: tuple[int, ...]
    window_sizes: tuple[int, ...] = (7, 7, 14, 7)
    depths: tuple[int, ...] = (2, 2, 6, 2)
    mlp_ratio: float = 4.0
    mbconv_expand_ratio: float = 4.0
    local_conv_size: int = 3
    act_layer: str = "gelu"
    drop_path_rate: float = 0.1

    @property
    def first_conv(self) -> str:
        return "patch_embed.conv1.conv"


def large(window: int, drop_path_rate: float) -> TinyVitSpec:
    """TinyViT-21M; the windows of the third stage are twice as large."""
    return TinyVitSpec(
        embed_dims=(96, 192, 384, 576),
        num_heads=(3, 6, 12, 18),
        window_sizes=(window, window, 2 * window, window),
        drop_path_rate=drop_path_rate,
    )


# Section 3.2 of arXiv:2207.10666.
VARIANTS = {
    "tiny_vit_5m_224": TinyVitSpec(embed_dims=(64, 128, 160, 320), num_heads=(2, 4, 5, 10), drop_path_rate=0.0),
    "tiny_vit_11m_224": TinyVitSpec(embed_dims=(64, 128, 256, 448), num_heads=(2, 4, 8, 14)),
    "tiny_vit_21m_224": large(7, 0.2),
    "tiny_vit_21m_384": large(12, 0.1),
    "tiny_vit_21m_512": large(16, 0.1),
}

PLAIN = Weights(crop_pct=0.95)
TAGS = {"dist_in22k": PLAIN.but(num_classes=21841), "dist_in22k_ft_in1k": PLAIN, "in1k": PLAIN}
WHOLE = Weights(crop_pct=1.0)

WEIGHTS = {
    **{f"tiny_vit_{size}_224.{tag}": row for size in ("5m", "11m", "21m") for tag, row in TAGS.items()},
    "tiny_vit_21m_384.dist_in22k_ft_in1k": WHOLE.but(input_size=384),
    "tiny_vit_21m_512.dist_in22k_ft_in1k": WHOLE.but(input_size=512, crop_mode="squash"),
}

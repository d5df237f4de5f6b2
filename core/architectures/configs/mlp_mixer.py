"""MLP-Mixer variants (with those of ResMLP and gMLP) and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.records import HALF, ClassifierInit, SizedTensors, SizeFacts, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class MlpMixerSpec(Spec):
    """One network of perceptrons over patches.

    `block` is "mixer", "resmlp" or "gmlp". `mlp_ratio` is hidden by embedding channels, of a mixer block for its
    perceptron over patches and for that over channels. `mlp_layer` is "mlp" or "glu" (gated). `init_values` is where
    the layer scale of ResMLP starts. `img_size` is the side of the images, or their (height, width).
    """

    model_class: ClassVar[str] = "MlpMixer"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.0)
    total_stride: ClassVar[int | None] = None
    sizes: ClassVar[SizeFacts] = SizeFacts(
        (SizedTensors(r".+\.(mlp_tokens\.fc[12]|linear_tokens|gate\.proj)\.weight", "token_mixing"),)
    )

    choices = {"block": ("mixer", "resmlp", "gmlp"), "mlp_layer": ("mlp", "glu")}

    embed_dim: int
    num_blocks: int
    patch_size: int = 16
    img_size: int | tuple[int, int] = 224
    block: str = "mixer"
    mlp_ratio: float | tuple[float, float] = (0.5, 4.0)
    mlp_layer: str = "mlp"
    act_layer: str = "gelu"
    init_values: float = 1e-4

    @property
    def first_conv(self) -> str:
        return "stem.proj"


def mixer(embed_dim: int, num_blocks: int, patch_size: int, **fields: Any) -> MlpMixerSpec:
    return MlpMixerSpec(embed_dim=embed_dim, num_blocks=num_blocks, patch_size=patch_size, **fields)


def gmixer(num_blocks: int) -> MlpMixerSpec:
    """MLP-Mixer with gated perceptrons."""
    return mixer(384, num_blocks, 16, mlp_ratio=(1.0, 4.0), mlp_layer="glu", act_layer="silu")


def resmlp(embed_dim: int, num_blocks: int, patch_size: int, init_values: float) -> MlpMixerSpec:
    return mixer(embed_dim, num_blocks, patch_size, block="resmlp", mlp_ratio=4.0, init_values=init_values)


def gmlp(embed_dim: int) -> MlpMixerSpec:
    return mixer(embed_dim, 30, 16, block="gmlp", mlp_ratio=6.0)


VARIANTS = {
    "mixer_s32_224": mixer(512, 8, 32),
    "mixer_s16_224": mixer(512, 8, 16),
    "mixer_b32_224": mixer(768, 12, 32),
    "mixer_b16_224": mixer(768, 12, 16),
    "mixer_l32_224": mixer(1024, 24, 32),
    "mixer_l16_224": mixer(1024, 24, 16),
    "gmixer_12_224": gmixer(12),
    "gmixer_24_224": gmixer(24),
    "resmlp_12_224": resmlp(384, 12, 16, 1e-4),
    "resmlp_24_224": resmlp(384, 24, 16, 1e-5),
    "resmlp_36_224": resmlp(384, 36, 16, 1e-6),
    "resmlp_big_24_224": resmlp(768, 24, 8, 1e-6),
    "gmlp_ti16_224": gmlp(128),
    "gmlp_s16_224": gmlp(256),
    "gmlp_b16_224": gmlp(512),
}

GOOGLE_URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-vitjx"
MIIL_URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-tresnet"
URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights"
FB_URL = "https://dl.fbaipublicfiles.com/deit"

IMAGENET = Weights(fixed_input_size=True)
INCEPTION = IMAGENET.but(mean=HALF, std=HALF)
GOOG_21K = INCEPTION.but(num_classes=21843)
MIIL = IMAGENET.but(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), interpolation="bilinear")

WEIGHTS = {
    "mixer_s32_224.untrained": INCEPTION,
    "mixer_s16_224.untrained": INCEPTION,
    "mixer_b32_224.untrained": INCEPTION,
    "mixer_b16_224.goog_in21k_ft_in1k": INCEPTION.but(url=GOOGLE_URL + "/jx_mixer_b16_224-76587d61.pth"),
    "mixer_b16_224.goog_in21k": GOOG_21K.but(url=GOOGLE_URL + "/jx_mixer_b16_224_in21k-617b3de2.pth"),
    "mixer_b16_224.miil_in21k": MIIL.but(url=MIIL_URL + "/mixer_b16_224_miil_in21k-2a558a71.pth", num_classes=11221),
    "mixer_b16_224.miil_in21k_ft_in1k": MIIL.but(url=MIIL_URL + "/mixer_b16_224_miil-9229a591.pth"),
    "mixer_l32_224.untrained": INCEPTION,
    "mixer_l16_224.goog_in21k_ft_in1k": INCEPTION.but(url=GOOGLE_URL + "/jx_mixer_l16_224-92f9adc4.pth"),
    "mixer_l16_224.goog_in21k": GOOG_21K.but(url=GOOGLE_URL + "/jx_mixer_l16_224_in21k-846aa33c.pth"),
    "gmixer_12_224.untrained": IMAGENET,
    "gmixer_24_224.ra3_in1k": IMAGENET.but(url=URL + "/gmixer_24_224_raa-7daf7ae6.pth"),
    "resmlp_12_224.fb_in1k": IMAGENET.but(url=FB_URL + "/resmlp_12_no_dist.pth"),
    "resmlp_12_224.fb_distilled_in1k": IMAGENET.but(url=FB_URL + "/resmlp_12_dist.pth"),
    "resmlp_12_224.fb_dino": IMAGENET.but(url=FB_URL + "/resmlp_12_dino.pth"),
    "resmlp_24_224.fb_in1k": IMAGENET.but(url=FB_URL + "/resmlp_24_no_dist.pth"),
    "resmlp_24_224.fb_distilled_in1k": IMAGENET.but(url=FB_URL + "/resmlp_24_dist.pth"),
    "resmlp_24_224.fb_dino": IMAGENET.but(url=FB_URL + "/resmlp_24_dino.pth"),
    "resmlp_36_224.fb_in1k": IMAGENET.but(url=FB_URL + "/resmlp_36_no_dist.pth"),
    "resmlp_36_224.fb_distilled_in1k": IMAGENET.but(url=FB_URL + "/resmlp_36_dist.pth"),
    "resmlp_big_24_224.fb_in1k": IMAGENET.but(url=FB_URL + "/resmlpB_24_no_dist.pth"),
    "resmlp_big_24_224.fb_distilled_in1k": IMAGENET.but(url=FB_URL + "/resmlpB_24_dist.pth"),
    "resmlp_big_24_224.fb_in22k_ft_in1k": IMAGENET.but(url=FB_URL + "/resmlpB_24_22k.pth"),
    "gmlp_ti16_224.untrained": INCEPTION,
    "gmlp_s16_224.ra3_in1k": INCEPTION.but(url=URL + "/gmlp_s16_224_raa-10536d42.pth"),
    "gmlp_b16_224.untrained": INCEPTION,
}

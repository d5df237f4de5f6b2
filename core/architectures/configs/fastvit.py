"""FastViT variants, with the image encoders of MobileCLIP, and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.records import CLIP_MEAN, CLIP_STD, ClassifierInit, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class FastVitSpec(Spec):
    """One FastViT: blocks and channels of each stage, and what mixes the positions there.

    `mlp_ratio` is the hidden width of a perceptron against its input. `se_downsamples` says which stages begin with
    squeeze-and-excitation, `lkc_use_act` whether the large kernel there has an activation. `norm_layer` is the norm
    before attention. `stem_use_scale_branch` gives the stem's larger kernels a 1x1 convolution beside them.
    `layer_scale_init_value` starts the scales of the branches.
    """

    model_class: ClassVar[str] = "FastVit"
    classifier: ClassVar[str] = "head.fc"
    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)
    has_inference_mode: ClassVar[bool] = True

    layers: tuple[int, ...]
    embed_dims: tuple[int, ...]
    token_mixers: tuple[str, ...]
    mlp_ratio: int = 4
    se_downsamples: tuple[bool, ...] = (False,) * 5
    lkc_use_act: bool = False
    norm_layer: str = "batchnorm"
    stem_use_scale_branch: bool = True
    layer_scale_init_value: float = 1e-5

    @property
    def first_conv(self) -> str | tuple[str, ...]:
        branches = "stem.0.conv_kxk.0.conv", "stem.0.conv_scale.conv"
        return branches if self.stem_use_scale_branch else branches[0]


def fastvit(width: int, layers: tuple[int, ...], num_attention: int = 0, **fields: Any) -> FastVitSpec:
    """Channels double from stage to stage; the last `num_attention` stages have attention."""
    stages = len(layers)
    mixers = ("repmixer",) * (stages - num_attention) + ("attention",) * num_attention
    dims = tuple(width * 2**stage for stage in range(stages))
    return FastVitSpec(layers=layers, embed_dims=dims, token_mixers=mixers, **fields)


S: dict[str, Any] = {"mlp_ratio": 3, "se_downsamples": (False, False, True, True), "lkc_use_act": True}
L: dict[str, Any] = {"lkc_use_act": True, "norm_layer": "layernorm", "stem_use_scale_branch": False}

VARIANTS = {
    # Table 2 of arXiv:2303.14189.
    "fastvit_t8": fastvit(48, (2, 2, 4, 2), mlp_ratio=3),
    "fastvit_t12": fastvit(64, (2, 2, 6, 2), mlp_ratio=3),
    "fastvit_s12": fastvit(64, (2, 2, 6, 2)),
    "fastvit_sa12": fastvit(64, (2, 2, 6, 2), 1),
    "fastvit_sa24": fastvit(64, (4, 4, 12, 4), 1),
    "fastvit_sa36": fastvit(64, (6, 6, 18, 6), 1),
    "fastvit_ma36": fastvit(76, (6, 6, 18, 6), 1),
    # MobileCLIP (arXiv:2311.17049).
    "fastvit_mci0": fastvit(64, (2, 6, 10, 2), 1, **S),
    "fastvit_mci1": fastvit(64, (4, 12, 20, 4), 1, **S),
    "fastvit_mci2": fastvit(80, (4, 12, 24, 4), 1, **S),
    # MobileCLIP2 (arXiv:2508.20691), with a fifth stage.
    "fastvit_mci3": fastvit(96, (2, 12, 24, 4, 2), 2, **L),
    "fastvit_mci4": fastvit(128, (2, 12, 24, 4, 4), 2, **L),
}

IMAGENET = Weights(input_size=256, crop_pct=0.9, license="fastvit-license")
# Their classifier is the projection to CLIP's embedding.
CLIP = Weights(
    input_size=256, crop_pct=0.95, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), num_classes=512, license="apple-amlr"
)
CLIP_L = CLIP.but(mean=CLIP_MEAN, std=CLIP_STD, num_classes=768, pool_size=(4, 4))


def mobile_clip(size: str) -> Weights:
    """The first version, in a repository of Apple's."""
    url = f"https://docs-assets.developer.apple.com/ml-research/datasets/mobileclip/mobileclip_{size}.pt"
    return CLIP.but(hub_id=f"apple/mobileclip_{size}_timm", url=url)


WEIGHTS = {
    **{
        f"{name}.{tag}": IMAGENET.but(crop_pct=0.95) if name == "fastvit_ma36" else IMAGENET
        for name in VARIANTS
        if "mci" not in name
        for tag in ("apple_in1k", "apple_dist_in1k")
    },
    "fastvit_mci0.apple_mclip": mobile_clip("s0"),
    "fastvit_mci0.apple_mclip2_dfndr2b": CLIP.but(crop_pct=1.0),
    "fastvit_mci1.apple_mclip": mobile_clip("s1"),
    "fastvit_mci2.apple_mclip": mobile_clip("s2"),
    "fastvit_mci2.apple_mclip2_dfndr2b": CLIP,
    "fastvit_mci3.apple_mclip2_dfndr2b": CLIP_L,
    "fastvit_mci4.apple_mclip2_dfndr2b": CLIP_L,
}

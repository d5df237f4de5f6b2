"""Vision transformers over the map of a convolutional network, and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from zoo.core.architectures.configs.vision_transformer import SIZES, VisionTransformerSpec
from zoo.core.architectures.records import HALF, SizedTensors, SizeFacts, Weights


@dataclass(frozen=True, kw_only=True)
class HybridSpec(VisionTransformerSpec):
    """One network; `patch_size` is in cells of the map.

    `backbone` is "resnetv2" (a stem and stages of bottlenecks, `layers` of them; the stem alone without), "convs"
    (three that cut the image), or the name of a ResNet, of which `layers` says how many stages are used.
    """

    model_class: ClassVar[str] = "VisionTransformerHybrid"
    sizes: ClassVar[SizeFacts] = SizeFacts((SizedTensors("pos_embed", "tokens"),))

    choices = {**VisionTransformerSpec.choices, "backbone": ("resnetv2", "convs", "resnet26d", "resnet50d")}

    backbone: str = "resnetv2"
    layers: tuple[int, ...] = ()
    patch_size: int | tuple[int, int] = 1

    @property
    def first_conv(self) -> str:
        if self.backbone == "resnetv2":
            return f"patch_embed.backbone.{'stem.' if self.layers else ''}conv"
        return f"patch_embed.backbone.{'0.conv' if self.backbone == 'convs' else 'conv1.0'}"


def hybrid(size: str, *layers: int, **fields: Any) -> HybridSpec:
    embed_dim, depth, num_heads, mlp_ratio = SIZES[size]
    shape = {"embed_dim": embed_dim, "depth": depth, "num_heads": num_heads, "mlp_ratio": mlp_ratio}
    return HybridSpec(layers=layers, **{**shape, **fields})


R26, R50 = (2, 2, 2, 2), (3, 4, 6, 3)
SHALLOW: dict[str, Any] = {"depth": 8, "num_heads": 8, "mlp_ratio": 3.0}

VARIANTS = {
    "vit_tiny_r_s16_p8_224": hybrid("tiny", patch_size=8),
    "vit_tiny_r_s16_p8_384": hybrid("tiny", patch_size=8),
    "vit_small_r26_s32_224": hybrid("small", *R26),
    "vit_small_r26_s32_384": hybrid("small", *R26),
    "vit_base_r26_s32_224": hybrid("base", *R26),
    "vit_base_r50_s16_224": hybrid("base", 3, 4, 9),
    "vit_base_r50_s16_384": hybrid("base", 3, 4, 9),
    "vit_large_r50_s32_224": hybrid("large", *R50),
    "vit_large_r50_s32_384": hybrid("large", *R50),
    "vit_small_resnet26d_224": hybrid("base", *R26, backbone="resnet26d", **SHALLOW),
    "vit_small_resnet50d_s16_224": hybrid("base", *R50[:3], backbone="resnet50d", **SHALLOW),
    "vit_base_resnet26d_224": hybrid("base", *R26, backbone="resnet26d"),
    "vit_base_resnet50d_224": hybrid("base", *R50, backbone="resnet50d"),
    "vit_base_mci_224": hybrid("base", backbone="convs", no_embed_class=True),
}

GOOGLE = "https://storage.googleapis.com/vit_models/augreg"
FINE_TUNED = "--imagenet2012-steps_20k-lr_"
APPLE = "https://docs-assets.developer.apple.com/ml-research/datasets/mobileclip"
HYBRID = Weights(fixed_input_size=True, crop_pct=0.9, mean=HALF, std=HALF)
HYBRID_384 = HYBRID.but(input_size=384, crop_pct=1.0)
UNTRAINED = HYBRID.but(hub_id="")
RESNET = Weights(fixed_input_size=True, crop_pct=0.9, hub_id="")
CLIP = Weights(
    fixed_input_size=True, crop_pct=0.9, mean=(0.0,) * 3, std=(1.0,) * 3, num_classes=512, license="apple-amlr"
)


def augreg(file: str, row: Weights = HYBRID) -> Weights:
    return row.but(url=f"{GOOGLE}/{file}.npz", custom_load=True)


PRETRAINED = HYBRID.but(num_classes=21843)
TINY = "R_Ti_16-i21k-300ep-lr_0.001-aug_none-wd_0.03-do_0.0-sd_0.0"
SMALL = "R26_S_32-i21k-300ep-lr_0.001-aug_medium2-wd_0.03-do_0.0-sd_0.0"
SMALL_LIGHT = "R26_S_32-i21k-300ep-lr_0.001-aug_light0-wd_0.03-do_0.1-sd_0.1"
LARGE = "R50_L_32-i21k-300ep-lr_0.001-aug_medium2-wd_0.1-do_0.0-sd_0.0"
LARGE_DROP = "R50_L_32-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.1-sd_0.1"
WEIGHTS = {
    "vit_tiny_r_s16_p8_224.augreg_in21k_ft_in1k": augreg(f"{TINY}{FINE_TUNED}0.03-res_224"),
    "vit_tiny_r_s16_p8_224.augreg_in21k": augreg(TINY, PRETRAINED),
    "vit_tiny_r_s16_p8_384.augreg_in21k_ft_in1k": augreg(f"{TINY}{FINE_TUNED}0.03-res_384", HYBRID_384),
    "vit_small_r26_s32_224.augreg_in21k_ft_in1k": augreg(f"{SMALL_LIGHT}{FINE_TUNED}0.03-res_224"),
    "vit_small_r26_s32_224.augreg_in21k": augreg(SMALL, PRETRAINED),
    "vit_small_r26_s32_384.augreg_in21k_ft_in1k": augreg(f"{SMALL}{FINE_TUNED}0.03-res_384", HYBRID_384),
    "vit_base_r26_s32_224.untrained": UNTRAINED,
    "vit_base_r50_s16_224.orig_in21k": HYBRID.but(num_classes=0),
    "vit_base_r50_s16_384.orig_in21k_ft_in1k": HYBRID_384.but(
        url="https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-vitjx/"
        "jx_vit_base_resnet50_384-9fd3c705.pth"
    ),
    "vit_large_r50_s32_224.augreg_in21k_ft_in1k": augreg(f"{LARGE_DROP}{FINE_TUNED}0.01-res_224"),
    "vit_large_r50_s32_224.augreg_in21k": augreg(LARGE, PRETRAINED),
    "vit_large_r50_s32_384.augreg_in21k_ft_in1k": augreg(f"{LARGE}{FINE_TUNED}0.01-res_384", HYBRID_384),
    "vit_small_resnet26d_224.untrained": RESNET,
    "vit_small_resnet50d_s16_224.untrained": RESNET,
    "vit_base_resnet26d_224.untrained": RESNET,
    "vit_base_resnet50d_224.untrained": RESNET,
    "vit_base_mci_224.apple_mclip_lt": CLIP.but(hub_id="apple/mobileclip_b_lt_timm", url=f"{APPLE}/mobileclip_blt.pt"),
    "vit_base_mci_224.apple_mclip": CLIP.but(hub_id="apple/mobileclip_b_timm", url=f"{APPLE}/mobileclip_b.pt"),
    "vit_base_mci_224.apple_mclip2_dfndr2b": CLIP,
}

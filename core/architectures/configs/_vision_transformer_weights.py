"""Published weights of the vision_transformer family: the first tag of a model is its default."""

from __future__ import annotations

from zoo.core.architectures.records import CLIP_MEAN, CLIP_STD, HALF, Weights

AUGREG = "https://storage.googleapis.com/vit_models/augreg"
GOOGLE_SAM = "https://storage.googleapis.com/vit_models/sam"
FLEXI = "https://storage.googleapis.com/big_vision/flexivit"
JX = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-vitjx"
DINOV2 = "https://dl.fbaipublicfiles.com/dinov2"
DINO = "https://dl.fbaipublicfiles.com/dino"
MAE = "https://dl.fbaipublicfiles.com/mae"

NATIVELY_QUICK_GELU = ("natively QuickGELU, use quickgelu model variant for original results",)

VIT = Weights(fixed_input_size=True, crop_pct=0.9)
VIT_HALF = VIT.but(mean=HALF, std=HALF)
VIT_CLIP = VIT.but(mean=CLIP_MEAN, std=CLIP_STD)
# The whole image, not its centre.
FULL, HALF_FULL, CLIP_FULL = (row.but(crop_pct=1.0) for row in (VIT, VIT_HALF, VIT_CLIP))
FULL_SQUASH, HALF_FULL_SQUASH, CLIP_FULL_SQUASH = (row.but(crop_mode="squash") for row in (FULL, HALF_FULL, CLIP_FULL))


def augreg(file: str, row: Weights = VIT_HALF) -> Weights:
    """Arrays of How to train your ViT (arXiv:2106.10270)."""
    return row.but(custom_load=True, url=f"{AUGREG}/{file}.npz")


WEIGHTS = {
    "aimv2_1b_patch14_224.apple_pt": CLIP_FULL.but(license="apple-ascl", num_classes=0),
    "aimv2_1b_patch14_336.apple_pt": CLIP_FULL.but(input_size=336, license="apple-ascl", num_classes=0),
    "aimv2_1b_patch14_448.apple_pt": CLIP_FULL.but(input_size=448, license="apple-ascl", num_classes=0),
    "aimv2_3b_patch14_224.apple_pt": CLIP_FULL.but(license="apple-ascl", num_classes=0),
    "aimv2_3b_patch14_336.apple_pt": CLIP_FULL.but(input_size=336, license="apple-ascl", num_classes=0),
    "aimv2_3b_patch14_448.apple_pt": CLIP_FULL.but(input_size=448, license="apple-ascl", num_classes=0),
    "aimv2_huge_patch14_224.apple_pt": CLIP_FULL.but(license="apple-ascl", num_classes=0),
    "aimv2_huge_patch14_336.apple_pt": CLIP_FULL.but(input_size=336, license="apple-ascl", num_classes=0),
    "aimv2_huge_patch14_448.apple_pt": CLIP_FULL.but(input_size=448, license="apple-ascl", num_classes=0),
    "aimv2_large_patch14_224.apple_pt": CLIP_FULL.but(license="apple-ascl", num_classes=0),
    "aimv2_large_patch14_224.apple_pt_dist": CLIP_FULL.but(license="apple-ascl", num_classes=0),
    "aimv2_large_patch14_336.apple_pt": CLIP_FULL.but(input_size=336, license="apple-ascl", num_classes=0),
    "aimv2_large_patch14_336.apple_pt_dist": CLIP_FULL.but(input_size=336, license="apple-ascl", num_classes=0),
    "aimv2_large_patch14_448.apple_pt": CLIP_FULL.but(input_size=448, license="apple-ascl", num_classes=0),
    "beit3_base_patch16_224.in22k_ft_in1k": FULL,
    "beit3_base_patch16_224.indomain_in22k_ft_in1k": FULL,
    "beit3_base_patch16_224.pt": FULL.but(num_classes=0),
    "beit3_base_patch16_224.indomain_pt": FULL.but(num_classes=0),
    "beit3_giant_patch14_224.untrained": FULL,
    "beit3_giant_patch14_336.untrained": FULL.but(input_size=336),
    "beit3_large_patch16_224.in22k_ft_in1k": FULL,
    "beit3_large_patch16_224.indomain_in22k_ft_in1k": FULL,
    "beit3_large_patch16_224.pt": FULL.but(num_classes=0),
    "beit3_large_patch16_224.indomain_pt": FULL.but(num_classes=0),
    "eva_large_patch14_196.in22k_ft_in22k_in1k": CLIP_FULL.but(input_size=196, license="mit"),
    "eva_large_patch14_196.in22k_ft_in1k": CLIP_FULL.but(input_size=196, license="mit"),
    "eva_large_patch14_336.in22k_ft_in22k_in1k": CLIP_FULL_SQUASH.but(input_size=336, license="mit"),
    "eva_large_patch14_336.in22k_ft_in1k": CLIP_FULL_SQUASH.but(input_size=336, license="mit"),
    "flexivit_base.1200ep_in1k": VIT_HALF.but(
        crop_pct=0.95, custom_load=True, input_size=240, url=FLEXI + "/flexivit_b_i1k.npz"
    ),
    "flexivit_base.600ep_in1k": VIT_HALF.but(
        crop_pct=0.95, custom_load=True, input_size=240, url=FLEXI + "/flexivit_b_i1k_600ep.npz"
    ),
    "flexivit_base.300ep_in1k": VIT_HALF.but(
        crop_pct=0.95, custom_load=True, input_size=240, url=FLEXI + "/flexivit_b_i1k_300ep.npz"
    ),
    "flexivit_base.1000ep_in21k": VIT_HALF.but(
        crop_pct=0.95, custom_load=True, input_size=240, num_classes=21843, url=FLEXI + "/flexivit_b_i21k_1000ep.npz"
    ),
    "flexivit_base.300ep_in21k": VIT_HALF.but(
        crop_pct=0.95, custom_load=True, input_size=240, num_classes=21843, url=FLEXI + "/flexivit_b_i21k_300ep.npz"
    ),
    "flexivit_base.patch16_in21k": VIT_HALF.but(
        crop_pct=0.95, custom_load=True, input_size=240, num_classes=21843, url=FLEXI + "/vit_b16_i21k_300ep.npz"
    ),
    "flexivit_base.patch30_in21k": VIT_HALF.but(
        crop_pct=0.95, custom_load=True, input_size=240, num_classes=21843, url=FLEXI + "/vit_b30_i21k_300ep.npz"
    ),
    "flexivit_large.1200ep_in1k": VIT_HALF.but(
        crop_pct=0.95, custom_load=True, input_size=240, url=FLEXI + "/flexivit_l_i1k.npz"
    ),
    "flexivit_large.600ep_in1k": VIT_HALF.but(
        crop_pct=0.95, custom_load=True, input_size=240, url=FLEXI + "/flexivit_l_i1k_600ep.npz"
    ),
    "flexivit_large.300ep_in1k": VIT_HALF.but(
        crop_pct=0.95, custom_load=True, input_size=240, url=FLEXI + "/flexivit_l_i1k_300ep.npz"
    ),
    "flexivit_small.1200ep_in1k": VIT_HALF.but(
        crop_pct=0.95, custom_load=True, input_size=240, url=FLEXI + "/flexivit_s_i1k.npz"
    ),
    "flexivit_small.600ep_in1k": VIT_HALF.but(
        crop_pct=0.95, custom_load=True, input_size=240, url=FLEXI + "/flexivit_s_i1k_600ep.npz"
    ),
    "flexivit_small.300ep_in1k": VIT_HALF.but(
        crop_pct=0.95, custom_load=True, input_size=240, url=FLEXI + "/flexivit_s_i1k_300ep.npz"
    ),
    "test_vit.r160_in1k": VIT_HALF.but(crop_pct=0.95, input_size=160),
    "test_vit2.r160_in1k": VIT_HALF.but(crop_pct=0.95, input_size=160),
    "test_vit3.r160_in1k": VIT_HALF.but(crop_pct=0.95, input_size=160),
    "test_vit4.r160_in1k": VIT_HALF.but(crop_pct=0.95, hub_id="", input_size=160),
    "vit_base_patch8_224.augreg2_in21k_ft_in1k": VIT_HALF,
    "vit_base_patch8_224.augreg_in21k_ft_in1k": augreg(
        "B_8-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.01-res_224"
    ),
    "vit_base_patch8_224.augreg_in21k": augreg("B_8-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0").but(
        num_classes=21843
    ),
    "vit_base_patch8_224.dino": VIT.but(num_classes=0, url=DINO + "/dino_vitbase8_pretrain/dino_vitbase8_pretrain.pth"),
    "vit_base_patch14_dinov2.lvd142m": FULL.but(
        input_size=518, num_classes=0, url=DINOV2 + "/dinov2_vitb14/dinov2_vitb14_pretrain.pth"
    ),
    "vit_base_patch14_reg1_tipsv2.webli": FULL.but(
        input_size=448, mean=(0.0, 0.0, 0.0), num_classes=0, std=(1.0, 1.0, 1.0)
    ),
    "vit_base_patch14_reg4_dinov2.lvd142m": FULL.but(
        input_size=518, num_classes=0, url=DINOV2 + "/dinov2_vitb14/dinov2_vitb14_reg4_pretrain.pth"
    ),
    "vit_base_patch16_18x2_224.untrained": VIT_HALF,
    "vit_base_patch16_224.augreg2_in21k_ft_in1k": VIT_HALF,
    "vit_base_patch16_224.augreg_in21k_ft_in1k": augreg(
        "B_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.01-res_224"
    ),
    "vit_base_patch16_224.orig_in21k_ft_in1k": VIT_HALF.but(url=JX + "/jx_vit_base_p16_224-80ecf9dd.pth"),
    "vit_base_patch16_224.augreg_in1k": augreg(
        "B_16-i1k-300ep-lr_0.001-aug_strong2-wd_0.1-do_0.1-sd_0.1--imagenet2012-steps_20k-lr_0.01-res_224"
    ),
    "vit_base_patch16_224.orig_in21k": VIT_HALF.but(num_classes=0),
    "vit_base_patch16_224.augreg_in21k": augreg("B_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0").but(
        num_classes=21843
    ),
    "vit_base_patch16_224.sam_in1k": VIT_HALF.but(custom_load=True, url=GOOGLE_SAM + "/ViT-B_16.npz"),
    "vit_base_patch16_224.bamboo": CLIP_FULL.but(
        license=None,
        num_classes=115217,
        origin_url="https://github.com/ZhangYuanhan-AI/Bamboo",
        paper_ids="arXiv:2203.07845",
    ),
    "vit_base_patch16_224.dino": VIT.but(
        num_classes=0, url=DINO + "/dino_vitbase16_pretrain/dino_vitbase16_pretrain.pth"
    ),
    "vit_base_patch16_224.mae": VIT.but(
        license="cc-by-nc-4.0", num_classes=0, url=MAE + "/pretrain/mae_pretrain_vit_base.pth"
    ),
    "vit_base_patch16_224_miil.in21k": VIT.but(
        interpolation="bilinear",
        mean=(0.0, 0.0, 0.0),
        num_classes=11221,
        std=(1.0, 1.0, 1.0),
        url="https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-tresnet/vit_base_patch16_224_in21k_miil-887286df.pth",
        crop_pct=0.875,
    ),
    "vit_base_patch16_224_miil.in21k_ft_in1k": VIT.but(
        interpolation="bilinear",
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        url="https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-tresnet/vit_base_patch16_224_1k_miil_84_4-2deb18e3.pth",
        crop_pct=0.875,
    ),
    "vit_base_patch16_384.augreg_in21k_ft_in1k": augreg(
        "B_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.01-res_384", HALF_FULL
    ).but(input_size=384),
    "vit_base_patch16_384.orig_in21k_ft_in1k": HALF_FULL.but(
        input_size=384, url=JX + "/jx_vit_base_p16_384-83fb41ba.pth"
    ),
    "vit_base_patch16_384.augreg_in1k": augreg(
        "B_16-i1k-300ep-lr_0.001-aug_strong2-wd_0.1-do_0.1-sd_0.1--imagenet2012-steps_20k-lr_0.01-res_384", HALF_FULL
    ).but(input_size=384),
    "vit_base_patch16_clip_224.laion2b_ft_in12k_in1k": VIT_CLIP.but(crop_pct=0.95),
    "vit_base_patch16_clip_224.openai_ft_in12k_in1k": VIT_CLIP.but(crop_pct=0.95),
    "vit_base_patch16_clip_224.laion2b_ft_in1k": CLIP_FULL,
    "vit_base_patch16_clip_224.openai_ft_in1k": VIT_CLIP,
    "vit_base_patch16_clip_224.laion2b_ft_in12k": VIT_CLIP.but(num_classes=11821),
    "vit_base_patch16_clip_224.openai_ft_in12k": VIT_CLIP.but(num_classes=11821),
    "vit_base_patch16_clip_224.laion2b": CLIP_FULL.but(num_classes=512),
    "vit_base_patch16_clip_224.laion400m_e32": CLIP_FULL.but(license="mit", num_classes=512),
    "vit_base_patch16_clip_224.datacompxl": CLIP_FULL.but(num_classes=512),
    "vit_base_patch16_clip_224.dfn2b": CLIP_FULL.but(license="apple-ascl", num_classes=512),
    "vit_base_patch16_clip_224.metaclip_2pt5b": CLIP_FULL.but(
        license="cc-by-nc-4.0", notes=NATIVELY_QUICK_GELU, num_classes=512
    ),
    "vit_base_patch16_clip_224.metaclip_400m": CLIP_FULL.but(
        license="cc-by-nc-4.0", notes=NATIVELY_QUICK_GELU, num_classes=512
    ),
    "vit_base_patch16_clip_224.openai": VIT_CLIP.but(notes=NATIVELY_QUICK_GELU, num_classes=512),
    "vit_base_patch16_clip_384.laion2b_ft_in12k_in1k": CLIP_FULL_SQUASH.but(input_size=384),
    "vit_base_patch16_clip_384.openai_ft_in12k_in1k": VIT_CLIP.but(crop_mode="squash", crop_pct=0.95, input_size=384),
    "vit_base_patch16_clip_384.laion2b_ft_in1k": CLIP_FULL_SQUASH.but(input_size=384),
    "vit_base_patch16_clip_384.openai_ft_in1k": CLIP_FULL_SQUASH.but(input_size=384),
    "vit_base_patch16_clip_quickgelu_224.metaclip_2pt5b": CLIP_FULL.but(
        hub_id="timm/vit_base_patch16_clip_224.metaclip_2pt5b",
        license="cc-by-nc-4.0",
        notes=NATIVELY_QUICK_GELU,
        num_classes=512,
    ),
    "vit_base_patch16_clip_quickgelu_224.metaclip_400m": CLIP_FULL.but(
        hub_id="timm/vit_base_patch16_clip_224.metaclip_400m",
        license="cc-by-nc-4.0",
        notes=NATIVELY_QUICK_GELU,
        num_classes=512,
    ),
    "vit_base_patch16_clip_quickgelu_224.openai": VIT_CLIP.but(
        hub_id="timm/vit_base_patch16_clip_224.openai", notes=NATIVELY_QUICK_GELU, num_classes=512
    ),
    "vit_base_patch16_gap_224.untrained": VIT_HALF,
    "vit_base_patch16_plus_240.untrained": VIT_HALF.but(crop_pct=0.95, input_size=240),
    "vit_base_patch16_plus_clip_240.laion400m_e32": CLIP_FULL.but(input_size=240, license="mit", num_classes=640),
    "vit_base_patch16_radio_v3.c_radio": CLIP_FULL.but(
        input_size=512,
        license="nvidia-open-model-license",
        num_classes=0,
        origin_url="https://github.com/NVlabs/RADIO",
        paper_ids="arXiv:2412.07679",
    ),
    "vit_base_patch16_reg4_gap_256.untrained": VIT_HALF.but(input_size=256),
    "vit_base_patch16_rpn_224.sw_in1k": VIT_HALF.but(
        url="https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-tpu-weights/vit_base_patch16_rpn_224-sw-3b07e89d.pth"
    ),
    "vit_base_patch16_siglip_224.v2_webli": VIT_HALF.but(num_classes=0),
    "vit_base_patch16_siglip_224.webli": VIT_HALF.but(num_classes=0),
    "vit_base_patch16_siglip_256.v2_webli": VIT_HALF.but(input_size=256, num_classes=0),
    "vit_base_patch16_siglip_256.webli": VIT_HALF.but(input_size=256, num_classes=0),
    "vit_base_patch16_siglip_256.webli_i18n": VIT_HALF.but(input_size=256, num_classes=0),
    "vit_base_patch16_siglip_384.v2_webli": VIT_HALF.but(input_size=384, num_classes=0),
    "vit_base_patch16_siglip_384.webli": VIT_HALF.but(input_size=384, num_classes=0),
    "vit_base_patch16_siglip_512.v2_webli": VIT_HALF.but(input_size=512, num_classes=0),
    "vit_base_patch16_siglip_512.webli": VIT_HALF.but(input_size=512, num_classes=0),
    "vit_base_patch16_siglip_gap_224.v2_webli": VIT_HALF.but(num_classes=0),
    "vit_base_patch16_siglip_gap_224.webli": VIT_HALF.but(num_classes=0),
    "vit_base_patch16_siglip_gap_256.v2_webli": VIT_HALF.but(input_size=256, num_classes=0),
    "vit_base_patch16_siglip_gap_256.webli": VIT_HALF.but(input_size=256, num_classes=0),
    "vit_base_patch16_siglip_gap_256.webli_i18n": VIT_HALF.but(input_size=256, num_classes=0),
    "vit_base_patch16_siglip_gap_384.v2_webli": VIT_HALF.but(input_size=384, num_classes=0),
    "vit_base_patch16_siglip_gap_384.webli": VIT_HALF.but(input_size=384, num_classes=0),
    "vit_base_patch16_siglip_gap_512.v2_webli": VIT_HALF.but(input_size=512, num_classes=0),
    "vit_base_patch16_siglip_gap_512.webli": VIT_HALF.but(input_size=512, num_classes=0),
    "vit_base_patch16_xp_224.untrained": VIT_HALF,
    "vit_base_patch32_224.augreg_in21k_ft_in1k": augreg(
        "B_32-i21k-300ep-lr_0.001-aug_medium1-wd_0.03-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.03-res_224"
    ),
    "vit_base_patch32_224.augreg_in1k": augreg(
        "B_32-i1k-300ep-lr_0.001-aug_medium2-wd_0.1-do_0.1-sd_0.1--imagenet2012-steps_20k-lr_0.01-res_224"
    ),
    "vit_base_patch32_224.orig_in21k": VIT_HALF.but(num_classes=0),
    "vit_base_patch32_224.augreg_in21k": augreg("B_32-i21k-300ep-lr_0.001-aug_medium1-wd_0.03-do_0.0-sd_0.0").but(
        num_classes=21843
    ),
    "vit_base_patch32_224.sam_in1k": VIT_HALF.but(custom_load=True, url=GOOGLE_SAM + "/ViT-B_32.npz"),
    "vit_base_patch32_384.augreg_in21k_ft_in1k": augreg(
        "B_32-i21k-300ep-lr_0.001-aug_light1-wd_0.1-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.03-res_384", HALF_FULL
    ).but(input_size=384),
    "vit_base_patch32_384.augreg_in1k": augreg(
        "B_32-i1k-300ep-lr_0.001-aug_medium2-wd_0.1-do_0.1-sd_0.1--imagenet2012-steps_20k-lr_0.01-res_384", HALF_FULL
    ).but(input_size=384),
    "vit_base_patch32_clip_224.laion2b_ft_in12k_in1k": VIT_CLIP,
    "vit_base_patch32_clip_224.openai_ft_in12k_in1k": VIT_CLIP.but(hub_id=""),
    "vit_base_patch32_clip_224.laion2b_ft_in1k": VIT_CLIP,
    "vit_base_patch32_clip_224.openai_ft_in1k": VIT_CLIP,
    "vit_base_patch32_clip_224.laion2b": VIT_CLIP.but(num_classes=512),
    "vit_base_patch32_clip_224.laion400m_e32": VIT_CLIP.but(license="mit", notes=NATIVELY_QUICK_GELU, num_classes=512),
    "vit_base_patch32_clip_224.datacompxl": CLIP_FULL.but(num_classes=512),
    "vit_base_patch32_clip_224.metaclip_2pt5b": CLIP_FULL.but(
        license="cc-by-nc-4.0", notes=NATIVELY_QUICK_GELU, num_classes=512
    ),
    "vit_base_patch32_clip_224.metaclip_400m": CLIP_FULL.but(
        license="cc-by-nc-4.0", notes=NATIVELY_QUICK_GELU, num_classes=512
    ),
    "vit_base_patch32_clip_224.openai": VIT_CLIP.but(notes=NATIVELY_QUICK_GELU, num_classes=512),
    "vit_base_patch32_clip_256.datacompxl": CLIP_FULL.but(input_size=256, num_classes=512),
    "vit_base_patch32_clip_384.laion2b_ft_in12k_in1k": CLIP_FULL.but(input_size=384),
    "vit_base_patch32_clip_384.openai_ft_in12k_in1k": VIT_CLIP.but(crop_mode="squash", crop_pct=0.95, input_size=384),
    "vit_base_patch32_clip_448.laion2b_ft_in12k_in1k": CLIP_FULL.but(input_size=448),
    "vit_base_patch32_clip_quickgelu_224.laion400m_e32": VIT_CLIP.but(
        hub_id="timm/vit_base_patch32_clip_224.laion400m_e32", license="mit", notes=NATIVELY_QUICK_GELU, num_classes=512
    ),
    "vit_base_patch32_clip_quickgelu_224.metaclip_2pt5b": CLIP_FULL.but(
        hub_id="timm/vit_base_patch32_clip_224.metaclip_2pt5b",
        license="cc-by-nc-4.0",
        notes=NATIVELY_QUICK_GELU,
        num_classes=512,
    ),
    "vit_base_patch32_clip_quickgelu_224.metaclip_400m": CLIP_FULL.but(
        hub_id="timm/vit_base_patch32_clip_224.metaclip_400m",
        license="cc-by-nc-4.0",
        notes=NATIVELY_QUICK_GELU,
        num_classes=512,
    ),
    "vit_base_patch32_clip_quickgelu_224.openai": VIT_CLIP.but(
        hub_id="timm/vit_base_patch32_clip_224.openai", notes=NATIVELY_QUICK_GELU, num_classes=512
    ),
    "vit_base_patch32_plus_256.untrained": VIT_HALF.but(crop_pct=0.95, input_size=256),
    "vit_base_patch32_siglip_256.v2_webli": VIT_HALF.but(input_size=256, num_classes=0),
    "vit_base_patch32_siglip_gap_256.v2_webli": VIT_HALF.but(input_size=256, num_classes=0),
    "vit_betwixt_patch16_gap_256.untrained": VIT_HALF.but(crop_pct=0.95, input_size=256),
    "vit_betwixt_patch16_reg1_gap_256.sbb_in1k": VIT_HALF.but(crop_pct=0.95, input_size=256),
    "vit_betwixt_patch16_reg4_gap_256.sbb2_e200_in12k_ft_in1k": VIT_HALF.but(crop_pct=0.95, input_size=256),
    "vit_betwixt_patch16_reg4_gap_256.sbb_in12k_ft_in1k": VIT_HALF.but(crop_pct=0.95, input_size=256),
    "vit_betwixt_patch16_reg4_gap_256.sbb_in1k": VIT_HALF.but(crop_pct=0.95, input_size=256),
    "vit_betwixt_patch16_reg4_gap_256.sbb2_e200_in12k": VIT_HALF.but(crop_pct=0.95, input_size=256, num_classes=11821),
    "vit_betwixt_patch16_reg4_gap_256.sbb_in12k": VIT_HALF.but(crop_pct=0.95, input_size=256, num_classes=11821),
    "vit_betwixt_patch16_reg4_gap_384.sbb2_e200_in12k_ft_in1k": HALF_FULL.but(input_size=384),
    "vit_betwixt_patch32_clip_224.tinyclip_laion400m": VIT_CLIP.but(license="mit", num_classes=512),
    "vit_dlittle_patch16_reg1_gap_256.sbb_nadamuon_in1k": VIT_HALF.but(crop_pct=0.95, input_size=256),
    "vit_dpwee_patch16_reg1_gap_256.sbb_nadamuon_in1k": VIT_HALF.but(crop_pct=0.95, input_size=256),
    "vit_dpwee_patch16_reg1_gap_256.sbb_in1k": VIT_HALF.but(crop_pct=0.95, input_size=256),
    "vit_dwee_patch16_reg1_gap_256.sbb_nadamuon_in1k": VIT_HALF.but(crop_pct=0.95, input_size=256),
    "vit_dwee_patch16_reg1_gap_256.sbb_in1k": VIT_HALF.but(crop_pct=0.95, input_size=256),
    "vit_giant_patch14_224.untrained": VIT_HALF,
    "vit_giant_patch14_clip_224.laion2b": CLIP_FULL.but(num_classes=1024),
    "vit_giant_patch14_dinov2.lvd142m": FULL.but(
        input_size=518, num_classes=0, url=DINOV2 + "/dinov2_vitg14/dinov2_vitg14_pretrain.pth"
    ),
    "vit_giant_patch14_reg1_tipsv2.webli": FULL.but(
        input_size=448, mean=(0.0, 0.0, 0.0), num_classes=0, std=(1.0, 1.0, 1.0)
    ),
    "vit_giant_patch14_reg4_dinov2.lvd142m": FULL.but(
        input_size=518, num_classes=0, url=DINOV2 + "/dinov2_vitg14/dinov2_vitg14_reg4_pretrain.pth"
    ),
    "vit_giant_patch16_gap_224.in22k_ijepa": VIT.but(
        hub_id="",
        license="cc-by-nc-4.0",
        num_classes=0,
        url="https://dl.fbaipublicfiles.com/ijepa/IN22K-vit.g.16-600e.pth.tar",
    ),
    "vit_giant_patch16_radio_v3.c_radio": CLIP_FULL.but(
        input_size=512,
        license="nvidia-open-model-license",
        num_classes=0,
        origin_url="https://github.com/NVlabs/RADIO",
        paper_ids="arXiv:2412.07679",
    ),
    "vit_giantopt_patch16_siglip_256.v2_webli": VIT_HALF.but(input_size=256, num_classes=0),
    "vit_giantopt_patch16_siglip_384.v2_webli": VIT_HALF.but(input_size=384, num_classes=0),
    "vit_giantopt_patch16_siglip_gap_256.v2_webli": VIT_HALF.but(input_size=256, num_classes=0),
    "vit_giantopt_patch16_siglip_gap_384.v2_webli": VIT_HALF.but(input_size=384, num_classes=0),
    "vit_gigantic_patch14_224.untrained": VIT_HALF,
    "vit_gigantic_patch14_clip_224.laion2b": CLIP_FULL.but(num_classes=1280),
    "vit_gigantic_patch14_clip_224.metaclip2_worldwide": CLIP_FULL.but(license="cc-by-nc-4.0", num_classes=1280),
    "vit_gigantic_patch14_clip_224.metaclip_2pt5b": CLIP_FULL.but(
        license="cc-by-nc-4.0", notes=NATIVELY_QUICK_GELU, num_classes=1280
    ),
    "vit_gigantic_patch14_clip_378.metaclip2_worldwide": CLIP_FULL_SQUASH.but(
        input_size=378, license="cc-by-nc-4.0", num_classes=1280
    ),
    "vit_gigantic_patch14_clip_quickgelu_224.metaclip_2pt5b": CLIP_FULL.but(
        hub_id="timm/vit_gigantic_patch14_clip_224.metaclip_2pt5b",
        license="cc-by-nc-4.0",
        notes=NATIVELY_QUICK_GELU,
        num_classes=1280,
    ),
    "vit_huge_patch14_224.orig_in21k": VIT_HALF.but(num_classes=0),
    "vit_huge_patch14_224.untrained": VIT_HALF,
    "vit_huge_patch14_224.mae": VIT.but(
        license="cc-by-nc-4.0", num_classes=0, url=MAE + "/pretrain/mae_pretrain_vit_huge.pth"
    ),
    "vit_huge_patch14_clip_224.laion2b_ft_in12k_in1k": CLIP_FULL,
    "vit_huge_patch14_clip_224.laion2b_ft_in1k": CLIP_FULL,
    "vit_huge_patch14_clip_224.laion2b_ft_in12k": CLIP_FULL.but(num_classes=11821),
    "vit_huge_patch14_clip_224.laion2b": CLIP_FULL.but(num_classes=1024),
    "vit_huge_patch14_clip_224.dfn5b": CLIP_FULL.but(license="apple-ascl", notes=NATIVELY_QUICK_GELU, num_classes=1024),
    "vit_huge_patch14_clip_224.metaclip2_worldwide": CLIP_FULL.but(
        license="cc-by-nc-4.0", notes=NATIVELY_QUICK_GELU, num_classes=1024
    ),
    "vit_huge_patch14_clip_224.metaclip_2pt5b": CLIP_FULL.but(
        license="cc-by-nc-4.0", notes=NATIVELY_QUICK_GELU, num_classes=1024
    ),
    "vit_huge_patch14_clip_224.metaclip_altogether": CLIP_FULL.but(license="cc-by-nc-4.0", num_classes=1024),
    "vit_huge_patch14_clip_336.laion2b_ft_in12k_in1k": CLIP_FULL_SQUASH.but(input_size=336),
    "vit_huge_patch14_clip_336.laion2b_ft_in1k": CLIP_FULL_SQUASH.but(hub_id="", input_size=336),
    "vit_huge_patch14_clip_378.dfn5b": CLIP_FULL.but(
        input_size=378, license="apple-ascl", notes=NATIVELY_QUICK_GELU, num_classes=1024
    ),
    "vit_huge_patch14_clip_378.metaclip2_worldwide": CLIP_FULL_SQUASH.but(
        input_size=378, license="cc-by-nc-4.0", num_classes=1024
    ),
    "vit_huge_patch14_clip_quickgelu_224.dfn5b": CLIP_FULL.but(
        hub_id="timm/vit_huge_patch14_clip_224.dfn5b", license="apple-ascl", notes=NATIVELY_QUICK_GELU, num_classes=1024
    ),
    "vit_huge_patch14_clip_quickgelu_224.metaclip2_worldwide": CLIP_FULL.but(
        hub_id="timm/vit_huge_patch14_clip_224.metaclip2_worldwide",
        license="cc-by-nc-4.0",
        notes=NATIVELY_QUICK_GELU,
        num_classes=1024,
    ),
    "vit_huge_patch14_clip_quickgelu_224.metaclip_2pt5b": CLIP_FULL.but(
        hub_id="timm/vit_huge_patch14_clip_224.metaclip_2pt5b",
        license="cc-by-nc-4.0",
        notes=NATIVELY_QUICK_GELU,
        num_classes=1024,
    ),
    "vit_huge_patch14_clip_quickgelu_378.dfn5b": CLIP_FULL.but(
        hub_id="timm/vit_huge_patch14_clip_378.dfn5b",
        input_size=378,
        license="apple-ascl",
        notes=NATIVELY_QUICK_GELU,
        num_classes=1024,
    ),
    "vit_huge_patch14_gap_224.in1k_ijepa": VIT.but(
        hub_id="",
        license="cc-by-nc-4.0",
        num_classes=0,
        url="https://dl.fbaipublicfiles.com/ijepa/IN1K-vit.h.14-300e.pth.tar",
    ),
    "vit_huge_patch14_gap_224.in22k_ijepa": VIT.but(
        hub_id="",
        license="cc-by-nc-4.0",
        num_classes=0,
        url="https://dl.fbaipublicfiles.com/ijepa/IN22K-vit.h.14-900e.pth.tar",
    ),
    "vit_huge_patch14_xp_224.untrained": VIT_HALF,
    "vit_huge_patch16_gap_448.in1k_ijepa": FULL.but(
        hub_id="",
        input_size=448,
        license="cc-by-nc-4.0",
        num_classes=0,
        url="https://dl.fbaipublicfiles.com/ijepa/IN1K-vit.h.16-448px-300e.pth.tar",
    ),
    "vit_huge_patch16_radio_v3.c_radio": CLIP_FULL.but(
        input_size=512,
        license="nvidia-open-model-license",
        num_classes=0,
        origin_url="https://github.com/NVlabs/RADIO",
        paper_ids="arXiv:2412.07679",
    ),
    "vit_huge_patch16_radio_v4.c_radio": CLIP_FULL.but(
        input_size=512,
        license="nvidia-open-model-license",
        num_classes=0,
        origin_url="https://github.com/NVlabs/RADIO",
        paper_ids="arXiv:2601.17237",
    ),
    "vit_intern300m_patch14_448.ogvl_dist": FULL.but(input_size=448, license="mit", num_classes=0),
    "vit_intern300m_patch14_448.ogvl_2pt5": FULL.but(input_size=448, num_classes=0),
    "vit_large_patch14_224.untrained": VIT_HALF,
    "vit_large_patch14_clip_224.laion2b_ft_in12k_in1k": HALF_FULL,
    "vit_large_patch14_clip_224.openai_ft_in12k_in1k": CLIP_FULL,
    "vit_large_patch14_clip_224.laion2b_ft_in1k": HALF_FULL,
    "vit_large_patch14_clip_224.openai_ft_in1k": CLIP_FULL,
    "vit_large_patch14_clip_224.laion2b_ft_in12k": HALF_FULL.but(num_classes=11821),
    "vit_large_patch14_clip_224.openai_ft_in12k": CLIP_FULL.but(num_classes=11821),
    "vit_large_patch14_clip_224.laion2b": HALF_FULL.but(num_classes=768),
    "vit_large_patch14_clip_224.laion400m_e32": CLIP_FULL.but(license="mit", num_classes=768),
    "vit_large_patch14_clip_224.datacompxl": CLIP_FULL.but(num_classes=768),
    "vit_large_patch14_clip_224.dfn2b_s39b": CLIP_FULL.but(license="apple-ascl", num_classes=768),
    "vit_large_patch14_clip_224.dfn2b": CLIP_FULL.but(license="apple-ascl", notes=NATIVELY_QUICK_GELU, num_classes=768),
    "vit_large_patch14_clip_224.metaclip_2pt5b": CLIP_FULL.but(
        license="cc-by-nc-4.0", notes=NATIVELY_QUICK_GELU, num_classes=768
    ),
    "vit_large_patch14_clip_224.metaclip_400m": CLIP_FULL.but(
        license="cc-by-nc-4.0", notes=NATIVELY_QUICK_GELU, num_classes=768
    ),
    "vit_large_patch14_clip_224.openai": CLIP_FULL.but(notes=NATIVELY_QUICK_GELU, num_classes=768),
    "vit_large_patch14_clip_224.apple_mclip2_dfndr2b": CLIP_FULL.but(license="apple-amlr", num_classes=768),
    "vit_large_patch14_clip_336.laion2b_ft_in12k_in1k": HALF_FULL_SQUASH.but(input_size=336),
    "vit_large_patch14_clip_336.openai_ft_in12k_in1k": CLIP_FULL_SQUASH.but(input_size=336),
    "vit_large_patch14_clip_336.laion2b_ft_in1k": HALF_FULL_SQUASH.but(input_size=336),
    "vit_large_patch14_clip_336.openai": CLIP_FULL.but(input_size=336, notes=NATIVELY_QUICK_GELU, num_classes=768),
    "vit_large_patch14_clip_quickgelu_224.dfn2b": CLIP_FULL.but(
        hub_id="timm/vit_large_patch14_clip_224.dfn2b", license="apple-ascl", notes=NATIVELY_QUICK_GELU, num_classes=768
    ),
    "vit_large_patch14_clip_quickgelu_224.metaclip_2pt5b": CLIP_FULL.but(
        hub_id="timm/vit_large_patch14_clip_224.metaclip_2pt5b",
        license="cc-by-nc-4.0",
        notes=NATIVELY_QUICK_GELU,
        num_classes=768,
    ),
    "vit_large_patch14_clip_quickgelu_224.metaclip_400m": CLIP_FULL.but(
        hub_id="timm/vit_large_patch14_clip_224.metaclip_400m",
        license="cc-by-nc-4.0",
        notes=NATIVELY_QUICK_GELU,
        num_classes=768,
    ),
    "vit_large_patch14_clip_quickgelu_224.openai": CLIP_FULL.but(
        hub_id="timm/vit_large_patch14_clip_224.openai", notes=NATIVELY_QUICK_GELU, num_classes=768
    ),
    "vit_large_patch14_clip_quickgelu_336.openai": CLIP_FULL.but(
        hub_id="timm/vit_large_patch14_clip_336.openai", input_size=336, notes=NATIVELY_QUICK_GELU, num_classes=768
    ),
    "vit_large_patch14_dinov2.lvd142m": FULL.but(
        input_size=518, num_classes=0, url=DINOV2 + "/dinov2_vitl14/dinov2_vitl14_pretrain.pth"
    ),
    "vit_large_patch14_reg1_tipsv2.webli": FULL.but(
        input_size=448, mean=(0.0, 0.0, 0.0), num_classes=0, std=(1.0, 1.0, 1.0)
    ),
    "vit_large_patch14_reg4_dinov2.lvd142m": FULL.but(
        input_size=518, num_classes=0, url=DINOV2 + "/dinov2_vitl14/dinov2_vitl14_reg4_pretrain.pth"
    ),
    "vit_large_patch14_xp_224.untrained": VIT_HALF,
    "vit_large_patch16_224.augreg_in21k_ft_in1k": augreg(
        "L_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.1-sd_0.1--imagenet2012-steps_20k-lr_0.01-res_224"
    ),
    "vit_large_patch16_224.orig_in21k": VIT_HALF.but(num_classes=0),
    "vit_large_patch16_224.augreg_in21k": augreg("L_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.1-sd_0.1").but(
        num_classes=21843
    ),
    "vit_large_patch16_224.mae": VIT.but(
        license="cc-by-nc-4.0", num_classes=0, url=MAE + "/pretrain/mae_pretrain_vit_large.pth"
    ),
    "vit_large_patch16_384.augreg_in21k_ft_in1k": augreg(
        "L_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.1-sd_0.1--imagenet2012-steps_20k-lr_0.01-res_384", HALF_FULL
    ).but(input_size=384),
    "vit_large_patch16_radio_v3.c_radio": CLIP_FULL.but(
        input_size=512,
        license="nvidia-open-model-license",
        num_classes=0,
        origin_url="https://github.com/NVlabs/RADIO",
        paper_ids="arXiv:2412.07679",
    ),
    "vit_large_patch16_siglip_256.v2_webli": VIT_HALF.but(input_size=256, num_classes=0),
    "vit_large_patch16_siglip_256.webli": VIT_HALF.but(input_size=256, num_classes=0),
    "vit_large_patch16_siglip_384.v2_webli": VIT_HALF.but(input_size=384, num_classes=0),
    "vit_large_patch16_siglip_384.webli": VIT_HALF.but(input_size=384, num_classes=0),
    "vit_large_patch16_siglip_512.v2_webli": VIT_HALF.but(input_size=512, num_classes=0),
    "vit_large_patch16_siglip_gap_256.v2_webli": VIT_HALF.but(input_size=256, num_classes=0),
    "vit_large_patch16_siglip_gap_256.webli": VIT_HALF.but(input_size=256, num_classes=0),
    "vit_large_patch16_siglip_gap_384.v2_webli": VIT_HALF.but(input_size=384, num_classes=0),
    "vit_large_patch16_siglip_gap_384.webli": VIT_HALF.but(input_size=384, num_classes=0),
    "vit_large_patch16_siglip_gap_512.v2_webli": VIT_HALF.but(input_size=512, num_classes=0),
    "vit_large_patch32_224.orig_in21k": VIT_HALF.but(num_classes=0),
    "vit_large_patch32_384.orig_in21k_ft_in1k": HALF_FULL.but(
        input_size=384, url=JX + "/jx_vit_large_p32_384-9b920ba8.pth"
    ),
    "vit_little_patch16_reg1_gap_256.sbb_in12k_ft_in1k": VIT_HALF.but(crop_pct=0.95, input_size=256),
    "vit_little_patch16_reg1_gap_256.sbb_in12k": VIT_HALF.but(crop_pct=0.95, input_size=256, num_classes=11821),
    "vit_little_patch16_reg4_gap_256.sbb_in1k": VIT_HALF.but(crop_pct=0.95, input_size=256),
    "vit_medium_patch16_clip_224.tinyclip_yfcc15m": VIT_CLIP.but(license="mit", num_classes=512),
    "vit_medium_patch16_gap_240.sw_in12k": VIT_HALF.but(crop_pct=0.95, input_size=240, num_classes=11821),
    "vit_medium_patch16_gap_256.sw_in12k_ft_in1k": VIT_HALF.but(crop_pct=0.95, input_size=256),
    "vit_medium_patch16_gap_384.sw_in12k_ft_in1k": VIT_HALF.but(crop_mode="squash", crop_pct=0.95, input_size=384),
    "vit_medium_patch16_reg1_gap_256.sbb_in1k": VIT_HALF.but(crop_pct=0.95, input_size=256),
    "vit_medium_patch16_reg4_gap_256.sbb_in12k_ft_in1k": VIT_HALF.but(crop_pct=0.95, input_size=256),
    "vit_medium_patch16_reg4_gap_256.sbb_in1k": VIT_HALF.but(crop_pct=0.95, input_size=256),
    "vit_medium_patch16_reg4_gap_256.sbb_in12k": VIT_HALF.but(crop_pct=0.95, input_size=256, num_classes=11821),
    "vit_medium_patch32_clip_224.tinyclip_laion400m": VIT_CLIP.but(license="mit", num_classes=512),
    "vit_mediumd_patch16_reg4_gap_256.sbb2_e200_in12k_ft_in1k": VIT_HALF.but(crop_pct=0.95, input_size=256),
    "vit_mediumd_patch16_reg4_gap_256.sbb_in12k_ft_in1k": VIT_HALF.but(crop_pct=0.95, input_size=256),
    "vit_mediumd_patch16_reg4_gap_256.sbb2_e200_in12k": VIT_HALF.but(crop_pct=0.95, input_size=256, num_classes=11821),
    "vit_mediumd_patch16_reg4_gap_256.sbb_in12k": VIT_HALF.but(crop_pct=0.95, input_size=256, num_classes=11821),
    "vit_mediumd_patch16_reg4_gap_384.sbb2_e200_in12k_ft_in1k": HALF_FULL.but(input_size=384),
    "vit_pwee_patch16_reg1_gap_256.sbb_in1k": VIT_HALF.but(crop_pct=0.95, input_size=256),
    "vit_small_patch8_224.dino": VIT.but(
        num_classes=0, url=DINO + "/dino_deitsmall8_pretrain/dino_deitsmall8_pretrain.pth"
    ),
    "vit_small_patch14_dinov2.lvd142m": FULL.but(
        input_size=518, num_classes=0, url=DINOV2 + "/dinov2_vits14/dinov2_vits14_pretrain.pth"
    ),
    "vit_small_patch14_reg4_dinov2.lvd142m": FULL.but(
        input_size=518, num_classes=0, url=DINOV2 + "/dinov2_vits14/dinov2_vits14_reg4_pretrain.pth"
    ),
    "vit_small_patch16_18x2_224.untrained": VIT_HALF,
    "vit_small_patch16_36x1_224.untrained": VIT_HALF,
    "vit_small_patch16_224.augreg_in21k_ft_in1k": augreg(
        "S_16-i21k-300ep-lr_0.001-aug_light1-wd_0.03-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.03-res_224"
    ),
    "vit_small_patch16_224.augreg_in1k": augreg(
        "S_16-i1k-300ep-lr_0.001-aug_medium2-wd_0.1-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.01-res_224"
    ),
    "vit_small_patch16_224.augreg_in21k": augreg("S_16-i21k-300ep-lr_0.001-aug_light1-wd_0.03-do_0.0-sd_0.0").but(
        num_classes=21843
    ),
    "vit_small_patch16_224.dino": VIT.but(
        num_classes=0, url=DINO + "/dino_deitsmall16_pretrain/dino_deitsmall16_pretrain.pth"
    ),
    "vit_small_patch16_384.augreg_in21k_ft_in1k": augreg(
        "S_16-i21k-300ep-lr_0.001-aug_light1-wd_0.03-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.03-res_384", HALF_FULL
    ).but(input_size=384),
    "vit_small_patch16_384.augreg_in1k": augreg(
        "S_16-i1k-300ep-lr_0.001-aug_medium2-wd_0.1-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.01-res_384", HALF_FULL
    ).but(input_size=384),
    "vit_small_patch32_224.augreg_in21k_ft_in1k": augreg(
        "S_32-i21k-300ep-lr_0.001-aug_light1-wd_0.03-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.03-res_224"
    ),
    "vit_small_patch32_224.augreg_in21k": augreg("S_32-i21k-300ep-lr_0.001-aug_light1-wd_0.03-do_0.0-sd_0.0").but(
        num_classes=21843
    ),
    "vit_small_patch32_384.augreg_in21k_ft_in1k": augreg(
        "S_32-i21k-300ep-lr_0.001-aug_light1-wd_0.03-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.03-res_384", HALF_FULL
    ).but(input_size=384),
    "vit_so150m2_patch16_reg1_gap_256.sbb_e200_in12k_ft_in1k": HALF_FULL.but(input_size=256),
    "vit_so150m2_patch16_reg1_gap_256.sbb_e200_in12k": HALF_FULL.but(input_size=256, num_classes=11821),
    "vit_so150m2_patch16_reg1_gap_384.sbb_e200_in12k_ft_in1k": HALF_FULL.but(input_size=384),
    "vit_so150m2_patch16_reg1_gap_448.sbb_e200_in12k_ft_in1k": HALF_FULL_SQUASH.but(input_size=448),
    "vit_so150m_patch16_reg4_gap_256.sbb_e250_in12k_ft_in1k": VIT_HALF.but(crop_pct=0.95, input_size=256),
    "vit_so150m_patch16_reg4_gap_256.sbb_e250_in12k": VIT_HALF.but(crop_pct=0.95, input_size=256, num_classes=11821),
    "vit_so150m_patch16_reg4_gap_384.sbb_e250_in12k_ft_in1k": HALF_FULL.but(input_size=384),
    "vit_so150m_patch16_reg4_map_256.untrained": VIT_HALF.but(input_size=256),
    "vit_so400m_patch14_reg1_tipsv2.webli": FULL.but(
        input_size=448, mean=(0.0, 0.0, 0.0), num_classes=0, std=(1.0, 1.0, 1.0)
    ),
    "vit_so400m_patch14_siglip_224.v2_webli": VIT_HALF.but(num_classes=0),
    "vit_so400m_patch14_siglip_224.webli": VIT_HALF.but(num_classes=0),
    "vit_so400m_patch14_siglip_378.v2_webli": VIT_HALF.but(input_size=378, num_classes=0),
    "vit_so400m_patch14_siglip_378.webli": VIT_HALF.but(input_size=378, num_classes=0),
    "vit_so400m_patch14_siglip_378.webli_ft_in1k": HALF_FULL_SQUASH.but(input_size=378),
    "vit_so400m_patch14_siglip_384.webli": VIT_HALF.but(input_size=384, num_classes=0),
    "vit_so400m_patch14_siglip_gap_224.v2_webli": VIT_HALF.but(num_classes=0),
    "vit_so400m_patch14_siglip_gap_224.webli": VIT_HALF.but(num_classes=0),
    "vit_so400m_patch14_siglip_gap_224.pali_mix": VIT_HALF.but(num_classes=0),
    "vit_so400m_patch14_siglip_gap_224.pali_pt": VIT_HALF.but(num_classes=0),
    "vit_so400m_patch14_siglip_gap_224.pali2_3b_pt": VIT_HALF.but(num_classes=0),
    "vit_so400m_patch14_siglip_gap_224.pali2_10b_pt": VIT_HALF.but(num_classes=0),
    "vit_so400m_patch14_siglip_gap_378.v2_webli": VIT_HALF.but(input_size=378, num_classes=0),
    "vit_so400m_patch14_siglip_gap_378.webli": HALF_FULL.but(input_size=378, num_classes=0),
    "vit_so400m_patch14_siglip_gap_378.webli_ft_in1k": HALF_FULL_SQUASH.but(input_size=378),
    "vit_so400m_patch14_siglip_gap_384.webli": HALF_FULL.but(input_size=384, num_classes=0),
    "vit_so400m_patch14_siglip_gap_448.pali_mix": HALF_FULL.but(input_size=448, num_classes=0),
    "vit_so400m_patch14_siglip_gap_448.pali_pt": HALF_FULL.but(input_size=448, num_classes=0),
    "vit_so400m_patch14_siglip_gap_448.pali_refcoco_seg": HALF_FULL.but(input_size=448, num_classes=0),
    "vit_so400m_patch14_siglip_gap_448.pali_ocrvqa": HALF_FULL.but(input_size=448, num_classes=0),
    "vit_so400m_patch14_siglip_gap_448.pali2_3b_pt": HALF_FULL.but(input_size=448, num_classes=0),
    "vit_so400m_patch14_siglip_gap_448.pali2_10b_pt": HALF_FULL.but(input_size=448, num_classes=0),
    "vit_so400m_patch14_siglip_gap_448.pali2_3b_docci": HALF_FULL.but(input_size=448, num_classes=0),
    "vit_so400m_patch14_siglip_gap_448.pali2_10b_docci": HALF_FULL.but(input_size=448, num_classes=0),
    "vit_so400m_patch14_siglip_gap_896.pali_pt": HALF_FULL.but(input_size=896, num_classes=0),
    "vit_so400m_patch14_siglip_gap_896.pali_refcoco_seg": HALF_FULL.but(input_size=896, num_classes=0),
    "vit_so400m_patch14_siglip_gap_896.pali_ocrvqa": HALF_FULL.but(input_size=896, num_classes=0),
    "vit_so400m_patch14_siglip_gap_896.pali2_3b_pt": HALF_FULL.but(input_size=896, num_classes=0),
    "vit_so400m_patch14_siglip_gap_896.pali2_10b_pt": HALF_FULL.but(input_size=896, num_classes=0),
    "vit_so400m_patch16_radio_v4.c_radio": CLIP_FULL.but(
        input_size=512,
        license="nvidia-open-model-license",
        num_classes=0,
        origin_url="https://github.com/NVlabs/RADIO",
        paper_ids="arXiv:2601.17237",
    ),
    "vit_so400m_patch16_siglip_256.v2_webli": VIT_HALF.but(input_size=256, num_classes=0),
    "vit_so400m_patch16_siglip_256.webli_i18n": VIT_HALF.but(input_size=256, num_classes=0),
    "vit_so400m_patch16_siglip_384.v2_webli": VIT_HALF.but(input_size=384, num_classes=0),
    "vit_so400m_patch16_siglip_512.v2_webli": VIT_HALF.but(input_size=512, num_classes=0),
    "vit_so400m_patch16_siglip_gap_256.v2_webli": VIT_HALF.but(input_size=256, num_classes=0),
    "vit_so400m_patch16_siglip_gap_256.webli_i18n": VIT_HALF.but(input_size=256, num_classes=0),
    "vit_so400m_patch16_siglip_gap_384.v2_webli": VIT_HALF.but(input_size=384, num_classes=0),
    "vit_so400m_patch16_siglip_gap_512.v2_webli": VIT_HALF.but(input_size=512, num_classes=0),
    "vit_tiny_patch16_224.augreg_in21k_ft_in1k": augreg(
        "Ti_16-i21k-300ep-lr_0.001-aug_none-wd_0.03-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.03-res_224"
    ),
    "vit_tiny_patch16_224.augreg_in21k": augreg("Ti_16-i21k-300ep-lr_0.001-aug_none-wd_0.03-do_0.0-sd_0.0").but(
        num_classes=21843
    ),
    "vit_tiny_patch16_384.augreg_in21k_ft_in1k": augreg(
        "Ti_16-i21k-300ep-lr_0.001-aug_none-wd_0.03-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.03-res_384", HALF_FULL
    ).but(input_size=384),
    "vit_wee_patch16_reg1_gap_256.sbb_in1k": VIT_HALF.but(crop_pct=0.95, input_size=256),
    "vit_xsmall_patch16_clip_224.tinyclip_yfcc15m": VIT_CLIP.but(license="mit", num_classes=512),
}

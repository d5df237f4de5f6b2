"""Published weights of the vision_transformer family: the first tag of a model is its default."""

from __future__ import annotations

from zoo.core.architectures.records import CLIP_MEAN, CLIP_STD, HALF, Weights

AUGREG = "https://storage.googleapis.com/vit_models/augreg"
GOOGLE_SAM = "https://storage.googleapis.com/vit_models/sam"
FLEXI = "https://storage.googleapis.com/big_vision/flexivit"
RELEASES = "https://github.com/rwightman/pytorch-image-models/releases/download"
JX = RELEASES + "/v0.1-vitjx"
TRESNET = RELEASES + "/v0.1-tresnet"
TPU = RELEASES + "/v0.1-tpu-weights"
DINOV2 = "https://dl.fbaipublicfiles.com/dinov2"
DINO = "https://dl.fbaipublicfiles.com/dino"
MAE = "https://dl.fbaipublicfiles.com/mae"
IJEPA = "https://dl.fbaipublicfiles.com/ijepa"

NATIVELY_QUICK_GELU = ("natively QuickGELU, use quickgelu model variant for original results",)

VIT = Weights(fixed_input_size=True, crop_pct=0.9)
VIT_HALF = VIT.but(mean=HALF, std=HALF)
VIT_CLIP = VIT.but(mean=CLIP_MEAN, std=CLIP_STD)
# The whole image, not its centre.
FULL, HALF_FULL, CLIP_FULL = (row.but(crop_pct=1.0) for row in (VIT, VIT_HALF, VIT_CLIP))
FULL_SQUASH, HALF_FULL_SQUASH, CLIP_FULL_SQUASH = (row.but(crop_mode="squash") for row in (FULL, HALF_FULL, CLIP_FULL))

METACLIP = CLIP_FULL.but(license="cc-by-nc-4.0")
DFN = CLIP_FULL.but(license="apple-ascl")
METACLIP_GELU, DFN_GELU = (row.but(notes=NATIVELY_QUICK_GELU) for row in (METACLIP, DFN))
MIIL = VIT.but(interpolation="bilinear", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), crop_pct=0.875)
TIPS = FULL.but(input_size=448, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), num_classes=0)
RADIO = CLIP_FULL.but(
    input_size=512,
    license="nvidia-open-model-license",
    num_classes=0,
    origin_url="https://github.com/NVlabs/RADIO",
    paper_ids="arXiv:2412.07679",
)
RADIO_V4 = RADIO.but(paper_ids="arXiv:2601.17237")


def augreg(file: str) -> Weights:
    """Arrays of How to train your ViT (arXiv:2106.10270): the name says whether they were tuned, and for which size."""
    row = HALF_FULL.but(input_size=384) if file.endswith("-res_384") else VIT_HALF
    classes = 1000 if "--imagenet2012" in file else 21843
    return row.but(custom_load=True, num_classes=classes, url=f"{AUGREG}/{file}.npz")


def flexi(file: str) -> Weights:
    """Arrays of FlexiViT (arXiv:2212.08013); `i21k` in the name are the classes."""
    row = VIT_HALF.but(crop_pct=0.95, custom_load=True, input_size=240, url=f"{FLEXI}/{file}.npz")
    return row.but(num_classes=21843) if "i21k" in file else row


def dino(name: str) -> Weights:
    return VIT.but(num_classes=0, url=f"{DINO}/dino_{name}_pretrain/dino_{name}_pretrain.pth")


def dinov2(name: str) -> Weights:
    """The files with registers lie beside those without."""
    folder = name.removesuffix("_reg4")
    return FULL.but(input_size=518, num_classes=0, url=f"{DINOV2}/dinov2_{folder}/dinov2_{name}_pretrain.pth")


def mae(size: str) -> Weights:
    return VIT.but(license="cc-by-nc-4.0", num_classes=0, url=f"{MAE}/pretrain/mae_pretrain_vit_{size}.pth")


def ijepa(file: str, row: Weights = VIT) -> Weights:
    return row.but(hub_id="", license="cc-by-nc-4.0", num_classes=0, url=f"{IJEPA}/{file}.pth.tar")


def with_quick_gelu(name: str, row: Weights) -> Weights:
    """A variant with that activation has the file of the variant without."""
    hub_id = "timm/" + name.replace("_quickgelu", "")
    return row.but(hub_id=hub_id, notes=NATIVELY_QUICK_GELU) if "_quickgelu" in name else row


ROWS = {
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
    "flexivit_base.1200ep_in1k": flexi("flexivit_b_i1k"),
    "flexivit_base.600ep_in1k": flexi("flexivit_b_i1k_600ep"),
    "flexivit_base.300ep_in1k": flexi("flexivit_b_i1k_300ep"),
    "flexivit_base.1000ep_in21k": flexi("flexivit_b_i21k_1000ep"),
    "flexivit_base.300ep_in21k": flexi("flexivit_b_i21k_300ep"),
    "flexivit_base.patch16_in21k": flexi("vit_b16_i21k_300ep"),
    "flexivit_base.patch30_in21k": flexi("vit_b30_i21k_300ep"),
    "flexivit_large.1200ep_in1k": flexi("flexivit_l_i1k"),
    "flexivit_large.600ep_in1k": flexi("flexivit_l_i1k_600ep"),
    "flexivit_large.300ep_in1k": flexi("flexivit_l_i1k_300ep"),
    "flexivit_small.1200ep_in1k": flexi("flexivit_s_i1k"),
    "flexivit_small.600ep_in1k": flexi("flexivit_s_i1k_600ep"),
    "flexivit_small.300ep_in1k": flexi("flexivit_s_i1k_300ep"),
    "test_vit.r160_in1k": VIT_HALF.but(crop_pct=0.95, input_size=160),
    "test_vit2.r160_in1k": VIT_HALF.but(crop_pct=0.95, input_size=160),
    "test_vit3.r160_in1k": VIT_HALF.but(crop_pct=0.95, input_size=160),
    "test_vit4.r160_in1k": VIT_HALF.but(crop_pct=0.95, hub_id="", input_size=160),
    "vit_base_patch8_224.augreg2_in21k_ft_in1k": VIT_HALF,
    "vit_base_patch8_224.augreg_in21k_ft_in1k": augreg(
        "B_8-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.01-res_224"
    ),
    "vit_base_patch8_224.augreg_in21k": augreg("B_8-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0"),
    "vit_base_patch8_224.dino": dino("vitbase8"),
    "vit_base_patch14_dinov2.lvd142m": dinov2("vitb14"),
    "vit_base_patch14_reg1_tipsv2.webli": TIPS,
    "vit_base_patch14_reg4_dinov2.lvd142m": dinov2("vitb14_reg4"),
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
    "vit_base_patch16_224.augreg_in21k": augreg("B_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0"),
    "vit_base_patch16_224.sam_in1k": VIT_HALF.but(custom_load=True, url=GOOGLE_SAM + "/ViT-B_16.npz"),
    "vit_base_patch16_224.bamboo": CLIP_FULL.but(
        license=None,
        num_classes=115217,
        origin_url="https://github.com/ZhangYuanhan-AI/Bamboo",
        paper_ids="arXiv:2203.07845",
    ),
    "vit_base_patch16_224.dino": dino("vitbase16"),
    "vit_base_patch16_224.mae": mae("base"),
    "vit_base_patch16_224_miil.in21k": MIIL.but(
        num_classes=11221, url=TRESNET + "/vit_base_patch16_224_in21k_miil-887286df.pth"
    ),
    "vit_base_patch16_224_miil.in21k_ft_in1k": MIIL.but(
        url=TRESNET + "/vit_base_patch16_224_1k_miil_84_4-2deb18e3.pth"
    ),
    "vit_base_patch16_384.augreg_in21k_ft_in1k": augreg(
        "B_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.01-res_384"
    ),
    "vit_base_patch16_384.orig_in21k_ft_in1k": HALF_FULL.but(
        input_size=384, url=JX + "/jx_vit_base_p16_384-83fb41ba.pth"
    ),
    "vit_base_patch16_384.augreg_in1k": augreg(
        "B_16-i1k-300ep-lr_0.001-aug_strong2-wd_0.1-do_0.1-sd_0.1--imagenet2012-steps_20k-lr_0.01-res_384"
    ),
    "vit_base_patch16_clip_224.laion2b_ft_in12k_in1k": VIT_CLIP.but(crop_pct=0.95),
    "vit_base_patch16_clip_224.openai_ft_in12k_in1k": VIT_CLIP.but(crop_pct=0.95),
    "vit_base_patch16_clip_224.laion2b_ft_in1k": CLIP_FULL,
    "vit_base_patch16_clip_224.openai_ft_in1k": VIT_CLIP,
    "vit_base_patch16_clip_224.laion2b_ft_in12k": VIT_CLIP.but(num_classes=11821),
    "vit_base_patch16_clip_224.openai_ft_in12k": VIT_CLIP.but(num_classes=11821),
    "vit_base_patch16_clip_224.laion2b": CLIP_FULL.but(num_classes=512),
    "vit_base_patch16_clip_224.laion400m_e32": CLIP_FULL.but(license="mit", num_classes=512),
    "vit_base_patch16_clip_224.datacompxl": CLIP_FULL.but(num_classes=512),
    "vit_base_patch16_clip_224.dfn2b": DFN.but(num_classes=512),
    "vit_base_patch16_clip_224.metaclip_2pt5b": METACLIP_GELU.but(num_classes=512),
    "vit_base_patch16_clip_224.metaclip_400m": METACLIP_GELU.but(num_classes=512),
    "vit_base_patch16_clip_224.openai": VIT_CLIP.but(notes=NATIVELY_QUICK_GELU, num_classes=512),
    "vit_base_patch16_clip_384.laion2b_ft_in12k_in1k": CLIP_FULL_SQUASH.but(input_size=384),
    "vit_base_patch16_clip_384.openai_ft_in12k_in1k": VIT_CLIP.but(crop_mode="squash", crop_pct=0.95, input_size=384),
    "vit_base_patch16_clip_384.laion2b_ft_in1k": CLIP_FULL_SQUASH.but(input_size=384),
    "vit_base_patch16_clip_384.openai_ft_in1k": CLIP_FULL_SQUASH.but(input_size=384),
    "vit_base_patch16_clip_quickgelu_224.metaclip_2pt5b": METACLIP.but(num_classes=512),
    "vit_base_patch16_clip_quickgelu_224.metaclip_400m": METACLIP.but(num_classes=512),
    "vit_base_patch16_clip_quickgelu_224.openai": VIT_CLIP.but(num_classes=512),
    "vit_base_patch16_gap_224.untrained": VIT_HALF,
    "vit_base_patch16_plus_240.untrained": VIT_HALF.but(crop_pct=0.95, input_size=240),
    "vit_base_patch16_plus_clip_240.laion400m_e32": CLIP_FULL.but(input_size=240, license="mit", num_classes=640),
    "vit_base_patch16_radio_v3.c_radio": RADIO,
    "vit_base_patch16_reg4_gap_256.untrained": VIT_HALF.but(input_size=256),
    "vit_base_patch16_rpn_224.sw_in1k": VIT_HALF.but(url=TPU + "/vit_base_patch16_rpn_224-sw-3b07e89d.pth"),
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
    "vit_base_patch32_224.augreg_in21k": augreg("B_32-i21k-300ep-lr_0.001-aug_medium1-wd_0.03-do_0.0-sd_0.0"),
    "vit_base_patch32_224.sam_in1k": VIT_HALF.but(custom_load=True, url=GOOGLE_SAM + "/ViT-B_32.npz"),
    "vit_base_patch32_384.augreg_in21k_ft_in1k": augreg(
        "B_32-i21k-300ep-lr_0.001-aug_light1-wd_0.1-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.03-res_384"
    ),
    "vit_base_patch32_384.augreg_in1k": augreg(
        "B_32-i1k-300ep-lr_0.001-aug_medium2-wd_0.1-do_0.1-sd_0.1--imagenet2012-steps_20k-lr_0.01-res_384"
    ),
    "vit_base_patch32_clip_224.laion2b_ft_in12k_in1k": VIT_CLIP,
    "vit_base_patch32_clip_224.openai_ft_in12k_in1k": VIT_CLIP.but(hub_id=""),
    "vit_base_patch32_clip_224.laion2b_ft_in1k": VIT_CLIP,
    "vit_base_patch32_clip_224.openai_ft_in1k": VIT_CLIP,
    "vit_base_patch32_clip_224.laion2b": VIT_CLIP.but(num_classes=512),
    "vit_base_patch32_clip_224.laion400m_e32": VIT_CLIP.but(license="mit", notes=NATIVELY_QUICK_GELU, num_classes=512),
    "vit_base_patch32_clip_224.datacompxl": CLIP_FULL.but(num_classes=512),
    "vit_base_patch32_clip_224.metaclip_2pt5b": METACLIP_GELU.but(num_classes=512),
    "vit_base_patch32_clip_224.metaclip_400m": METACLIP_GELU.but(num_classes=512),
    "vit_base_patch32_clip_224.openai": VIT_CLIP.but(notes=NATIVELY_QUICK_GELU, num_classes=512),
    "vit_base_patch32_clip_256.datacompxl": CLIP_FULL.but(input_size=256, num_classes=512),
    "vit_base_patch32_clip_384.laion2b_ft_in12k_in1k": CLIP_FULL.but(input_size=384),
    "vit_base_patch32_clip_384.openai_ft_in12k_in1k": VIT_CLIP.but(crop_mode="squash", crop_pct=0.95, input_size=384),
    "vit_base_patch32_clip_448.laion2b_ft_in12k_in1k": CLIP_FULL.but(input_size=448),
    "vit_base_patch32_clip_quickgelu_224.laion400m_e32": VIT_CLIP.but(num_classes=512, license="mit"),
    "vit_base_patch32_clip_quickgelu_224.metaclip_2pt5b": METACLIP.but(num_classes=512),
    "vit_base_patch32_clip_quickgelu_224.metaclip_400m": METACLIP.but(num_classes=512),
    "vit_base_patch32_clip_quickgelu_224.openai": VIT_CLIP.but(num_classes=512),
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
    "vit_giant_patch14_dinov2.lvd142m": dinov2("vitg14"),
    "vit_giant_patch14_reg1_tipsv2.webli": TIPS,
    "vit_giant_patch14_reg4_dinov2.lvd142m": dinov2("vitg14_reg4"),
    "vit_giant_patch16_gap_224.in22k_ijepa": ijepa("IN22K-vit.g.16-600e"),
    "vit_giant_patch16_radio_v3.c_radio": RADIO,
    "vit_giantopt_patch16_siglip_256.v2_webli": VIT_HALF.but(input_size=256, num_classes=0),
    "vit_giantopt_patch16_siglip_384.v2_webli": VIT_HALF.but(input_size=384, num_classes=0),
    "vit_giantopt_patch16_siglip_gap_256.v2_webli": VIT_HALF.but(input_size=256, num_classes=0),
    "vit_giantopt_patch16_siglip_gap_384.v2_webli": VIT_HALF.but(input_size=384, num_classes=0),
    "vit_gigantic_patch14_224.untrained": VIT_HALF,
    "vit_gigantic_patch14_clip_224.laion2b": CLIP_FULL.but(num_classes=1280),
    "vit_gigantic_patch14_clip_224.metaclip2_worldwide": METACLIP.but(num_classes=1280),
    "vit_gigantic_patch14_clip_224.metaclip_2pt5b": METACLIP_GELU.but(num_classes=1280),
    "vit_gigantic_patch14_clip_378.metaclip2_worldwide": CLIP_FULL_SQUASH.but(
        input_size=378, license="cc-by-nc-4.0", num_classes=1280
    ),
    "vit_gigantic_patch14_clip_quickgelu_224.metaclip_2pt5b": METACLIP.but(num_classes=1280),
    "vit_huge_patch14_224.orig_in21k": VIT_HALF.but(num_classes=0),
    "vit_huge_patch14_224.untrained": VIT_HALF,
    "vit_huge_patch14_224.mae": mae("huge"),
    "vit_huge_patch14_clip_224.laion2b_ft_in12k_in1k": CLIP_FULL,
    "vit_huge_patch14_clip_224.laion2b_ft_in1k": CLIP_FULL,
    "vit_huge_patch14_clip_224.laion2b_ft_in12k": CLIP_FULL.but(num_classes=11821),
    "vit_huge_patch14_clip_224.laion2b": CLIP_FULL.but(num_classes=1024),
    "vit_huge_patch14_clip_224.dfn5b": DFN_GELU.but(num_classes=1024),
    "vit_huge_patch14_clip_224.metaclip2_worldwide": METACLIP_GELU.but(num_classes=1024),
    "vit_huge_patch14_clip_224.metaclip_2pt5b": METACLIP_GELU.but(num_classes=1024),
    "vit_huge_patch14_clip_224.metaclip_altogether": METACLIP.but(num_classes=1024),
    "vit_huge_patch14_clip_336.laion2b_ft_in12k_in1k": CLIP_FULL_SQUASH.but(input_size=336),
    "vit_huge_patch14_clip_336.laion2b_ft_in1k": CLIP_FULL_SQUASH.but(hub_id="", input_size=336),
    "vit_huge_patch14_clip_378.dfn5b": DFN_GELU.but(input_size=378, num_classes=1024),
    "vit_huge_patch14_clip_378.metaclip2_worldwide": CLIP_FULL_SQUASH.but(
        input_size=378, license="cc-by-nc-4.0", num_classes=1024
    ),
    "vit_huge_patch14_clip_quickgelu_224.dfn5b": DFN.but(num_classes=1024),
    "vit_huge_patch14_clip_quickgelu_224.metaclip2_worldwide": METACLIP.but(num_classes=1024),
    "vit_huge_patch14_clip_quickgelu_224.metaclip_2pt5b": METACLIP.but(num_classes=1024),
    "vit_huge_patch14_clip_quickgelu_378.dfn5b": DFN.but(input_size=378, num_classes=1024),
    "vit_huge_patch14_gap_224.in1k_ijepa": ijepa("IN1K-vit.h.14-300e"),
    "vit_huge_patch14_gap_224.in22k_ijepa": ijepa("IN22K-vit.h.14-900e"),
    "vit_huge_patch14_xp_224.untrained": VIT_HALF,
    "vit_huge_patch16_gap_448.in1k_ijepa": ijepa("IN1K-vit.h.16-448px-300e", FULL.but(input_size=448)),
    "vit_huge_patch16_radio_v3.c_radio": RADIO,
    "vit_huge_patch16_radio_v4.c_radio": RADIO_V4,
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
    "vit_large_patch14_clip_224.dfn2b_s39b": DFN.but(num_classes=768),
    "vit_large_patch14_clip_224.dfn2b": DFN_GELU.but(num_classes=768),
    "vit_large_patch14_clip_224.metaclip_2pt5b": METACLIP_GELU.but(num_classes=768),
    "vit_large_patch14_clip_224.metaclip_400m": METACLIP_GELU.but(num_classes=768),
    "vit_large_patch14_clip_224.openai": CLIP_FULL.but(notes=NATIVELY_QUICK_GELU, num_classes=768),
    "vit_large_patch14_clip_224.apple_mclip2_dfndr2b": CLIP_FULL.but(license="apple-amlr", num_classes=768),
    "vit_large_patch14_clip_336.laion2b_ft_in12k_in1k": HALF_FULL_SQUASH.but(input_size=336),
    "vit_large_patch14_clip_336.openai_ft_in12k_in1k": CLIP_FULL_SQUASH.but(input_size=336),
    "vit_large_patch14_clip_336.laion2b_ft_in1k": HALF_FULL_SQUASH.but(input_size=336),
    "vit_large_patch14_clip_336.openai": CLIP_FULL.but(input_size=336, notes=NATIVELY_QUICK_GELU, num_classes=768),
    "vit_large_patch14_clip_quickgelu_224.dfn2b": DFN.but(num_classes=768),
    "vit_large_patch14_clip_quickgelu_224.metaclip_2pt5b": METACLIP.but(num_classes=768),
    "vit_large_patch14_clip_quickgelu_224.metaclip_400m": METACLIP.but(num_classes=768),
    "vit_large_patch14_clip_quickgelu_224.openai": CLIP_FULL.but(num_classes=768),
    "vit_large_patch14_clip_quickgelu_336.openai": CLIP_FULL.but(input_size=336, num_classes=768),
    "vit_large_patch14_dinov2.lvd142m": dinov2("vitl14"),
    "vit_large_patch14_reg1_tipsv2.webli": TIPS,
    "vit_large_patch14_reg4_dinov2.lvd142m": dinov2("vitl14_reg4"),
    "vit_large_patch14_xp_224.untrained": VIT_HALF,
    "vit_large_patch16_224.augreg_in21k_ft_in1k": augreg(
        "L_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.1-sd_0.1--imagenet2012-steps_20k-lr_0.01-res_224"
    ),
    "vit_large_patch16_224.orig_in21k": VIT_HALF.but(num_classes=0),
    "vit_large_patch16_224.augreg_in21k": augreg("L_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.1-sd_0.1"),
    "vit_large_patch16_224.mae": mae("large"),
    "vit_large_patch16_384.augreg_in21k_ft_in1k": augreg(
        "L_16-i21k-300ep-lr_0.001-aug_medium1-wd_0.1-do_0.1-sd_0.1--imagenet2012-steps_20k-lr_0.01-res_384"
    ),
    "vit_large_patch16_radio_v3.c_radio": RADIO,
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
    "vit_small_patch8_224.dino": dino("deitsmall8"),
    "vit_small_patch14_dinov2.lvd142m": dinov2("vits14"),
    "vit_small_patch14_reg4_dinov2.lvd142m": dinov2("vits14_reg4"),
    "vit_small_patch16_18x2_224.untrained": VIT_HALF,
    "vit_small_patch16_36x1_224.untrained": VIT_HALF,
    "vit_small_patch16_224.augreg_in21k_ft_in1k": augreg(
        "S_16-i21k-300ep-lr_0.001-aug_light1-wd_0.03-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.03-res_224"
    ),
    "vit_small_patch16_224.augreg_in1k": augreg(
        "S_16-i1k-300ep-lr_0.001-aug_medium2-wd_0.1-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.01-res_224"
    ),
    "vit_small_patch16_224.augreg_in21k": augreg("S_16-i21k-300ep-lr_0.001-aug_light1-wd_0.03-do_0.0-sd_0.0"),
    "vit_small_patch16_224.dino": dino("deitsmall16"),
    "vit_small_patch16_384.augreg_in21k_ft_in1k": augreg(
        "S_16-i21k-300ep-lr_0.001-aug_light1-wd_0.03-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.03-res_384"
    ),
    "vit_small_patch16_384.augreg_in1k": augreg(
        "S_16-i1k-300ep-lr_0.001-aug_medium2-wd_0.1-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.01-res_384"
    ),
    "vit_small_patch32_224.augreg_in21k_ft_in1k": augreg(
        "S_32-i21k-300ep-lr_0.001-aug_light1-wd_0.03-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.03-res_224"
    ),
    "vit_small_patch32_224.augreg_in21k": augreg("S_32-i21k-300ep-lr_0.001-aug_light1-wd_0.03-do_0.0-sd_0.0"),
    "vit_small_patch32_384.augreg_in21k_ft_in1k": augreg(
        "S_32-i21k-300ep-lr_0.001-aug_light1-wd_0.03-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.03-res_384"
    ),
    "vit_so150m2_patch16_reg1_gap_256.sbb_e200_in12k_ft_in1k": HALF_FULL.but(input_size=256),
    "vit_so150m2_patch16_reg1_gap_256.sbb_e200_in12k": HALF_FULL.but(input_size=256, num_classes=11821),
    "vit_so150m2_patch16_reg1_gap_384.sbb_e200_in12k_ft_in1k": HALF_FULL.but(input_size=384),
    "vit_so150m2_patch16_reg1_gap_448.sbb_e200_in12k_ft_in1k": HALF_FULL_SQUASH.but(input_size=448),
    "vit_so150m_patch16_reg4_gap_256.sbb_e250_in12k_ft_in1k": VIT_HALF.but(crop_pct=0.95, input_size=256),
    "vit_so150m_patch16_reg4_gap_256.sbb_e250_in12k": VIT_HALF.but(crop_pct=0.95, input_size=256, num_classes=11821),
    "vit_so150m_patch16_reg4_gap_384.sbb_e250_in12k_ft_in1k": HALF_FULL.but(input_size=384),
    "vit_so150m_patch16_reg4_map_256.untrained": VIT_HALF.but(input_size=256),
    "vit_so400m_patch14_reg1_tipsv2.webli": TIPS,
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
    "vit_so400m_patch16_radio_v4.c_radio": RADIO_V4,
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
    "vit_tiny_patch16_224.augreg_in21k": augreg("Ti_16-i21k-300ep-lr_0.001-aug_none-wd_0.03-do_0.0-sd_0.0"),
    "vit_tiny_patch16_384.augreg_in21k_ft_in1k": augreg(
        "Ti_16-i21k-300ep-lr_0.001-aug_none-wd_0.03-do_0.0-sd_0.0--imagenet2012-steps_20k-lr_0.03-res_384"
    ),
    "vit_wee_patch16_reg1_gap_256.sbb_in1k": VIT_HALF.but(crop_pct=0.95, input_size=256),
    "vit_xsmall_patch16_clip_224.tinyclip_yfcc15m": VIT_CLIP.but(license="mit", num_classes=512),
}

WEIGHTS = {name: with_quick_gelu(name, row) for name, row in ROWS.items()}

"""Published weights of the convnext family: the first tag of a model is its default."""

from __future__ import annotations

from zoo.core.architectures.records import CLIP_MEAN, CLIP_STD, HALF, Weights

URL = "https://dl.fbaipublicfiles.com/convnext"
V2_URL = URL + "/convnextv2"
RSB_URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-rsb-weights"

TEST_288 = Weights(test_input_size=288, test_crop_pct=1.0)
TIMM_95 = TEST_288.but(crop_pct=0.95)
SQUASH_384 = Weights(input_size=384, crop_pct=1.0, crop_mode="squash")
CLIP = Weights(mean=CLIP_MEAN, std=CLIP_STD, crop_pct=1.0)
CLIP_256 = CLIP.but(input_size=256)
CLIP_384 = CLIP.but(input_size=384, crop_mode="squash")
V2 = Weights(
    license="cc-by-nc-4.0",
    origin_url="https://github.com/facebookresearch/ConvNeXt-V2",
    paper_ids="arXiv:2301.00808",
    paper_name="ConvNeXt V2: Co-designing and Scaling ConvNets with Masked Autoencoders",
)
V2_288 = V2.but(test_input_size=288, test_crop_pct=1.0)
V2_384 = V2.but(input_size=384, crop_pct=1.0, crop_mode="squash")
DINOV3 = Weights(crop_pct=1.0, license="dinov3-license", num_classes=0)
EUPE = Weights(input_size=256, crop_pct=1.0, license="fair-noncommercial-research-license", num_classes=0)

WEIGHTS = {
    "convnext_atto.d2_in1k": TEST_288.but(test_crop_pct=0.95, url=RSB_URL + "/convnext_atto_d2-01bb0f51.pth"),
    "convnext_atto_ols.a2_in1k": TEST_288.but(test_crop_pct=0.95, url=RSB_URL + "/convnext_atto_ols_a2-78d1c8f3.pth"),
    "convnext_atto_rms.untrained": Weights(test_crop_pct=0.95, test_input_size=256),
    "convnext_base.fb_in22k_ft_in1k": TEST_288.but(url=URL + "/convnext_base_22k_1k_224.pth"),
    "convnext_base.fb_in1k": TEST_288.but(url=URL + "/convnext_base_1k_224_ema.pth"),
    "convnext_base.fb_in22k_ft_in1k_384": SQUASH_384.but(url=URL + "/convnext_base_22k_1k_384.pth"),
    "convnext_base.fb_in22k": Weights(num_classes=21841, url=URL + "/convnext_base_22k_224.pth"),
    "convnext_base.clip_laion2b_augreg_ft_in12k_in1k": CLIP_256,
    "convnext_base.clip_laion2b_augreg_ft_in12k_in1k_384": CLIP_384,
    "convnext_base.clip_laion2b_augreg_ft_in1k": CLIP_256,
    "convnext_base.clip_laiona_augreg_ft_in1k_384": CLIP.but(input_size=384),
    "convnext_base.clip_laion2b_augreg_ft_in12k": CLIP_256.but(num_classes=11821),
    "convnext_base.clip_laion2b": CLIP_256.but(num_classes=640),
    "convnext_base.clip_laion2b_augreg": CLIP_256.but(num_classes=640),
    "convnext_base.clip_laiona": CLIP_256.but(num_classes=640),
    "convnext_base.clip_laiona_320": CLIP.but(input_size=320, num_classes=640),
    "convnext_base.clip_laiona_augreg_320": CLIP.but(input_size=320, num_classes=640),
    "convnext_base.dinov3_lvd1689m": DINOV3,
    "convnext_base.eupe_lvd1689m": EUPE,
    "convnext_femto.d1_in1k": TEST_288.but(test_crop_pct=0.95, url=RSB_URL + "/convnext_femto_d1-d71d5b4c.pth"),
    "convnext_femto_ols.d1_in1k": TEST_288.but(test_crop_pct=0.95, url=RSB_URL + "/convnext_femto_ols_d1-246bf2ed.pth"),
    "convnext_large.fb_in22k_ft_in1k": TEST_288.but(url=URL + "/convnext_large_22k_1k_224.pth"),
    "convnext_large.fb_in1k": TEST_288.but(url=URL + "/convnext_large_1k_224_ema.pth"),
    "convnext_large.fb_in22k_ft_in1k_384": SQUASH_384.but(url=URL + "/convnext_large_22k_1k_384.pth"),
    "convnext_large.fb_in22k": Weights(num_classes=21841, url=URL + "/convnext_large_22k_224.pth"),
    "convnext_large.dinov3_lvd1689m": DINOV3,
    "convnext_large_mlp.clip_laion2b_soup_ft_in12k_in1k_320": CLIP.but(input_size=320),
    "convnext_large_mlp.clip_laion2b_soup_ft_in12k_in1k_384": CLIP_384,
    "convnext_large_mlp.clip_laion2b_augreg_ft_in1k": CLIP_256,
    "convnext_large_mlp.clip_laion2b_augreg_ft_in1k_384": CLIP_384,
    "convnext_large_mlp.clip_laion2b_soup_ft_in12k_320": CLIP.but(input_size=320, num_classes=11821),
    "convnext_large_mlp.clip_laion2b_augreg_ft_in12k_384": CLIP_384.but(num_classes=11821),
    "convnext_large_mlp.clip_laion2b_soup_ft_in12k_384": CLIP_384.but(num_classes=11821),
    "convnext_large_mlp.clip_laion2b_augreg": CLIP_256.but(num_classes=768),
    "convnext_large_mlp.clip_laion2b_ft_320": CLIP.but(input_size=320, num_classes=768),
    "convnext_large_mlp.clip_laion2b_ft_soup_320": CLIP.but(input_size=320, num_classes=768),
    "convnext_nano.in12k_ft_in1k": TIMM_95,
    "convnext_nano.d1h_in1k": TIMM_95.but(url=RSB_URL + "/convnext_nano_d1h-7eb4bdea.pth"),
    "convnext_nano.r384_in12k_ft_in1k": Weights(crop_pct=1.0, input_size=384),
    "convnext_nano.in12k": Weights(crop_pct=0.95, num_classes=11821),
    "convnext_nano.r384_in12k": Weights(crop_pct=1.0, input_size=384, num_classes=11821),
    "convnext_nano.r384_ad_in12k": Weights(crop_pct=1.0, input_size=384, num_classes=11821),
    "convnext_nano_ols.d1h_in1k": TIMM_95.but(url=RSB_URL + "/convnext_nano_ols_d1h-ae424a9a.pth"),
    "convnext_pico.d1_in1k": TEST_288.but(test_crop_pct=0.95, url=RSB_URL + "/convnext_pico_d1-10ad7f0d.pth"),
    "convnext_pico_ols.d1_in1k": TIMM_95.but(url=RSB_URL + "/convnext_pico_ols_d1-611f0ca7.pth"),
    "convnext_small.in12k_ft_in1k": TIMM_95,
    "convnext_small.in12k_ft_in1k_384": SQUASH_384,
    "convnext_small.in12k": Weights(crop_pct=0.95, num_classes=11821),
    "convnext_small.fb_in22k_ft_in1k": TEST_288.but(url=URL + "/convnext_small_22k_1k_224.pth"),
    "convnext_small.fb_in1k": TEST_288.but(url=URL + "/convnext_small_1k_224_ema.pth"),
    "convnext_small.fb_in22k_ft_in1k_384": SQUASH_384.but(url=URL + "/convnext_small_22k_1k_384.pth"),
    "convnext_small.fb_in22k": Weights(num_classes=21841, url=URL + "/convnext_small_22k_224.pth"),
    "convnext_small.dinov3_lvd1689m": DINOV3,
    "convnext_small.eupe_lvd1689m": EUPE,
    "convnext_tiny.in12k_ft_in1k": TIMM_95,
    "convnext_tiny.in12k_ft_in1k_384": SQUASH_384,
    "convnext_tiny.in12k": Weights(crop_pct=0.95, num_classes=11821),
    "convnext_tiny.fb_in22k_ft_in1k": TEST_288.but(url=URL + "/convnext_tiny_22k_1k_224.pth"),
    "convnext_tiny.fb_in1k": TEST_288.but(url=URL + "/convnext_tiny_1k_224_ema.pth"),
    "convnext_tiny.fb_in22k_ft_in1k_384": SQUASH_384.but(url=URL + "/convnext_tiny_22k_1k_384.pth"),
    "convnext_tiny.fb_in22k": Weights(num_classes=21841, url=URL + "/convnext_tiny_22k_224.pth"),
    "convnext_tiny.dinov3_lvd1689m": DINOV3,
    "convnext_tiny.eupe_lvd1689m": EUPE,
    "convnext_tiny_hnf.a2h_in1k": TIMM_95.but(url=RSB_URL + "/convnext_tiny_hnf_a2h-ab7e9df2.pth"),
    "convnext_xlarge.fb_in22k_ft_in1k": TEST_288.but(url=URL + "/convnext_xlarge_22k_1k_224_ema.pth"),
    "convnext_xlarge.fb_in22k_ft_in1k_384": SQUASH_384.but(url=URL + "/convnext_xlarge_22k_1k_384_ema.pth"),
    "convnext_xlarge.fb_in22k": Weights(num_classes=21841, url=URL + "/convnext_xlarge_22k_224.pth"),
    "convnext_xxlarge.clip_laion2b_soup_ft_in1k": CLIP_256,
    "convnext_xxlarge.clip_laion2b_soup_ft_in12k": CLIP_256.but(num_classes=11821),
    "convnext_xxlarge.clip_laion2b_soup": CLIP_256.but(num_classes=1024),
    "convnext_xxlarge.clip_laion2b_rewind": CLIP_256.but(num_classes=1024),
    "convnext_zepto_rms.ra4_e3600_r224_in1k": Weights(mean=HALF, std=HALF),
    "convnext_zepto_rms_ols.ra4_e3600_r224_in1k": Weights(crop_pct=0.9, mean=HALF, std=HALF),
    "convnextv2_atto.fcmae_ft_in1k": V2_288.but(test_crop_pct=0.95, url=V2_URL + "/im1k/convnextv2_atto_1k_224_ema.pt"),
    "convnextv2_atto.fcmae": V2.but(num_classes=0, url=V2_URL + "/pt_only/convnextv2_atto_1k_224_fcmae.pt"),
    "convnextv2_base.fcmae_ft_in22k_in1k": V2_288.but(url=V2_URL + "/im22k/convnextv2_base_22k_224_ema.pt"),
    "convnextv2_base.fcmae_ft_in22k_in1k_384": V2_384.but(url=V2_URL + "/im22k/convnextv2_base_22k_384_ema.pt"),
    "convnextv2_base.fcmae_ft_in1k": V2_288.but(url=V2_URL + "/im1k/convnextv2_base_1k_224_ema.pt"),
    "convnextv2_base.fcmae": V2.but(num_classes=0, url=V2_URL + "/pt_only/convnextv2_base_1k_224_fcmae.pt"),
    "convnextv2_femto.fcmae_ft_in1k": V2_288.but(
        test_crop_pct=0.95, url=V2_URL + "/im1k/convnextv2_femto_1k_224_ema.pt"
    ),
    "convnextv2_femto.fcmae": V2.but(num_classes=0, url=V2_URL + "/pt_only/convnextv2_femto_1k_224_fcmae.pt"),
    "convnextv2_huge.fcmae_ft_in22k_in1k_384": V2_384.but(url=V2_URL + "/im22k/convnextv2_huge_22k_384_ema.pt"),
    "convnextv2_huge.fcmae_ft_in22k_in1k_512": V2_384.but(
        input_size=512, pool_size=(15, 15), url=V2_URL + "/im22k/convnextv2_huge_22k_512_ema.pt"
    ),
    "convnextv2_huge.fcmae_ft_in1k": V2_288.but(url=V2_URL + "/im1k/convnextv2_huge_1k_224_ema.pt"),
    "convnextv2_huge.fcmae": V2.but(num_classes=0, url=V2_URL + "/pt_only/convnextv2_huge_1k_224_fcmae.pt"),
    "convnextv2_large.fcmae_ft_in22k_in1k": V2_288.but(url=V2_URL + "/im22k/convnextv2_large_22k_224_ema.pt"),
    "convnextv2_large.fcmae_ft_in22k_in1k_384": V2_384.but(url=V2_URL + "/im22k/convnextv2_large_22k_384_ema.pt"),
    "convnextv2_large.fcmae_ft_in1k": V2_288.but(url=V2_URL + "/im1k/convnextv2_large_1k_224_ema.pt"),
    "convnextv2_large.fcmae": V2.but(num_classes=0, url=V2_URL + "/pt_only/convnextv2_large_1k_224_fcmae.pt"),
    "convnextv2_nano.fcmae_ft_in22k_in1k": V2_288.but(url=V2_URL + "/im22k/convnextv2_nano_22k_224_ema.pt"),
    "convnextv2_nano.fcmae_ft_in22k_in1k_384": V2_384.but(url=V2_URL + "/im22k/convnextv2_nano_22k_384_ema.pt"),
    "convnextv2_nano.fcmae_ft_in1k": V2_288.but(url=V2_URL + "/im1k/convnextv2_nano_1k_224_ema.pt"),
    "convnextv2_nano.fcmae": V2.but(num_classes=0, url=V2_URL + "/pt_only/convnextv2_nano_1k_224_fcmae.pt"),
    "convnextv2_pico.fcmae_ft_in1k": V2_288.but(test_crop_pct=0.95, url=V2_URL + "/im1k/convnextv2_pico_1k_224_ema.pt"),
    "convnextv2_pico.fcmae": V2.but(num_classes=0, url=V2_URL + "/pt_only/convnextv2_pico_1k_224_fcmae.pt"),
    "convnextv2_tiny.fcmae_ft_in22k_in1k": V2_288.but(url=V2_URL + "/im22k/convnextv2_tiny_22k_224_ema.pt"),
    "convnextv2_tiny.fcmae_ft_in22k_in1k_384": V2_384.but(url=V2_URL + "/im22k/convnextv2_tiny_22k_384_ema.pt"),
    "convnextv2_tiny.fcmae_ft_in1k": V2_288.but(url=V2_URL + "/im1k/convnextv2_tiny_1k_224_ema.pt"),
    "convnextv2_tiny.fcmae": V2.but(num_classes=0, url=V2_URL + "/pt_only/convnextv2_tiny_1k_224_fcmae.pt"),
    "test_convnext.r160_in1k": Weights(crop_pct=0.95, input_size=160, mean=HALF, std=HALF),
    "test_convnext2.r160_in1k": Weights(crop_pct=0.95, input_size=160, mean=HALF, std=HALF),
    "test_convnext3.r160_in1k": Weights(crop_pct=0.95, input_size=160, mean=HALF, std=HALF),
}

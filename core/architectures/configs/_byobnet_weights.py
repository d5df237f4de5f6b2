"""Published weights of the byobnet family: the first tag of a model is its default."""

from __future__ import annotations

from zoo.core.architectures.records import CLIP_MEAN, CLIP_STD, HALF, Weights

URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights"
ATTN_URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-attn-weights"
TPU_URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-tpu-weights"

GENET = Weights(interpolation="bilinear")
REPVGG = GENET.but(license="mit")
MOBILEONE = GENET.but(license="mobileone-license")
TIMM_256 = Weights(input_size=256, crop_pct=0.9)
TIMM_288 = TIMM_256.but(test_input_size=288, test_crop_pct=1.0)
REGNETZ = Weights(mean=HALF, std=HALF, crop_pct=0.94, test_crop_pct=1.0)
REGNETZ_320 = REGNETZ.but(input_size=256, test_input_size=320)
CLIP = Weights(mean=CLIP_MEAN, std=CLIP_STD, crop_pct=0.9, fixed_input_size=True, license="mit")
CLIP_GAP = CLIP.but(fixed_input_size=False, num_classes=0)

WEIGHTS = {
    "bat_resnext26ts.ch_in1k": TIMM_256.but(min_input_size=256, url=ATTN_URL + "/bat_resnext26ts_256-fa6fd595.pth"),
    "eca_resnet33ts.ra2_in1k": TIMM_288.but(url=ATTN_URL + "/eca_resnet33ts_256-8f98face.pth"),
    "eca_resnext26ts.ch_in1k": TIMM_288.but(url=ATTN_URL + "/eca_resnext26ts_256-5a1d030f.pth"),
    "gcresnet33ts.ra2_in1k": TIMM_288.but(url=ATTN_URL + "/gcresnet33ts_256-0e0cd345.pth"),
    "gcresnet50t.ra2_in1k": TIMM_288.but(url=ATTN_URL + "/gcresnet50t_256-96374d1c.pth"),
    "gcresnext26ts.ch_in1k": TIMM_288.but(url=ATTN_URL + "/gcresnext26ts_256-e414378b.pth"),
    "gcresnext50ts.ch_in1k": TIMM_288.but(url=ATTN_URL + "/gcresnext50ts_256-3e0f515e.pth"),
    "gernet_l.idstcv_in1k": GENET.but(input_size=256),
    "gernet_m.idstcv_in1k": GENET,
    "gernet_s.idstcv_in1k": GENET,
    "mobileone_s0.apple_in1k": MOBILEONE,
    "mobileone_s1.apple_in1k": MOBILEONE.but(crop_pct=0.9),
    "mobileone_s2.apple_in1k": MOBILEONE.but(crop_pct=0.9),
    "mobileone_s3.apple_in1k": MOBILEONE.but(crop_pct=0.9),
    "mobileone_s4.apple_in1k": MOBILEONE.but(crop_pct=0.9),
    "regnetz_b16.ra3_in1k": REGNETZ.but(test_input_size=288, url=ATTN_URL + "/regnetz_b_raa-677d9606.pth"),
    "regnetz_b16_evos.untrained": Weights(crop_pct=0.95, mean=HALF, std=HALF, test_input_size=288),
    "regnetz_c16.ra3_in1k": REGNETZ_320.but(url=ATTN_URL + "/regnetz_c_rab2_256-a54bf36a.pth"),
    "regnetz_c16_evos.ch_in1k": TIMM_256.but(
        crop_pct=0.95, mean=HALF, std=HALF, test_input_size=320, url=TPU_URL + "/regnetz_c16_evos_ch-d8311942.pth"
    ),
    "regnetz_d8.ra3_in1k": REGNETZ_320.but(url=ATTN_URL + "/regnetz_d8_bh-afc03c55.pth"),
    "regnetz_d8_evos.ch_in1k": REGNETZ_320.but(crop_pct=0.95, url=TPU_URL + "/regnetz_d8_evos_ch-2bc12646.pth"),
    "regnetz_d32.ra3_in1k": TIMM_256.but(
        crop_pct=0.95, mean=HALF, std=HALF, test_input_size=320, url=ATTN_URL + "/regnetz_d_rab_256-b8073a89.pth"
    ),
    "regnetz_e8.ra3_in1k": REGNETZ_320.but(url=ATTN_URL + "/regnetz_e8_bh-aace8e6e.pth"),
    "repvgg_a0.rvgg_in1k": REPVGG,
    "repvgg_a1.rvgg_in1k": REPVGG,
    "repvgg_a2.rvgg_in1k": REPVGG,
    "repvgg_b0.rvgg_in1k": REPVGG,
    "repvgg_b1.rvgg_in1k": REPVGG,
    "repvgg_b1g4.rvgg_in1k": REPVGG,
    "repvgg_b2.rvgg_in1k": REPVGG,
    "repvgg_b2g4.rvgg_in1k": REPVGG,
    "repvgg_b3.rvgg_in1k": REPVGG,
    "repvgg_b3g4.rvgg_in1k": REPVGG,
    "repvgg_d2se.rvgg_in1k": REPVGG.but(crop_pct=1.0, input_size=320),
    "resnet32ts.ra2_in1k": TIMM_288.but(url=ATTN_URL + "/resnet32ts_256-aacf5250.pth"),
    "resnet33ts.ra2_in1k": TIMM_288.but(url=ATTN_URL + "/resnet33ts_256-e91b09a4.pth"),
    "resnet50_clip.openai": CLIP.but(num_classes=1024),
    "resnet50_clip.cc12m": CLIP.but(num_classes=1024),
    "resnet50_clip.yfcc15m": CLIP.but(num_classes=1024),
    "resnet50_clip_gap.openai": CLIP_GAP,
    "resnet50_clip_gap.cc12m": CLIP_GAP,
    "resnet50_clip_gap.yfcc15m": CLIP_GAP,
    "resnet50_mlp.untrained": TIMM_256,
    "resnet50x4_clip.openai": CLIP.but(input_size=288, num_classes=640),
    "resnet50x4_clip_gap.openai": CLIP_GAP.but(input_size=288),
    "resnet50x16_clip.openai": CLIP.but(input_size=384, num_classes=768),
    "resnet50x16_clip_gap.openai": CLIP_GAP.but(input_size=384),
    "resnet50x64_clip.openai": CLIP.but(input_size=448, num_classes=1024),
    "resnet50x64_clip_gap.openai": CLIP_GAP.but(input_size=448),
    "resnet51q.ra2_in1k": GENET.but(
        input_size=256, test_crop_pct=1.0, test_input_size=288, url=URL + "/resnet51q_ra2-d47dcc76.pth"
    ),
    "resnet61q.ra2_in1k": TIMM_288.but(url=URL + "/resnet61q_ra2-6afc536c.pth"),
    "resnet101_clip.openai": CLIP.but(num_classes=512),
    "resnet101_clip.yfcc15m": CLIP.but(num_classes=512),
    "resnet101_clip_gap.openai": CLIP_GAP,
    "resnet101_clip_gap.yfcc15m": CLIP_GAP,
    "resnext26ts.ra2_in1k": TIMM_288.but(url=ATTN_URL + "/resnext26ts_256_ra2-8bbd9106.pth"),
    "seresnet33ts.ra2_in1k": TIMM_288.but(url=ATTN_URL + "/seresnet33ts_256-f8ad44d9.pth"),
    "seresnext26ts.ch_in1k": TIMM_288.but(url=ATTN_URL + "/seresnext26ts_256-6f0d74a3.pth"),
    "test_byobnet.r160_in1k": Weights(crop_pct=0.95, input_size=160),
}

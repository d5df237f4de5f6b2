"""segmentation_models_pytorch with zoo's networks as its `tu-` encoders, against those of timm."""

import pytest
import torch

import zoo

NAMES = (
    "resnet18", "resnet50d", "resnetv2_50", "regnety_002", "efficientnet_b0", "mobilenetv3_small_050", "densenet121",
    "hrnet_w18_small", "convnext_atto", "vgg11_bn", "res2net50_14w_8s", "dla34", "ghostnet_050", "rexnet_100",
    "skresnet18", "swin_tiny_patch4_window7_224", "mobilevit_xxs", "pvt_v2_b0", "mambaout_femto",
)  # fmt: skip
"""Encoders of convolutions and of windows, with maps of their first stage at a stride of 2 or of 4."""


@pytest.fixture(scope="module")
def smp():
    try:  # its torchvision may be built for another torch, which fails in ways of its own
        import segmentation_models_pytorch
    except Exception as error:
        pytest.skip(f"segmentation_models_pytorch does not import: {error}")
    return segmentation_models_pytorch


def answer(run):
    """What a call gives, or the kind of error that it raises."""
    try:
        return run()
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        return type(error)


@pytest.mark.parametrize("decoder", ["Unet", "FPN", "DeepLabV3Plus"])
@pytest.mark.parametrize("name", NAMES)
def test_a_decoder_answers_with_zoo_as_with_timm(smp, name, decoder, monkeypatch):
    options = {"in_channels": 5, "classes": 2, "encoder_weights": None}
    if "224" in name:
        options["img_size"] = 64
    theirs = answer(lambda: getattr(smp, decoder)(f"tu-{name}", **options).eval())
    monkeypatch.setattr("timm.create_model", zoo.create_model)
    ours = answer(lambda: getattr(smp, decoder)(f"tu-{name}", **options).eval())
    if isinstance(theirs, type):  # DeepLabV3+ wants an encoder that can be dilated
        assert isinstance(ours, type)
        return
    # timm's feature nets are flat: their `stages_0` is `stages.0` here, as in a published checkpoint.
    values = {key.replace(".", "_"): value for key, value in theirs.state_dict().items()}
    ours.load_state_dict({key: values[key.replace(".", "_")] for key in ours.state_dict()})
    assert ours.encoder.out_channels == theirs.encoder.out_channels
    x = torch.randn(2, 5, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = theirs(x)
        assert (ours(x) - expected).abs().max() <= 1e-5 * expected.abs().max()

"""Against timm itself, where it is installed beside zoo."""

import math

import pytest
import torch
from safetensors.torch import save_file

import zoo
from zoo.cli import errors
from zoo.cli.app import app

try:
    import timm
except Exception as error:  # its torchvision may be built for another torch, which fails in ways of its own
    pytest.skip(f"timm does not import: {error}", allow_module_level=True)

MODELS = ("test_resnet", "test_efficientnet")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("in_chans", [1, 2, 4, 25])
def test_timm_loads_what_adapt_weights_writes(name, in_chans, tmp_path):
    source, adapted = tmp_path / "source.safetensors", tmp_path / "adapted.safetensors"
    save_file(timm.create_model(name).state_dict(), source)
    words = ["adapt-weights", name, "--weights", str(source), "--in-chans", str(in_chans), "-o", str(adapted)]
    assert errors.run(app, words) == 0
    ours = timm.create_model(name, in_chans=in_chans, checkpoint_path=str(adapted)).state_dict()
    options = {"pretrained": True, "pretrained_cfg_overlay": {"file": str(source)}}
    theirs = timm.create_model(name, in_chans=in_chans, **options).state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("stride", [8, 16])
def test_dilated_networks_give_timms_maps(name, stride):
    theirs = timm.create_model(name, output_stride=stride, features_only=True).eval()
    ours = zoo.create_model(name, output_stride=stride, features_only=True).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 97, 130)
    with torch.inference_mode():
        for found, expected in zip(ours(x), theirs(x), strict=True):
            assert torch.allclose(found, expected, atol=1e-5 * math.ceil(expected.abs().max()))
    assert ours.feature_info.reduction() == theirs.feature_info.reduction()

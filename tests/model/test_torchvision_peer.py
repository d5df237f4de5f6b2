"""Against torchvision itself, where it is installed beside zoo."""

import pytest
import torch
from torchvision_models import torchvision_models

import zoo
from zoo.core.model.match import repair_keys


@pytest.mark.parametrize(("name", "theirs"), [("regnety_004", "regnet_y_400mf"), ("regnetx_004_tv", "regnet_x_400mf")])
def test_a_regnet_of_torchvisions_gives_the_same_here(name, theirs):
    peer = getattr(torchvision_models(), theirs)().eval()
    model = zoo.create_model(name).eval()
    model.load_state_dict(repair_keys(model, peer.state_dict())[0])
    x = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(model(x), peer(x), atol=1e-5)


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit", "test_convnext"])
def test_its_feature_extraction_cuts_networks_at_their_levels(name):
    torchvision_models()
    from torchvision.models.feature_extraction import create_feature_extractor

    model = zoo.create_model(name, seed=0)
    levels = zoo.models.FeatureInfo(model.feature_info).module_name()
    extractor = create_feature_extractor(model, dict(zip(levels, levels, strict=True)), suppress_diff_warning=True)
    x = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    extractor.train()(x)  # both have the same statistics, which this changes
    with torch.inference_mode():
        found = extractor.eval()(x)
        expected = zoo.FeatureHookNet(model.eval(), modules=levels)(x)
    assert list(found) == levels
    assert all(torch.equal(a, b) for a, b in zip(found.values(), expected, strict=True))

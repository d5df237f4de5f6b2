"""Against torchvision itself, where it is installed beside zoo."""

import pytest
import torch
from torchvision_models import torchvision_models

import zoo
from zoo.models.regnet import repair_keys


@pytest.mark.parametrize(("name", "theirs"), [("regnety_004", "regnet_y_400mf"), ("regnetx_004_tv", "regnet_x_400mf")])
def test_a_regnet_of_torchvisions_gives_the_same_here(name, theirs):
    peer = getattr(torchvision_models(), theirs)().eval()
    model = zoo.create_model(name).eval()
    model.load_state_dict(repair_keys(peer.state_dict(), model))
    x = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(model(x), peer(x), atol=1e-5)

"""GCViT: whose queries a window answers, and which images its windows are made for."""

import pytest
import torch

import zoo
from zoo.core.errors import UsageError

SMALL = {"depths": (2, 2, 2, 2), "img_size": 64}


@pytest.fixture
def model():
    return zoo.create_model("gcvit_xxtiny", seed=0, **SMALL).eval()


def test_the_queries_of_an_image_go_to_its_own_windows(model):
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together, alone = model(images), torch.cat([model(image[None]) for image in images])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_an_image_that_is_not_square():
    model = zoo.create_model("gcvit_xxtiny", depths=SMALL["depths"], img_size=(64, 96)).eval()
    maps = model.forward_intermediates(torch.randn(1, 3, 64, 96), intermediates_only=True)
    assert [tuple(level.shape[2:]) for level in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]


def test_an_image_of_another_size_than_the_windows_are_made_for(model):
    with pytest.raises(UsageError, match="64 x 64"):
        model(torch.randn(1, 3, 128, 128))
    with pytest.raises(UsageError, match="multiples of 32"):
        zoo.create_model("gcvit_xxtiny", img_size=100)

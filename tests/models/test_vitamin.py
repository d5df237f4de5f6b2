"""ViTamin: what of its initial values and positions is its own."""

import pytest
import torch

import zoo
from zoo.core.errors import UsageError


def test_initial_values_of_the_convolutions():
    state = zoo.create_model("vitamin_small_224", depth=1, seed=0).state_dict()
    backbone = "patch_embed.backbone."
    assert state[backbone + "stages.1.1.conv1_1x1.weight"].std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.02)
    assert state[backbone + "stages.1.1.conv2_kxk.weight"].std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.05)
    assert not state[backbone + "stages.1.1.conv2_kxk.bias"].any()
    # As torch has it: uniform within the root of one by the inputs.
    limit = (1 / (128 * 9)) ** 0.5
    assert state[backbone + "pool.proj.weight"].abs().max().item() == pytest.approx(limit, rel=0.01)
    assert state[backbone + "pool.proj.bias"].any()


def test_the_largest_has_no_positions_and_takes_images_of_any_size():
    model = zoo.create_model("vitamin_xlarge_256", depth=1, device="meta")
    assert "pos_embed" not in model.state_dict()
    for size in ((64, 64), (96, 80), (336, 336)):
        assert model(torch.empty(1, 3, *size, device="meta")).shape == (1, model.num_classes or model.num_features)
    with pytest.raises(UsageError, match="256 x 256"):
        zoo.create_model("vitamin_small_224", img_size=256, depth=1, device="meta")(
            torch.empty(1, 3, 64, 64, device="meta")
        )

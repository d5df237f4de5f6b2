"""Relative positions that a perceptron makes."""

import pytest
import torch

import zoo
from zoo.core.errors import UsageError
from zoo.models.layers.log_position_bias import LogPositionBias


def test_a_bias_is_what_the_perceptron_makes_of_the_logarithm_of_the_offset():
    torch.manual_seed(0)
    layer = LogPositionBias((3, 4), num_heads=2, hidden=5, num_prefix_tokens=1).eval()
    biases = layer()[0]
    assert biases.shape == (2, 13, 13)
    assert not biases[:, 0].any()
    assert not biases[:, :, 0].any()
    query, key = 1 * 4 + 3, 2 * 4 + 0  # row 1 and column 3, row 2 and column 0: one up, three to the right
    offset = torch.tensor([-1.0, 3.0])
    expected = layer.mlp(offset.sign() * (1 + offset.abs()).log())
    torch.testing.assert_close(biases[:, 1 + query, 1 + key], expected)


def test_weights_of_one_image_size_serve_another(tmp_path):
    model = zoo.create_model("test_vit_relpos", seed=0)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    other = zoo.create_model("test_vit_relpos", img_size=(96, 128), checkpoint_path=tmp_path / "weights.pt")
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in other.state_dict().items())
    assert other(torch.zeros(1, 3, 96, 128)).shape == (1, 1000)


@pytest.mark.parametrize("shared", [False, True])
def test_a_table_has_three_biases_more_for_a_class_token(shared):
    options = {"rel_pos_type": "bias", "class_token": True, "shared_rel_pos": shared, "img_size": 48, "seed": 0}
    model = zoo.create_model("test_vit_relpos", depth=1, **options)
    table = model.shared_rel_pos if shared else model.blocks[0].attn.rel_pos
    biases, values = table()[0], table.relative_position_bias_table
    assert values.shape == (25 + 3, 3)
    assert torch.equal(biases[:, 0, 5], values[25])
    assert torch.equal(biases[:, 5, 0], values[26])
    assert torch.equal(biases[:, 0, 0], values[27])
    assert torch.equal(biases[:, 3, 3], values[12])  # no offset
    assert model(torch.randn(1, 3, 48, 48)).isfinite().all()


def test_one_perceptron_of_all_blocks_gets_a_gradient_from_each():
    model = zoo.create_model("vit_srelpos_small_patch16_224", img_size=32, depth=2, seed=0, init_values=1.0).eval()
    x = torch.randn(1, 3, 32, 32)
    gradients = []
    for depth in (0, 1):
        model.zero_grad()
        model.forward_intermediates(x, [depth], intermediates_only=True)[0].square().sum().backward()
        gradients.append(model.shared_rel_pos.mlp.fc1.weight.grad.clone())
    assert gradients[0].any()
    assert not torch.equal(*gradients)


def test_positions_need_an_image_of_their_size():
    with pytest.raises(UsageError, match="one size"):
        zoo.create_model("test_vit_relpos", dynamic_img_size=True)

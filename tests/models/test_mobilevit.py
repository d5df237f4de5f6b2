"""MobileViT on maps that its patches do not divide."""

import pytest
import torch

import zoo
from zoo.models.mobilevit import SeparableAttention


@pytest.mark.parametrize("name", ["mobilevit_xxs", "mobilevitv2_050"])
def test_a_map_keeps_its_size_where_patches_do_not_divide_it(name):
    model = zoo.create_model(name, seed=0).eval()
    with torch.inference_mode():
        maps = model.forward_intermediates(torch.randn(1, 3, 72, 104), intermediates_only=True)
    assert [tuple(found.shape[2:]) for found in maps] == [(36, 52), (18, 26), (9, 13), (5, 7), (3, 4)]


def test_places_of_a_patch_do_not_see_each_other():
    torch.manual_seed(0)
    layer, x = SeparableAttention(8), torch.randn(1, 8, 4, 6, requires_grad=True)
    layer(x)[0, :, 2, 3].sum().backward()
    assert (x.grad[0].abs().sum((0, 2)) > 0).tolist() == [False, False, True, False]

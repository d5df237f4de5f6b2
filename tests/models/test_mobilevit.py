"""MobileViT on maps that its patches do not divide."""

import pytest
import torch

import zoo
from zoo.models.mobilevit import SeparableAttention

SIZES = [(36, 52), (18, 26), (9, 13), (5, 7), (3, 4)]
GROWN = [(36, 52), (18, 26), (10, 14), (6, 8), (4, 4)]


@pytest.mark.parametrize(("name", "sizes"), [("mobilevit_xxs", SIZES), ("mobilevitv2_050", GROWN)])
def test_a_map_that_patches_do_not_divide_is_resized_for_them_and_in_the_first_version_back(name, sizes):
    model = zoo.create_model(name, seed=0).eval()
    with torch.inference_mode():
        maps = model.forward_intermediates(torch.randn(1, 3, 72, 104), intermediates_only=True)
    assert [tuple(found.shape[2:]) for found in maps] == sizes


def test_places_of_a_patch_do_not_see_each_other():
    torch.manual_seed(0)
    layer, x = SeparableAttention(8), torch.randn(1, 8, 4, 6, requires_grad=True)
    layer(x)[0, :, 2, 3].sum().backward()
    assert (x.grad[0].abs().sum((0, 2)) > 0).tolist() == [False, False, True, False]

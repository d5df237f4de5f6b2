"""ConViT: heads that start as convolutions, and the class token of levels that have none yet."""

import torch

import zoo
from zoo.models.convit import offsets

SMALL = {"embed_dim": 16, "depth": 3, "local_up_to_layer": 2, "img_size": (64, 96), "num_classes": 3}


def test_offsets_are_columns_rows_and_squared_distance():
    found = offsets((2, 3))
    assert found.shape == (6, 6, 3)
    assert found[0, 5].tolist() == [2, 1, 5]
    assert found[5, 0].tolist() == [-2, -1, 5]


def test_each_head_starts_at_an_offset_of_its_own():
    model = zoo.create_model("convit_small", seed=0, locality_strength=50.0, **SMALL)
    attn = model.blocks[0].attn
    middle = 1 * 6 + 2
    scores = attn.pos_proj(attn.rel_indices)[middle]
    columns_and_rows = [offsets((4, 6))[middle, int(best), :2].tolist() for best in scores.argmax(0)]
    assert sorted(columns_and_rows) == sorted([column, row] for row in (-1, 0, 1) for column in (-1, 0, 1))


def test_levels_before_the_class_token_have_as_many_patches():
    model = zoo.create_model("convit_tiny", seed=0, **SMALL).eval()
    x = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        for found in model.forward_intermediates(x, output_fmt="NLC", intermediates_only=True):
            assert found.shape == (2, 24, 64)
        pairs = model.forward_intermediates(x, return_prefix_tokens=True, intermediates_only=True)
        assert all(torch.equal(token[0], model.cls_token[0]) for _, token in pairs[:2])
        assert not torch.equal(pairs[2][1][0], model.cls_token[0])

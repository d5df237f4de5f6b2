"""BEiT: the biases of a grid with a class token, and what the authors' files hold besides."""

import torch

import zoo
from zoo.models.beit import unused_keys


def test_each_pair_has_its_bias():
    model = zoo.create_model("beit_base_patch16_224", img_size=(32, 48), embed_dim=24, num_heads=2, depth=1, seed=0)
    attention = model.blocks[0].attn
    rows = 3 * 5  # offsets of rows and of columns
    assert attention.relative_position_bias_table.shape == (rows + 3, 2)
    index = attention.relative_position_index
    assert index[0].tolist() == [rows + 2, *[rows] * 6]
    assert index[:, 0].tolist() == [rows + 2, *[rows + 1] * 6]
    assert index[1, 1] == index[6, 6] == rows // 2
    assert index[1, 2] == index[4, 5] == rows // 2 - 1  # the key is one column to the right
    x = torch.randn(1, 7, 24)
    plain = attention(x)
    torch.nn.init.constant_(attention.relative_position_bias_table, 3.0)
    assert torch.allclose(attention(x), plain, atol=1e-6)  # the same for all: no preference
    torch.nn.init.normal_(attention.relative_position_bias_table)
    assert not torch.allclose(attention(x), plain, atol=1e-5)


def test_the_index_of_the_authors_files_is_not_used():
    model = zoo.create_model("beitv2_base_patch16_224", device="meta", depth=1)
    index = "blocks.0.attn.relative_position_index"
    assert unused_keys({*model.state_dict(), index}, model) == {index}


def test_without_biases_it_has_positions():
    model = zoo.create_model("beit_base_patch16_224", device="meta", depth=1, relative_bias=False, embed_positions=True)
    keys = model.state_dict()
    assert keys["pos_embed"].shape == (1, 197, 768)
    assert not any("relative" in key for key in keys)

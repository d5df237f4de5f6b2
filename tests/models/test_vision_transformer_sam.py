"""Segment Anything at another size, and the names of its own files."""

import torch

import zoo
from zoo.models.vision_transformer_sam import repair_keys, unused_keys

SMALL = {"embed_dim": 32, "depth": 2, "num_heads": 2, "global_attn_indexes": (1,), "window_size": 3}


def test_a_file_of_the_whole_of_segment_anything():
    model = zoo.create_model("samvit_base_patch16", img_size=64, seed=0, **SMALL)
    state = model.state_dict()
    theirs = {f"image_encoder.{key.replace('mlp.fc', 'mlp.lin')}": value for key, value in state.items()}
    decoder = {"mask_decoder.iou_token.weight": torch.zeros(1, 256)}
    assert unused_keys(list(theirs | decoder), model) == set(decoder)
    assert repair_keys(theirs, model) == state
    assert not unused_keys(list(state), model)


def test_images_of_any_size():
    """Windows do not divide this map, and positions are resampled to it."""
    model = zoo.create_model("samvit_base_patch16", img_size=64, seed=0, **SMALL).eval()
    torch.nn.init.normal_(model.blocks[1].attn.rel_pos_h)
    torch.nn.init.normal_(model.pos_embed)
    maps = model.forward_intermediates(torch.randn(1, 3, 80, 112), intermediates_only=True)
    assert [tuple(m.shape) for m in maps] == [(1, 32, 5, 7)] * 2

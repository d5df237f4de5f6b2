"""PVT v2: files of its authors, who number the stages from 1."""

import re

import torch

import zoo
from zoo.models.pvt_v2 import repair_keys


def authors_name(name):
    if name.startswith("patch_embed."):
        return name.replace("patch_embed.", "patch_embed1.")
    stage = re.match(r"stages\.(\d)\.(downsample|blocks|norm)\.", name)
    if not stage:
        return name
    part = {"downsample": "patch_embed", "blocks": "block", "norm": "norm"}[stage[2]]
    name = f"{part}{int(stage[1]) + 1}.{name[stage.end() :]}"
    return name.replace("mlp.dwconv.", "mlp.dwconv.dwconv.")


def test_files_of_the_authors():
    model = zoo.create_model("pvt_v2_b0", device="meta")
    own = list(model.state_dict())
    theirs = {authors_name(name): torch.zeros(1) for name in own}
    assert {"patch_embed4.proj.weight", "block1.0.mlp.dwconv.dwconv.bias", "norm4.weight", "head.bias"} <= set(theirs)
    assert list(repair_keys(theirs, model)) == own
    assert list(repair_keys(dict.fromkeys(own, torch.zeros(1)), model)) == own


def test_linear_attention_pools_any_map_to_one_size():
    model = zoo.create_model("pvt_v2_b2_li", depths=(1, 1, 1, 1), embed_dims=(8, 8, 8, 8), num_heads=(1, 1, 1, 1))
    sides = []
    for stage in model.stages:
        stage.blocks[0].attn.pool.register_forward_hook(lambda _, given, found: sides.append(tuple(found.shape[2:])))
    model(torch.randn(1, 3, 96, 160))
    assert sides == [(7, 7)] * 4

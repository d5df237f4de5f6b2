"""DaViT: files of its authors and of Florence-2."""

import re

import torch

import zoo
from zoo.models.davit import repair_keys, unused_keys


def stage_name(name, downsamplings, blocks):
    name = re.sub(r"^stem\.", "stages.0.downsample.", name)
    name = re.sub(r"^stages\.(\d)\.downsample\.", rf"{downsamplings}.\1.", name)
    name = re.sub(rf"^({downsamplings}\.\d)\.conv\.", r"\1.proj.", name)
    return re.sub(r"^stages\.(\d)\.blocks\.", rf"{blocks}.\1.", name)


def authors_name(name):
    name = name.replace("head.norm.", "norms.").replace("head.fc.", "head.")
    name = stage_name(name, "patch_embeds", "main_blocks")
    return name.replace(".cpe1.", ".cpe.0.").replace(".cpe2.", ".cpe.1.")


def florence_name(name):
    name = stage_name(name, "convs", "blocks")
    kind = "window_attn" if ".spatial_block." in name else "channel_attn"
    name = re.sub(r"(_block\.)norm1\.", rf"\1{kind}.norm.", name)
    name = re.sub(r"\.attn\.", f".{kind}.fn.", name)
    name = re.sub(r"(_block\.)norm2\.", r"\1ffn.norm.", name).replace(".mlp.", ".ffn.fn.net.")
    return "vision_tower." + re.sub(r"\.cpe(\d)\.proj\.", r".conv\1.fn.dw.", name)


def test_files_of_the_authors():
    model = zoo.create_model("davit_tiny", device="meta")
    own = list(model.state_dict())
    theirs = {authors_name(name): torch.zeros(1) for name in own}
    assert {"patch_embeds.3.proj.bias", "main_blocks.2.1.0.cpe.1.proj.weight", "norms.weight"} <= set(theirs)
    assert list(repair_keys(theirs, model)) == own
    assert list(repair_keys(dict.fromkeys(own, torch.zeros(1)), model)) == own


def test_files_of_florence():
    model = zoo.create_model("davit_base_fl", device="meta")
    own = set(model.state_dict())
    theirs = {florence_name(name): torch.zeros(1) for name in own if not name.startswith("head.")}
    assert "vision_tower.blocks.2.8.channel_block.channel_attn.fn.qkv.bias" in theirs
    assert unused_keys({*theirs, "language_model.shared.weight"}, model) == {"language_model.shared.weight"}
    repaired = repair_keys(theirs, model)
    assert set(repaired) == own
    assert repaired["head.norm.weight"].eq(1).all()

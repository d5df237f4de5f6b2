"""EfficientFormer: files of its authors."""

import re

import torch

import zoo
from zoo.models.efficientformer import repair_keys

STEM = {"conv1": 0, "norm1": 1, "conv2": 3, "norm2": 4}


def authors_name(name):
    name = re.sub(r"^stem\.(\w+)", lambda layer: f"patch_embed.{STEM[layer[1]]}", name)
    name = name.replace(".downsample.conv.", ".downsample.proj.").replace("head_dist.", "dist_head.")
    name = re.sub(r"^stages\.(\d)\.downsample", lambda stage: f"network.{2 * int(stage[1]) - 1}", name)
    name = re.sub(r"^stages\.(\d)\.blocks", lambda stage: f"network.{2 * int(stage[1])}", name)
    return re.sub(r"\.ls(\d)\.gamma", r".layer_scale_\1", name)


def test_files_of_the_authors():
    model = zoo.create_model("efficientformer_l3", device="meta")
    own = list(model.state_dict())
    theirs = {authors_name(name): torch.zeros(1) for name in own}
    assert {"patch_embed.4.bias", "network.5.proj.weight", "network.6.6.layer_scale_1", "dist_head.bias"} <= set(theirs)
    assert list(repair_keys(theirs, model)) == own
    assert list(repair_keys(dict.fromkeys(own, torch.zeros(1)), model)) == own

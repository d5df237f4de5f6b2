"""MambaOut: files of its authors."""

import re

import torch

import zoo
from zoo.models.mambaout import repair_keys


def authors_name(name):
    name = re.sub(r"^head\.norm\.", "norm.", name)
    name = name.replace("head.fc.", "head.fc2.").replace("head.pre_logits.norm.", "head.norm.")
    name = name.replace("head.pre_logits.fc.", "head.fc1.").replace("stem.", "downsample_layers.0.")
    return re.sub(r"^stages\.(\d)\.downsample", r"downsample_layers.\1", name).replace(".blocks.", ".")


def test_files_of_the_authors():
    model = zoo.create_model("mambaout_femto", device="meta")
    own = list(model.state_dict())
    theirs = {authors_name(name): torch.zeros(1) for name in own}
    assert {"downsample_layers.0.norm1.bias", "stages.3.2.fc2.weight", "norm.weight", "head.norm.bias"} <= set(theirs)
    assert list(repair_keys(theirs, model)) == own
    assert list(repair_keys(dict.fromkeys(own, torch.zeros(1)), model)) == own

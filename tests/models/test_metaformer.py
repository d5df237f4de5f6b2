"""MetaFormer: files of the authors of PoolFormer, and of those of its successors."""

import re

import torch

import zoo
from zoo.models.metaformer import repair_keys


def as_linear(name, value):
    """Pointwise convolutions of the later files are linear layers."""
    return value.flatten(1) if name.endswith("weight") and value.shape[2:] == (1, 1) else value


def name_in_poolformer(name):
    name = name.replace("stem.conv.", "patch_embed.proj.").replace("head.fc.", "head.").replace("head.norm.", "norm.")
    name = re.sub(r"layer_scale(\d)\.scale", r"layer_scale_\1", name)
    name = re.sub(r"^stages\.(\d)\.downsample\.conv", lambda at: f"network.{2 * int(at[1]) - 1}.proj", name)
    return re.sub(r"^stages\.(\d)\.blocks", lambda at: f"network.{2 * int(at[1])}", name)


def name_in_caformer(name):
    name = re.sub(r"^head\.norm\.", "norm.", name)
    name = re.sub(r"^head\.fc\.", "head.", name)
    name = re.sub(r"^stem\.norm", "downsample_layers.0.post_norm", name)
    name = re.sub(r"^stem\.", "downsample_layers.0.", name)
    name = re.sub(r"^stages\.(\d)\.downsample\.norm", r"downsample_layers.\1.pre_norm", name)
    name = re.sub(r"^stages\.(\d)\.downsample", r"downsample_layers.\1", name)
    return name.replace(".blocks.", ".")


def test_files_of_poolformer():
    model = zoo.create_model("poolformer_s12", device="meta")
    own = model.state_dict()
    theirs = {name_in_poolformer(name): value for name, value in own.items()}
    assert {"patch_embed.proj.weight", "network.1.proj.bias", "network.6.1.layer_scale_2", "norm.bias"} <= set(theirs)
    assert list(repair_keys(theirs, model)) == list(own)


def test_files_of_caformer():
    model = zoo.create_model("caformer_s18", device="meta")
    own = model.state_dict()
    theirs = {name_in_caformer(name): as_linear(name, value) for name, value in own.items()}
    assert {"downsample_layers.3.pre_norm.weight", "stages.0.2.mlp.fc1.weight", "head.fc2.bias"} <= set(theirs)
    repaired = repair_keys(theirs, model)
    assert {name: value.shape for name, value in repaired.items()} == {name: v.shape for name, v in own.items()}
    assert repair_keys(own, model) == own


def test_attention_takes_images_of_any_shape():
    options = {"depths": (1, 1, 1, 1), "dims": (16, 24, 64, 96), "num_classes": 5}
    model = zoo.create_model("caformer_s18", **options, seed=0).eval()
    maps = model.forward_intermediates(torch.randn(2, 3, 64, 96), intermediates_only=True)
    assert [tuple(found.shape[1:]) for found in maps] == [(16, 16, 24), (24, 8, 12), (64, 4, 6), (96, 2, 3)]

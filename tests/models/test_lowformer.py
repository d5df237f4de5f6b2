"""LowFormer: files of its authors."""

import re

import pytest
import torch

import zoo
from zoo.models.lowformer import repair_keys


def authors_name(name, has_mlp):
    name = re.sub(r"^(in_conv|pre_classifier\.0|pre_classifier\.1|classifier)\.", lambda part: HEAD[part[1]], name)
    name = re.sub(r"^stem\.", "backbone.input_stem.op_list.", name)
    name = re.sub(r"^stages\.(\d)\.", r"backbone.stages.\1.op_list.", name)
    name = name.replace(".attn.", ".total.0.0." if has_mlp else ".total.0.")
    name = name.replace(".mlp.", ".total.0.1.").replace(".local.", ".total.1.")
    name = name.replace(".conv_proj.conv.", ".conv_proj.0.").replace(".conv_proj.norm.", ".conv_proj.1.")
    return name.replace(".pwise.", ".pwise.0.")


HEAD = {
    "in_conv": "head.op_list.0.",
    "pre_classifier.0": "head.op_list.2.linear.",
    "pre_classifier.1": "head.op_list.2.norm.",
    "classifier": "head.op_list.3.linear.",
}


@pytest.mark.parametrize("name", ["lowformer_b0", "lowformer_e1", "lowformer_e3"])
def test_files_of_the_authors(name):
    model = zoo.create_model(name, device="meta")
    own = list(model.state_dict())
    theirs = {authors_name(key, model.spec.has_mlp): torch.zeros(1) for key in own}
    assert not set(theirs) & set(own)
    assert list(repair_keys(theirs, model)) == own
    scripted = {key.replace("head.", "head.opseq.", 1): value for key, value in theirs.items()}
    assert list(repair_keys(scripted, model)) == own
    assert list(repair_keys(dict.fromkeys(own, torch.zeros(1)), model)) == own

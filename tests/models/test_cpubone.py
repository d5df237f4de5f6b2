"""CPUBone: files of its authors, maps of odd sizes."""

import re

import pytest
import torch

import zoo
from zoo.models.cpubone import SmallKernelAttention, repair_keys

HEAD = {"in_conv": 0, "pre_classifier": 2, "classifier": 3}


def authors_name(name):
    name = re.sub(r"^head\.(\w+)\.", lambda part: f"head.op_list.{HEAD[part[1]]}.", name)
    name = re.sub(r"^stem\.", "backbone.input_stem.op_list.", name)
    name = re.sub(r"^stages\.(\d)\.", r"backbone.stages.\1.op_list.", name)
    name = name.replace(".conv_proj.conv.", ".conv_proj.0.").replace(".conv_proj.norm.", ".conv_proj.1.")
    return name.replace(".pwise.", ".pwise.0.")


@pytest.mark.parametrize("name", ["cpubone_nano", "cpubone_b1_dwnorm"])
def test_files_of_the_authors(name):
    model = zoo.create_model(name, device="meta")
    own = list(model.state_dict())
    theirs = {authors_name(key): torch.zeros(1) for key in own}
    assert not set(theirs) & set(own)
    assert list(repair_keys(theirs, model)) == own
    assert list(repair_keys(dict.fromkeys(own, torch.zeros(1)), model)) == own


def test_a_bias_before_a_norm_goes_into_its_mean():
    model = zoo.create_model("cpubone_b0_bfrobust", device="meta")
    theirs = {authors_name(key): torch.ones(1) for key in model.state_dict()}
    block = "backbone.stages.3.op_list.1.total.1.main"
    theirs[f"{block}.inverted_conv.conv.bias"] = torch.full((1,), 3.0)
    theirs[f"{block}.depth_conv.conv.1.bias"] = torch.full((1,), 5.0)
    repaired = repair_keys(theirs, model)
    assert set(repaired) == set(model.state_dict())
    assert repaired["stages.3.1.total.1.main.inverted_conv.norm.running_mean"] == -2
    assert repaired["stages.3.1.total.1.main.depth_conv.norm.running_mean"] == -4
    assert repaired["stages.3.1.total.1.main.depth_conv.norm.running_var"] == 1


@pytest.mark.parametrize("stride", [1, 2])
def test_maps_of_an_odd_size(stride):
    attention = SmallKernelAttention(64, stride).eval()
    assert attention(torch.randn(1, 64, 5, 7)).shape == (1, 64, 5, 7)

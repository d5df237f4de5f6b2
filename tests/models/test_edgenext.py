"""EdgeNeXt: files of its authors."""

import re

import pytest
import torch

import zoo
from zoo.models.edgenext import repair_keys


def authors_name(name):
    name = re.sub(r"^head\.norm\.", "norm.", name).replace("head.fc.", "head.").replace("stem.", "downsample_layers.0.")
    name = re.sub(r"^stages\.(\d)\.downsample", r"downsample_layers.\1", name).replace(".blocks.", ".")
    return name.replace(".conv_dw.", ".dwconv.").replace(".mlp.fc", ".pwconv")


@pytest.mark.parametrize("name", ["edgenext_xx_small", "edgenext_small_rw"])
def test_files_of_the_authors(name):
    model = zoo.create_model(name, device="meta")
    own = list(model.state_dict())
    theirs = {authors_name(key): torch.zeros(1) for key in own}
    assert {"downsample_layers.0.1.bias", "stages.1.1.pwconv2.weight", "norm.weight", "head.bias"} <= set(theirs)
    assert list(repair_keys(theirs, model)) == own
    assert list(repair_keys(dict.fromkeys(own, torch.zeros(1)), model)) == own

"""iFormer: what its stages are made of, and files of its authors."""

import re

import pytest
import torch

import zoo
from zoo.core.errors import UsageError
from zoo.models.iformer import block_kinds, repair_keys


def test_groups_of_attention_stand_before_the_last_convolution():
    assert block_kinds(2, 0) == ["conv", "conv"]
    assert block_kinds(8, 2) == ["conv", *2 * ["positions", "attention", "mlp"], "conv"]
    assert block_kinds(3, 1) == ["positions", "attention", "mlp"]
    with pytest.raises(UsageError, match="6 blocks"):
        block_kinds(5, 2)


def authors_name(name, distilled):
    name = name.replace("head.head_dist.", "classifier.classifier_dist.")
    name = name.replace("head.head.", "classifier.classifier." if distilled else "classifier.")
    name = name.replace("stem.conv1.", "downsample_layers.0.0.")
    name = name.replace("stem.conv2.", "downsample_layers.0.2.conv_exp_bn1.")
    name = name.replace("stem.conv3.", "downsample_layers.0.2.conv_pwl_bn2.")
    name = re.sub(r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1.0.", name)
    name = re.sub(r"^stages\.(\d)\.blocks\.(\d+)\.", r"stages.\1.\2.block.", name)
    mixer = "channel_mixer" if re.search(r"module\.[02]\.", name) else "token_channel_mixer"
    return name.replace(".mixer.", f".{mixer}.").replace(".module.", ".m.")


@pytest.mark.parametrize("name", ["iformer_t", "iformer_m_distilled", "iformer_h"])
def test_files_of_the_authors(name):
    model = zoo.create_model(name, device="meta")
    own = list(model.state_dict())
    theirs = {authors_name(key, "distilled" in name): torch.zeros(1) for key in own}
    assert "stages.2.0.block.token_channel_mixer.m.1.c.weight" in theirs
    assert not set(theirs) & set(own)
    assert list(repair_keys(theirs, model)) == own
    assert list(repair_keys(dict.fromkeys(own, torch.zeros(1)), model)) == own

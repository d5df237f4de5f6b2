"""FocalNet: files of its authors."""

import re

import pytest

import zoo
from zoo.models.focalnet import repair_keys


def authors_name(name):
    name = name.replace("stem.", "patch_embed.").replace("head.fc.", "head.").replace("_post.", ".")
    name = name.replace("modulation.norm.", "modulation.ln.")
    name = re.sub(r"\.ls(\d)\.gamma", r".gamma_\1", name)
    return re.sub(r"layers\.(\d)\.downsample", lambda stage: f"layers.{int(stage[1]) - 1}.downsample", name)


def as_linear(name, value):
    """Pointwise convolutions are linear layers there."""
    pointwise = value.ndim == 4 and ".focal_layers." not in name and value.shape[2:] == (1, 1)
    return value.flatten(1) if pointwise else value


@pytest.mark.parametrize("variant", ["focalnet_tiny_srf", "focalnet_huge_fl3"])
def test_files_of_the_authors(variant):
    model = zoo.create_model(variant, device="meta")
    own = model.state_dict()
    theirs = {authors_name(name): as_linear(name, value) for name, value in own.items()}
    assert {"patch_embed.proj.weight", "layers.0.downsample.norm.bias", "layers.3.blocks.1.norm2.bias"} <= set(theirs)
    repaired = repair_keys(theirs, model)
    assert {name: value.shape for name, value in repaired.items()} == {name: v.shape for name, v in own.items()}
    assert repair_keys(own, model) == own

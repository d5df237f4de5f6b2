"""EdgeNeXt: files of its authors."""

import re

import pytest

import zoo
from zoo.core.model.match import repair_keys


def authors_name(name):
    name = re.sub(r"^head\.norm\.", "norm.", name).replace("head.fc.", "head.").replace("stem.", "downsample_layers.0.")
    name = re.sub(r"^stages\.(\d)\.downsample", r"downsample_layers.\1", name).replace(".blocks.", ".")
    return name.replace(".conv_dw.", ".dwconv.").replace(".mlp.fc", ".pwconv")


@pytest.mark.parametrize("name", ["edgenext_xx_small", "edgenext_small_rw"])
def test_files_of_the_authors(name):
    model = zoo.create_model(name, device="meta")
    own = model.state_dict()
    theirs = {authors_name(key): value for key, value in own.items()}
    assert {"downsample_layers.0.1.bias", "stages.1.1.pwconv2.weight", "norm.weight", "head.bias"} <= set(theirs)
    found, unused = repair_keys(model, theirs)
    assert {key: value.shape for key, value in found.items()} == {key: value.shape for key, value in own.items()}
    assert not unused
    assert repair_keys(model, own) == (own, ())

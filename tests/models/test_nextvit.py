"""Next-ViT: files of its authors, depths."""

import re

import pytest
import torch

import zoo
from zoo.core.errors import UsageError
from zoo.models.nextvit import repair_keys

STARTS = 0, 3, 7, 17
"""Blocks before each stage of the small one."""


def authors_name(name):
    name = re.sub(
        r"^stages\.(\d)\.blocks\.(\d+)", lambda place: f"features.{STARTS[int(place[1])] + int(place[2])}", name
    )
    return name.replace(".mlp.fc", ".mlp.conv").replace("head.fc.", "proj_head.0.")


def test_files_of_the_authors():
    model = zoo.create_model("nextvit_small", device="meta")
    own = list(model.state_dict())
    theirs = {authors_name(name): torch.zeros(1) for name in own}
    assert {"features.6.e_mhsa.q.weight", "features.19.mlp.conv2.bias", "proj_head.0.bias"} <= set(theirs)
    assert list(repair_keys(theirs, model)) == own
    assert list(repair_keys(dict.fromkeys(own, torch.zeros(1)), model)) == own


@pytest.mark.parametrize("depths", [(3, 4, 4, 3), (3, 4, 10), (3, 0, 10, 3)])
def test_depths_that_make_no_groups(depths):
    with pytest.raises(UsageError, match="multiple of 5"):
        zoo.create_model("nextvit_small", depths=depths, device="meta")

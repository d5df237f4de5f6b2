"""The names of the MViTv2 authors' files, and images that are not square."""

import re

import pytest
import torch

import zoo
from zoo.models.mvitv2 import repair_keys

SMALL = {"embed_dim": 16, "depths": (1, 2, 1, 1), "num_heads": 1, "img_size": (64, 96), "num_classes": 3}


@pytest.mark.parametrize("expand_attn", [True, False])
def test_the_authors_names(expand_attn):
    model = zoo.create_model("mvitv2_tiny", seed=0, expand_attn=expand_attn, **SMALL)
    state = model.state_dict()
    first = [0, 1, 3, 4]

    def theirs(key):
        key = re.sub(r"stages\.(\d)\.blocks\.(\d)", lambda place: f"blocks.{first[int(place[1])] + int(place[2])}", key)
        return re.sub(r"shortcut_proj_(attn|mlp)", "proj", key).replace("head.fc.", "head.projection.")

    assert repair_keys({theirs(key): value for key, value in state.items()}, model) == state
    assert repair_keys(state, model) is state


@pytest.mark.parametrize("use_cls_token", [True, False])
def test_an_image_that_is_not_square(use_cls_token):
    model = zoo.create_model("mvitv2_tiny", seed=0, use_cls_token=use_cls_token, **SMALL).eval()
    maps = model.forward_intermediates(torch.randn(1, 3, 64, 96), intermediates_only=True)
    assert [tuple(m.shape[1:]) for m in maps] == [(16, 16, 24), (32, 8, 12), (64, 4, 6), (128, 2, 3)]

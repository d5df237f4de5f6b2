"""FastViT: files of its authors and of MobileCLIP."""

import re

import pytest
import torch

import zoo
from zoo.core.model.match import repair_keys

THEIRS = {
    "stem.": "patch_embed.",
    ".conv_kxk.": ".rbr_conv.",
    ".conv_scale.": ".rbr_scale.",
    ".identity.": ".rbr_skip.",
    "final_conv.": "conv_exp.",
    ".large_conv.": ".lkb_origin.",
    ".mlp.": ".convffn.",
    ".se.fc1.": ".se.reduce.",
    ".se.fc2.": ".se.expand.",
    ".gamma": "",
    "head.fc.": "head.",
}
PLACES = {
    "fastvit_t8": ["0.blocks", "1.downsample", "1.blocks", "2.downsample", "2.blocks", "3.downsample", "3.blocks"],
    "fastvit_mci1": [
        *("0.blocks", "1.downsample", "1.blocks", "2.downsample", "2.blocks"),
        *("3.downsample", "3.pos_emb.pos_enc", "3.blocks"),
    ],
}


def authors_name(name, places):
    for ours, theirs in THEIRS.items():
        name = name.replace(ours, theirs)
    for index, place in enumerate(places):
        name = re.sub(rf"^stages\.{re.escape(place)}\.", f"network.{index}{'.pe' if 'pos' in place else ''}.", name)
    return name


@pytest.mark.parametrize("name", PLACES)
def test_files_of_the_authors(name):
    model = zoo.create_model(name, device="meta")
    own = model.state_dict()
    theirs = {authors_name(key, PLACES[name]): key for key in own}
    assert {"patch_embed.0.rbr_scale.bn.bias", "network.1.proj.0.lkb_origin.conv.weight"} <= set(theirs)
    assert ("network.6.pe.weight" in theirs) == (name == "fastvit_mci1")
    assert repair_keys(model, theirs) == ({key: key for key in own}, ())
    assert repair_keys(model, dict(own)) == (own, ())


@pytest.mark.parametrize("authors", [True, False])
def test_image_towers(authors):
    name = "fastvit_mci1"
    model = zoo.create_model(name, device="meta")
    own = dict(model.state_dict())
    if authors:
        theirs = {f"image_encoder.model.{authors_name(key, PLACES[name])}": tensor for key, tensor in own.items()}
        projection = torch.randn(1024, 512)
        theirs["image_encoder.model.head.proj"] = projection
        del theirs["image_encoder.model.head.weight"], theirs["image_encoder.model.head.bias"]
        own["head.fc.weight"], own["head.fc.bias"] = projection.T, torch.zeros(512)
    else:
        theirs = {f"visual.trunk.{key}": tensor for key, tensor in own.items()}
    repaired, unused = repair_keys(model, {**theirs, "text_encoder.embedding": torch.zeros(1)})
    assert unused == ("text_encoder.embedding",)
    assert repaired.keys() == own.keys()
    for key in ("head.fc.weight", "head.fc.bias") if authors else own:
        assert torch.equal(repaired[key], own[key]) if authors else repaired[key] is own[key]

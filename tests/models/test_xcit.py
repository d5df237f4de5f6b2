"""XCiT: files of its authors, whose class attention has one layer for queries, keys and values."""

import re

import torch

import zoo
from zoo.core.model.load import load_checkpoint

NAME = "xcit_nano_12_p16_224"


def authors_state_dict(model):
    theirs = {}
    for key, value in model.state_dict().items():
        if found := re.fullmatch(r"(cls_attn_blocks\.\d+\.attn\.)q\.(weight|bias)", key):
            before, kind = found.groups()
            theirs[f"{before}qkv.{kind}"] = torch.cat([model.state_dict()[f"{before}{x}.{kind}"] for x in "qkv"])
        elif not re.fullmatch(r"cls_attn_blocks\.\d+\.attn\.[kv]\..+", key):
            theirs[key.replace("pos_embed.", "pos_embeder.")] = value
    return theirs


def test_files_of_the_authors_load(tmp_path):
    model = zoo.create_model(NAME, seed=1)
    theirs = authors_state_dict(model)
    assert "pos_embeder.token_projection.weight" in theirs
    assert not set(theirs) >= set(model.state_dict())
    path = tmp_path / "authors.pth"
    torch.save({"model": theirs}, path)
    loaded = zoo.create_model(NAME, seed=2)
    load_checkpoint(loaded, path)
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in model.state_dict().items())


def test_positions_follow_the_size_of_the_image():
    model = zoo.create_model(NAME, seed=0, num_classes=3).eval()
    with torch.inference_mode():
        image = torch.zeros(2, 3, 80, 48)
        assert model(image).shape == (2, 3)
        assert model.forward_intermediates(image, [0], intermediates_only=True)[0].shape[2:] == (5, 3)

"""The order in which a Hiera carries its cells, and the names of the authors' files."""

import torch

import zoo
from zoo.models.hiera import repair_keys, to_map, to_units

SMALL = {"embed_dim": 16, "stages": (1, 1, 1, 1), "img_size": (64, 96), "num_classes": 3}


def test_units_hold_what_is_pooled_together_and_go_back():
    x = torch.arange(2 * 16 * 24).reshape(2, 16, 24, 1)
    units = to_units(x)
    assert units.shape == (2, 6, 64, 1)
    assert torch.equal(to_map(units, (2, 3)), x.permute(0, 3, 1, 2))
    pooled = units.unflatten(2, (4, -1)).amax(2)
    expected = torch.nn.functional.max_pool2d(x.permute(0, 3, 1, 2).float(), 2)
    assert torch.equal(to_map(pooled, (2, 3)).float(), expected)


def test_the_authors_names():
    model = zoo.create_model("hiera_tiny_224", seed=0, **SMALL)
    state = model.state_dict()
    for norm in ("norm.", "encoder_norm."):
        theirs = {
            key.replace("head.norm.", norm).replace("head.fc.", "head.projection."): value
            for key, value in state.items()
        }
        repaired = repair_keys(theirs, model)
        assert repaired.keys() == state.keys()
        assert all(repaired[key] is value for key, value in state.items())


def test_two_position_embeddings_at_another_size():
    model = zoo.create_model("hiera_small_abswin_256", seed=0, **SMALL)
    assert model.pos_embed.shape == (1, 16, 16, 16)
    assert [tuple(m.shape[2:]) for m in model.eval().forward_intermediates(torch.randn(1, 3, 64, 96))[1]] == [
        (16, 24), (8, 12), (4, 6), (2, 3)
    ]  # fmt: skip

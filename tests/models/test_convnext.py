"""ConvNeXt: its norms by their formulas, and the files of its authors and of open_clip."""

import numpy as np
import pytest
import torch

import zoo
from zoo.core.errors import InvalidInputError
from zoo.core.model.load import load_checkpoint
from zoo.models.layers.grn import GlobalResponseNorm
from zoo.models.layers.head import NormMlpHead
from zoo.models.layers.norm import norm_factory, token_norm_factory


def random(*shape):
    return torch.from_numpy(np.random.default_rng(0).normal(size=shape))


@pytest.mark.parametrize("channels_last", [True, False])
def test_global_response_norm_is_the_papers_formula(channels_last):
    norm = GlobalResponseNorm(4, channels_last=channels_last).double()
    weight, bias = random(4), random(4) + 1
    norm.load_state_dict({"weight": weight, "bias": bias})
    x = random(2, 3, 5, 4)
    found = norm(x if channels_last else x.permute(0, 3, 1, 2))
    found = found if channels_last else found.permute(0, 2, 3, 1)

    maps = x.numpy()
    strength = np.sqrt((maps**2).sum((1, 2), keepdims=True))
    relative = strength / (strength.mean(-1, keepdims=True) + 1e-6)
    expected = weight.numpy() * (maps * relative) + bias.numpy() + maps
    assert np.allclose(found.detach(), expected)


@pytest.mark.parametrize(
    ("name", "moment"),
    [("rmsnorm", lambda x: (x**2).mean(-1)), ("simplenorm", lambda x: x.var(-1, ddof=1))],
)
def test_norms_that_keep_the_mean(name, moment):
    x = random(2, 3, 5, 4)
    expected = x.numpy() / np.sqrt(moment(x.numpy())[..., None] + 1e-6)
    assert np.allclose(token_norm_factory(name)(4).double()(x).detach(), expected)
    maps = norm_factory(name, 1e-6)(4).double()(x.permute(0, 3, 1, 2))
    assert np.allclose(maps.permute(0, 2, 3, 1).detach(), expected)


def test_a_head_treats_every_pooled_vector_alike():
    head = NormMlpHead(6, norm_factory("layernorm"), hidden=4)
    first, second = torch.randn(2, 3, 6)
    both = head(torch.cat([first, second], 1))
    assert torch.allclose(both, torch.cat([head(first), head(second)], 1), atol=1e-6)
    maps = torch.randn(3, 6, 2, 2)
    assert torch.allclose(head(maps, is_map=True)[..., 1, 0], head(maps[..., 1, 0]), atol=1e-6)


# ---------------------------------------------------------------- other layouts

AUTHORS = {
    "stem.0.": "downsample_layers.0.0.",
    "stem.1.": "downsample_layers.0.1.",
    "stages.1.downsample.0.": "downsample_layers.1.0.",
    "stages.1.downsample.1.": "downsample_layers.1.1.",
    "stages.2.downsample.0.": "downsample_layers.2.0.",
    "stages.2.downsample.1.": "downsample_layers.2.1.",
    "stages.3.downsample.0.": "downsample_layers.3.0.",
    "stages.3.downsample.1.": "downsample_layers.3.1.",
    ".blocks.": ".",
    "conv_dw": "dwconv",
    "mlp.fc1": "pwconv1",
    "mlp.fc2": "pwconv2",
    "mlp.grn.weight": "grn.gamma",
    "mlp.grn.bias": "grn.beta",
    "head.fc.": "head.",
    "head.norm.": "norm.",
}


def as_authors(state_dict):
    """As the authors' code names and shapes them: linear layers, and response norms of four axes."""
    found = {}
    for key, value in state_dict.items():
        for ours, theirs in AUTHORS.items():
            key = key.replace(ours, theirs)
        if "pwconv" in key and value.ndim == 4:
            value = value.flatten(1)
        found[key] = value.reshape(1, 1, 1, -1) if ".grn." in key else value
    return found


@pytest.mark.parametrize("options", [{}, {"use_grn": True, "ls_init_value": 1.0, "conv_mlp": True}])
def test_the_authors_files(tmp_path, options):
    model = zoo.create_model("test_convnext2", seed=1, **options)
    torch.save({"model": as_authors(model.state_dict())}, tmp_path / "weights.pth")
    other = zoo.create_model("test_convnext2", seed=2, **options)
    load_checkpoint(other, tmp_path / "weights.pth")
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in model.state_dict().items())


def test_a_tower_of_open_clip(tmp_path):
    model = zoo.create_model("test_convnext2", seed=1, num_classes=8)
    tower = {f"visual.trunk.{k}": v for k, v in model.state_dict().items() if not k.startswith("head.fc.")}
    projection = model.state_dict()["head.fc.weight"]
    clip = {**tower, "visual.head.proj.weight": projection, "text.token_embedding.weight": torch.zeros(2, 2)}
    torch.save(clip, tmp_path / "clip.pth")
    other = zoo.create_model("test_convnext2", seed=2, num_classes=8)
    load_checkpoint(other, tmp_path / "clip.pth")
    assert torch.equal(other.head.fc.weight, projection)
    assert not other.head.fc.bias.any()  # open_clip projects without one
    assert torch.equal(other.stages[3].blocks[0].conv_dw.weight, model.stages[3].blocks[0].conv_dw.weight)


def test_a_pretraining_without_head_starts_its_norm_as_the_identity(tmp_path):
    model = zoo.create_model("test_convnext2", seed=1, num_classes=0)
    trunk = {k: v for k, v in model.state_dict().items() if not k.startswith("head.")}
    torch.save(trunk, tmp_path / "fcmae.pth")
    other = zoo.create_model("test_convnext2", seed=2, num_classes=0)
    load_checkpoint(other, tmp_path / "fcmae.pth")
    assert torch.equal(other.head.norm.weight, torch.ones(128))
    classifier = zoo.create_model("test_convnext2", num_classes=5)
    with pytest.raises(InvalidInputError, match=r"head\.fc"):
        load_checkpoint(classifier, tmp_path / "fcmae.pth")
    report = load_checkpoint(classifier, tmp_path / "fcmae.pth", new_classifier=True)
    assert set(report.initialised) == {"head.fc.weight", "head.fc.bias"}

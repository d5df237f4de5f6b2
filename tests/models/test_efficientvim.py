"""EfficientViM: classifiers of hidden states, files of its authors."""

import pytest
import torch
import torch.nn as nn

import zoo
from zoo.models.efficientvim import repair_keys, unused_keys
from zoo.models.layers.norm import LayerNorm2d


@pytest.fixture
def model():
    return zoo.create_model("efficientvim_m1_dist", num_classes=5, seed=0)


def test_every_classifier_reads_its_own_part(model):
    model.eval()
    parts = model.forward_features(torch.randn(2, 3, 128, 128))
    assert [tuple(part.shape) for part in parts] == [(2, 128, 49), (2, 192, 25), (2, 320, 9), (2, 320, 4)]
    with torch.inference_mode():
        model.weights.copy_(torch.tensor([0, 99.0, 0, 0]))
        model.weights_dist.copy_(torch.tensor([0, 0, 0, 99.0]))
        expected = model.heads[1](parts[1].mean(2)), model.heads_dist[3](parts[3].mean(2))
        torch.testing.assert_close(model.forward_head(parts), sum(expected) / 2)
        model.set_distilled_training()
        torch.testing.assert_close(model.train().forward_head(parts), expected)


def test_distilled_training_without_classifiers_gives_the_embedding(model):
    model.reset_classifier(0)
    model.train().set_distilled_training()
    assert model(torch.randn(2, 3, 128, 128)).shape == (2, model.num_features)
    assert not model.weights.requires_grad
    model.reset_classifier(3)
    assert model.weights.requires_grad


def test_files_of_the_authors(model):
    own = model.state_dict()
    theirs = dict(own)
    for path, module in model.named_modules():
        if isinstance(module, nn.LayerNorm):
            axes = (1, -1, 1, 1) if isinstance(module, LayerNorm2d) else (1, -1, 1)
            theirs |= {key: own[key].view(axes) for key in (f"{path}.weight", f"{path}.bias")}
    assert theirs["norm.0.weight"].shape == (1, 128, 1)
    assert theirs["stages.0.blocks.0.norm.bias"].shape == (1, 128, 1, 1)
    repaired = repair_keys(theirs, model)
    assert all(torch.equal(repaired[key], value) for key, value in own.items())
    assert not unused_keys(theirs, model)
    plain = zoo.create_model("efficientvim_m1", device="meta")
    assert unused_keys(theirs, plain) == {key for key in own if "_dist" in key}
    assert set(own) - unused_keys(theirs, plain) == set(plain.state_dict())

"""The head of InceptionNeXt: a hidden layer whose width follows from the pooling."""

import pytest
import torch

import zoo
from zoo.core.errors import UsageError

SMALL = {"depths": (1, 1, 1, 1), "dims": (16, 16, 16, 24), "num_classes": 5}


def test_the_hidden_layer_reads_what_is_pooled():
    model = zoo.create_model("inception_next_atto", global_pool="catavgmax", **SMALL).eval()
    assert model.head.fc1.weight.shape == (72, 48)
    assert model(torch.randn(2, 3, 64, 64)).shape == (2, 5)
    with pytest.raises(UsageError, match="pooled channels"):
        model.reset_classifier(5, "avg")


def test_dropout_is_behind_the_hidden_layer():
    model = zoo.create_model("inception_next_atto", drop_rate=0.5, seed=0, **SMALL).train()
    torch.manual_seed(0)
    pooled = model.forward_head(torch.randn(4, 24, 2, 2), pre_logits=True)
    assert 0.2 < (pooled == 0).float().mean() < 0.8

"""Norms that were folded into the layers before them come back, and the network computes the same."""

import pytest
import torch
import torch.nn as nn

from zoo.core.model.folding import fold_into_layers
from zoo.core.model.unfold_batch_norm import unfold_batch_norms


class Network(nn.Module):
    pretrained_cfg = {"input_size": (3, 16, 16)}

    def __init__(self, bias):
        super().__init__()
        self.norm0 = nn.BatchNorm2d(3)  # before a layer: nothing to fold it into
        self.conv1 = nn.Conv2d(3, 8, 3, bias=bias)
        self.norm1 = nn.BatchNorm2d(8, eps=1e-3)
        self.conv2 = nn.Conv2d(8, 4, 3)
        self.norm2 = nn.BatchNorm2d(4, affine=False)

    def forward(self, x):
        return self.norm2(self.conv2(self.norm1(self.conv1(self.norm0(x))).relu()))


def network(bias):
    torch.manual_seed(0)
    model = Network(bias).eval()
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape) + 0.5 if name.endswith("running_var") else torch.randn(value.shape))
    return model


@pytest.mark.parametrize("bias", [False, True])
def test_the_network_computes_what_the_folded_one_does(bias):
    model, images = network(bias), torch.randn(2, 3, 16, 16)
    by_hand = dict(model.state_dict())
    scale = by_hand["norm1.weight"] / (by_hand["norm1.running_var"] + 1e-3).sqrt()
    shift = by_hand["norm1.bias"] + (by_hand.get("conv1.bias", 0) - by_hand["norm1.running_mean"]) * scale
    folded = {name: value for name, value in by_hand.items() if not name.startswith("norm1.")}
    folded |= {"conv1.weight": by_hand["conv1.weight"] * scale[:, None, None, None], "conv1.bias": shift}
    unfolded = unfold_batch_norms(Network(bias), folded)
    again = Network(bias).eval()
    again.load_state_dict(unfolded, strict=False)
    expected, found = model(images), again(images)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert ("conv1.bias" in unfolded) == bias


def test_norms_that_are_there_stay():
    state = dict(network(False).state_dict())
    assert unfold_batch_norms(Network(False), state) == state


def test_a_layer_without_the_shift_of_its_norm_is_left_alone():
    """Such a file has lost its norms, and nothing says that they did nothing."""
    state = {name: value for name, value in network(False).state_dict().items() if not name.startswith("norm1.")}
    assert unfold_batch_norms(Network(False), state).keys() == state.keys()


def test_it_is_the_inverse_of_folding():
    model, images = network(False), torch.randn(2, 3, 16, 16)
    folded = fold_into_layers(model, images).model.state_dict()
    unfolded = unfold_batch_norms(Network(False), folded)
    assert {"norm1.weight", "norm1.bias", "norm1.running_mean", "norm1.running_var"} <= unfolded.keys()

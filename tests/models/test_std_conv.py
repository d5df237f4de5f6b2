"""Standardised weights, variance gains, filter response norm and their neighbours, against their formulas."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import zoo
from zoo.core.errors import UsageError
from zoo.models.layers.activation import make_activation
from zoo.models.layers.channel_attention import SqueezeExcite
from zoo.models.layers.gain_activation import VARIANCE_GAINS, GainActivation, variance_gain
from zoo.models.layers.norm_act import norm_act_factory
from zoo.models.layers.pool import shortcut_pool
from zoo.models.layers.std_conv import ScaledStdConv2d, StdConv2d


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def standardised(weight, eps):
    """By numpy, filter by filter."""
    filters = weight.detach().numpy().reshape(len(weight), -1)
    centred = filters - filters.mean(1, keepdims=True)
    return torch.from_numpy((centred / np.sqrt(filters.var(1, keepdims=True) + eps)).reshape(weight.shape))


class TestStandardisedConvolution:
    @pytest.mark.parametrize("options", [{}, {"groups": 2}, {"dilation": 2}, {"stride": 2}])
    def test_the_filters_are_standardised_before_use(self, options):
        conv = StdConv2d(4, 6, 3, eps=1e-3, **options).double()
        conv.weight.data = random(*conv.weight.shape) * 0.1 + 0.5
        x = random(2, 4, 9, 9, seed=1)
        expected = F.conv2d(x, standardised(conv.weight, 1e-3), padding=options.get("dilation", 1), **options)
        assert torch.allclose(conv(x), expected, atol=1e-12)

    def test_same_padding_puts_the_odd_pixel_last(self):
        conv = StdConv2d(3, 5, 3, stride=2, pad_type="same").double()
        x = random(1, 3, 8, 8)
        expected = F.conv2d(F.pad(x, (0, 1, 0, 1)), standardised(conv.weight, 1e-6), stride=2)
        assert torch.allclose(conv(x), expected, atol=1e-12)

    def test_the_scaled_one_has_gain_and_fan_in(self):
        conv = ScaledStdConv2d(4, 6, 3, scale=1.7, eps=1e-5).double()
        conv.gain.data = random(6, 1, 1, 1)
        x = random(2, 4, 9, 9, seed=1)
        weight = standardised(conv.weight, 1e-5) * conv.gain * 1.7 / np.sqrt(4 * 3 * 3)
        assert torch.allclose(conv(x), F.conv2d(x, weight, conv.bias, padding=1), atol=1e-12)

    @pytest.mark.parametrize("act", ["relu", "silu", "gelu"])
    def test_activation_and_scaled_convolution_keep_the_variance(self, act):
        conv = ScaledStdConv2d(256, 256, 1, scale=variance_gain(act), bias=False).double()
        x = random(1, 256, 64, 64)
        with torch.no_grad():
            assert conv(make_activation(act, inplace=False)(x)).var().item() == pytest.approx(1, rel=0.05)

    def test_the_gain_has_its_initial_value(self):
        assert ScaledStdConv2d(2, 3, 1, gain_init=0.0).gain.flatten().tolist() == [0, 0, 0]


@pytest.mark.parametrize("act", VARIANCE_GAINS)
def test_a_gain_is_the_inverse_of_the_deviation_of_a_normal_input(act):
    x = torch.linspace(-8, 8, 100_001, dtype=torch.float64)
    density = torch.exp(-x.square() / 2)
    density /= density.sum()
    y = make_activation(act, inplace=False)(x)
    deviation = (density * (y - (density * y).sum()).square()).sum().sqrt()
    # The published constants were sampled, so their third digit is not exact.
    assert VARIANCE_GAINS[act] == pytest.approx(1 / deviation.item(), rel=2e-3)
    assert torch.equal(GainActivation(act)(x), y * VARIANCE_GAINS[act])


def test_an_activation_without_a_gain_is_refused():
    with pytest.raises(UsageError, match="mish"):
        zoo.create_model("test_nfnet", act_layer="mish")


@pytest.mark.parametrize("act", ["relu", "identity"])
def test_filter_response_norm(act):
    norm = norm_act_factory("frntlu", act)(5).double()
    for parameter in norm.parameters():
        parameter.data = random(5, seed=len(parameter))
    x = random(2, 5, 6, 7, seed=3).numpy()
    rms = np.sqrt(np.square(x).mean((2, 3), keepdims=True) + 1e-5)
    weight, bias = (p.detach().numpy()[:, None, None] for p in (norm.weight, norm.bias))
    expected = x / rms * weight + bias
    if act == "relu":
        expected = np.maximum(expected, norm.tau.detach().numpy()[:, None, None])
    assert np.allclose(norm(torch.from_numpy(x)).detach(), expected, atol=1e-6)  # its statistics are float32


def test_a_shortcuts_pool():
    x = random(1, 2, 5, 5)
    assert isinstance(shortcut_pool(1), torch.nn.Identity)
    halved = shortcut_pool(2)(x)
    assert halved.shape == (1, 2, 3, 3)
    assert torch.allclose(halved[..., 2, 2], x[..., 4, 4])  # the corner has one pixel and counts no padding
    assert shortcut_pool(1, dilation=2)(x).shape == x.shape


def test_the_hidden_width_of_squeeze_and_excitation_may_be_given():
    assert SqueezeExcite(64, hidden=5).fc1.out_channels == 5
    assert SqueezeExcite(64, ratio=0.4).fc1.out_channels == 24  # a multiple of 8

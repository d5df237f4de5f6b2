"""The algebra of layers and norms, against the layers and norms themselves."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from zoo.models.layers.linear_map import Diagonal, LinearMap, NotDiagonalError, sum_of_normed

from feature_checks import noise, with_statistics


def conv(kernel, **options):
    return nn.Conv2d(8, 8, kernel, padding=kernel // 2, **options).double()


def norm():
    return with_statistics(nn.BatchNorm2d(8)).double()


IMAGES = noise(2, 8, 7, 9).double()
LAYERS = {
    "plain": conv(3),
    "without bias": conv(3, bias=False),
    "depthwise": conv(5, groups=8),
    "groups and stride": conv(3, groups=4, stride=2),
    "dilated": nn.Conv2d(8, 8, 3, padding=2, dilation=2).double(),
}


def assert_same(map_, like, expected):
    torch.testing.assert_close(map_.as_layer(like)(IMAGES), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_a_norm_behind_a_layer(name):
    layer, behind = LAYERS[name], norm()
    assert_same(LinearMap.of(layer, behind), layer, behind(layer(IMAGES)))


def test_a_norm_before_a_layer():
    layer, before = conv(1), norm()
    assert_same(LinearMap.of(layer).after(Diagonal.of(before)), layer, layer(before(IMAGES)))
    linear, before = nn.Linear(8, 3).double(), with_statistics(nn.BatchNorm1d(8)).double()
    vectors = noise(5, 8).double()
    found = LinearMap.of(linear).after(Diagonal.of(before)).as_layer(linear)
    torch.testing.assert_close(found(vectors), linear(before(vectors)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_a_sum_of_kernels_of_several_sizes_and_the_input(groups):
    large, small = (nn.Sequential(conv(kernel, groups=groups), norm()) for kernel in (5, 1))
    beside = norm()
    found = sum_of_normed([small, large]) + Diagonal.of(beside) + Diagonal.identity(large[0])
    assert_same(found, large[0], small(IMAGES) + large(IMAGES) + beside(IMAGES) + IMAGES)


def test_factors_means_and_differences():
    layer, beside, factors = conv(3), norm(), noise(8, seed=3)
    found = (LinearMap.of(layer) + -Diagonal.of(beside)).then(Diagonal.factor(factors)) / 2
    assert_same(found, layer, (layer(IMAGES) - beside(IMAGES)) * factors.double().view(-1, 1, 1) / 2)


def test_a_layer_keeps_the_dtype_and_the_options_of_the_one_it_is_like():
    layer = nn.Conv2d(4, 8, 3, 2, 1, groups=2, dtype=torch.float16).requires_grad_(False).eval()
    found = LinearMap.of(layer).as_layer(layer)
    assert found.weight.dtype == found.bias.dtype == torch.float16
    assert not found.weight.requires_grad
    assert not found.training
    assert torch.equal(found.weight, layer.weight)
    assert (found.stride, found.padding, found.groups) == (layer.stride, layer.padding, layer.groups)


@pytest.mark.parametrize(
    "other", [nn.GroupNorm(2, 8), nn.BatchNorm2d(8, track_running_stats=False), nn.Identity()], ids=str
)
def test_a_norm_that_is_no_diagonal_map(other):
    with pytest.raises(NotDiagonalError, match="batch norm with statistics"):
        Diagonal.of(other)


def test_a_norm_without_weights():
    bare = nn.BatchNorm2d(8, affine=False).double().eval()
    bare.running_var.fill_(4)
    found = Diagonal.of(bare)
    torch.testing.assert_close(F.conv2d(IMAGES, torch.diag(found.scale)[..., None, None], found.shift), bare(IMAGES))

"""Batch norms and layer scales are folded where that changes nothing, in every family, and nowhere else."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import zoo
from zoo.core.architectures import registry
from zoo.core.export.engine import FeatureEngine
from zoo.core.model.features import FeatureHookNet, FeatureListNet
from zoo.core.model.folding import fold_into_layers
from zoo.models.layers.layer_scale import ChannelScale, scale_maps, scale_tokens

from feature_checks import (
    TOLERANCE,
    batch_norms,
    difference,
    layer_scales,
    noise,
    one_by_one,
    with_scales,
    with_statistics,
)
from golden import SMALL, build, golden, smallest

LITE0 = "tf_efficientnet_lite0.pypi_in1k"
UNFOLDABLE = {
    "byoanet": 19,
    "convmixer": 65,
    "densenet": 62,
    "dpn": 20,
    "ghostnet": 1,
    "inception_next": 15,
    "maxxvit": 2,
    "nasnet": 4,
    "pnasnet": 4,
    "repghost": 1,
    "resnetv2": 8,
    "swiftformer": 4,
    "visformer": 23,
    "xception_aligned": 16,
    "xcit": 12,
}
"""Norms whose input is a sum, several maps, activated, what attention gives or a level itself, as the papers of these
families put them: no layer is before them."""

UNFOLDABLE_SCALES = {"efficientformer": 14, "mobilenetv5": 23, "rdnet": 15}
"""Scales of pooled positions, behind RMS norms, and of maps that squeeze-and-excitation has scaled."""


def families():
    for family in registry.families():
        big = golden(family)[smallest(family)]["params"] > SMALL
        yield pytest.param(family, marks=pytest.mark.full if big else (), id=family)


@pytest.mark.parametrize("family", list(families()))
def test_every_level_of_every_family_stays_what_it_is(family):
    name = smallest(family)
    model = with_scales(with_statistics(build(name, seed=0)))
    net = FeatureListNet(model, range(len(model.feature_info)))
    size = golden(family)[name]["outputs"]["input_size"]
    images = noise(2, *size, seed=1)
    with torch.inference_mode():
        expected = net(images)
        exact = copy.deepcopy(net).double()(images.double())
    state = copy.deepcopy(net.state_dict())
    engine = FeatureEngine(net, tuple(size))
    # A network that magnifies differences is as far from itself in float64.
    assert difference(engine(images), expected) <= max(TOLERANCE, 2 * difference(expected, exact))
    assert engine.folded_norms == len(batch_norms(net)) - UNFOLDABLE.get(family, 0)
    assert engine.folded_scales == len(layer_scales(net)) - UNFOLDABLE_SCALES.get(family, 0)
    assert not engine.notes
    assert all(torch.equal(tensor, state[key]) for key, tensor in net.state_dict().items())


def test_scales_of_channels_that_a_layer_of_positions_gives_stay():
    model = with_scales(build("resmlp_12_224", seed=0, num_classes=0))
    images = noise(1, 3, *model.img_size)
    folding = fold_into_layers(model, images)
    assert (folding.scales, len(layer_scales(folding.model)), folding.note) == (12, 12, "")
    with torch.inference_mode():
        assert difference(folding.model(images), model(images)) <= TOLERANCE


@pytest.mark.parametrize("in_chans", [1, 3, 25])
def test_real_weights_give_the_features_of_a_plain_loop(in_chans):
    net = zoo.create_model(LITE0, pretrained=True, in_chans=in_chans, features_only=True).eval()
    images = noise(3, in_chans, 96, 96)
    engine = FeatureEngine(net, (in_chans, 224, 224))
    assert engine.folded_norms == len(batch_norms(net)) > 0
    assert difference(engine(images), one_by_one(net, images)) <= TOLERANCE


class Small(nn.Module):
    """Convolution, linear layer and norms, put together by a function."""

    def __init__(self, run):
        super().__init__()
        self.conv, self.other = nn.Conv2d(3, 4, 3, bias=False), nn.Conv2d(3, 4, 3)
        self.norm, self.second = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        self.linear, self.token_norm = nn.Linear(6, 4), nn.BatchNorm1d(4)
        self.run = run

    def forward(self, x):
        found = self.run(self, x)
        return found if isinstance(found, list) else [found]


def twice(m, x):
    """One layer for two norms."""
    return m.norm(m.conv(x)) + m.second(m.conv(x))


def shared_weight(m, x):
    """Another layer computes with the same weight."""
    return m.norm(m.conv(x)) + F.conv2d(x, m.conv.weight)


def read_beside(m, x):
    y = m.conv(x)
    return m.norm(y) + y.mean()


def shown(m, x):
    """What the norm reads is a result, too."""
    y = m.conv(x)
    return [m.norm(y), y]


def changed_between(m, x):
    y = m.conv(x)
    y[:, 0] = 1
    return m.norm(y)


def derived_weight(m, x):
    return m.norm(F.conv2d(x, m.conv.weight * 2))


def one_norm_for_two(m, x):
    return m.norm(m.conv(x)) + m.norm(m.other(x))


def over_positions(m, x):
    """Four tokens: the norm's channels are not the layer's."""
    return m.token_norm(m.linear(x[:, 0, :4]))


@pytest.mark.parametrize(
    "run",
    [twice, shared_weight, read_beside, shown, changed_between, derived_weight, one_norm_for_two, over_positions],
)
def test_a_norm_that_more_than_one_layer_depends_on_stays(run):
    model = with_statistics(Small(run))
    images = noise(2, 3, 6, 6)
    folding = fold_into_layers(model, images)
    assert (folding.norms, folding.note) == (0, "")
    with torch.inference_mode():
        assert difference(folding.model(images), model(images)) == 0


def plain(m, x):
    return m.norm(m.conv(x))


def two_layers(m, x):
    return m.norm(m.conv(x)) + m.second(m.other(x)).relu_()


def tokens(m, x):
    y = m.linear(x[:, 0])
    return m.token_norm(y.flatten(0, 1)).reshape_as(y)


def by_keywords(m, x):
    y = torch.transpose(m.conv(x), dim0=1, dim1=2).transpose(dim0=1, dim1=2).permute(dims=(0, 1, 2, 3))
    return torch.flatten(input=F.dropout(input=m.norm(y), training=False), start_dim=2)


def test_arguments_by_keyword_change_nothing():
    model, images = with_statistics(Small(by_keywords)), noise(2, 3, 6, 6)
    folding = fold_into_layers(model, images)
    assert folding.note == ""
    with torch.inference_mode():
        assert difference(folding.model(images), model(images)) <= 1e-6


@pytest.mark.parametrize(("run", "pairs"), [(plain, 1), (two_layers, 2), (tokens, 1)])
def test_a_norm_behind_one_layer_is_folded(run, pairs):
    model = with_statistics(Small(run))
    images = noise(2, 3, 6, 6)
    folding = fold_into_layers(model, images)
    assert folding.norms == pairs
    with torch.inference_mode():
        assert difference(folding.model(images), model(images)) <= 1e-6


def test_a_norm_without_weights_or_statistics():
    images = noise(2, 3, 6, 6)
    bare = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)).eval()
    bare[1].running_var.fill_(4)
    folding = fold_into_layers(bare, images)
    assert folding.norms == 1
    assert torch.allclose(folding.model(images), bare[0](images) / (4 + 1e-5) ** 0.5, atol=1e-6)
    of_the_batch = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)).eval()
    assert fold_into_layers(of_the_batch, images).norms == 0


def test_a_hooked_norm_stays():
    images = noise(2, 3, 6, 6)
    model = with_statistics(Small(plain))
    model.norm.register_forward_hook(lambda module, inputs, output: output * 2)
    folding = fold_into_layers(model, images)
    assert (folding.norms, folding.note) == (0, "")
    assert difference(folding.model(images), model(images)) == 0


def test_outputs_read_by_hooks_stay_what_they_are():
    model = with_statistics(zoo.create_model("test_resnet", seed=0))
    net = FeatureHookNet(model, modules=["conv1", "bn1", "layer1.0.conv1", "layer2"])
    images = noise(2, 3, 64, 64)
    folding = fold_into_layers(net, images)
    assert folding.norms == len(batch_norms(net)) - 2  # all but those behind the convolutions that are read
    with torch.inference_mode():
        assert difference(folding.model(images), net(images)) <= TOLERANCE


def test_a_fold_that_shows_is_taken_back():
    images = noise(2, 3, 6, 6)
    # What depends on the norm's own state, which no data flow shows.
    stateful = with_statistics(Small(lambda m, x: m.norm(m.conv(x)) * isinstance(m.norm, nn.BatchNorm2d)))
    folding = fold_into_layers(stateful, images)
    assert folding.norms == 0
    assert folding.note.startswith("Norms and scales were not folded: maps would differ by 1.0e+00")
    assert difference(folding.model(images), stateful(images)) == 0


class Scaled(ChannelScale):
    """Layers of four channels, and scales, put together by a function."""

    scales = "gamma", "second"

    def __init__(self, run):
        super().__init__()
        self.linear, self.other = nn.Linear(4, 4), nn.Linear(4, 4, bias=False)
        self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.LayerNorm(4)
        self.gamma = nn.Parameter(torch.tensor([0.5, 2.0, -3.0, 0.1]))
        self.second = nn.Parameter(torch.tensor([-1.0, 0.3, 5.0, 2.0]))
        self.run = run

    def forward(self, x):
        found = self.run(self, x)
        return found if isinstance(found, list) else [found]

    def scale_first(self, x):
        return scale_tokens(x, self.gamma)


def of_tokens(m, x):
    return m.scale_first(m.linear(x))


def of_two_layers(m, x):
    return m.scale_first(m.linear(x)) + scale_tokens(m.other(x), m.second)


def of_a_norm(m, x):
    return m.scale_first(m.norm(x))


def of_a_map(m, x):
    return scale_maps(m.conv(x), m.gamma)


def of_tokens_as_a_map(m, x):
    return scale_maps(m.linear(x).permute(0, 3, 1, 2), m.gamma)


def of_a_map_as_tokens(m, x):
    return m.scale_first(m.conv(x).flatten(2).transpose(1, 2))


def behind_dropout(m, x):
    return m.scale_first(F.dropout(m.linear(x).contiguous(), 0.5, m.training))


@pytest.mark.parametrize(
    ("run", "scales"),
    [
        (of_tokens, 1),
        (of_two_layers, 2),
        (of_a_norm, 1),
        (of_a_map, 1),
        (of_tokens_as_a_map, 1),
        (of_a_map_as_tokens, 1),
        (behind_dropout, 1),
    ],
)
def test_a_scale_behind_one_layer_is_folded(run, scales):
    model, images = Scaled(run).eval(), noise(2, 4, 4, 4)
    folding = fold_into_layers(model, images)
    assert (folding.norms, folding.scales, folding.note) == (0, scales, "")
    with torch.inference_mode():
        assert difference(folding.model(images), model(images)) <= 1e-6
    assert len(layer_scales(model)) == 2  # the given model stays what it is


def of_another_axis(m, x):
    """Four rows are scaled, not the four channels."""
    return scale_maps(m.linear(x), m.gamma)


def of_merged_channels(m, x):
    return (m.linear(x).reshape(2, 4, 2, 8) * m.gamma.repeat(2)).sum(-1)


def layer_read_beside(m, x):
    y = m.linear(x)
    return [m.scale_first(y), y]


def one_scale_for_two(m, x):
    return m.scale_first(m.linear(x)) + m.scale_first(m.other(x))


def scale_read_beside(m, x):
    return m.scale_first(m.linear(x)) + m.gamma


def of_a_sum(m, x):
    return m.scale_first(m.linear(x) + x)


def changed_in_place(m, x):
    return m.scale_first(m.linear(x).relu_())


def another_bias(m, x):
    return m.scale_first(F.linear(x, m.linear.weight, m.linear.bias + 1))


def one_layer_twice(m, x):
    return m.scale_first(m.linear(m.linear(x)))


@pytest.mark.parametrize(
    "run",
    [of_another_axis, of_merged_channels, layer_read_beside, one_scale_for_two, scale_read_beside, of_a_sum,
     one_layer_twice, another_bias, changed_in_place],
)  # fmt: skip
def test_a_scale_that_more_than_one_layer_depends_on_stays(run):
    model, images = Scaled(run).eval(), noise(2, 4, 4, 4)
    folding = fold_into_layers(model, images)
    assert (folding.scales, folding.note) == (0, "")
    with torch.inference_mode():
        assert difference(folding.model(images), model(images)) == 0


def test_a_parameter_of_a_module_that_does_not_know_of_scales_stays():
    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.gamma = nn.Linear(4, 4), nn.Parameter(torch.rand(4))

        def forward(self, x):
            return [self.layer(x) * self.gamma]

    assert fold_into_layers(Product(), noise(2, 4)).scales == 0

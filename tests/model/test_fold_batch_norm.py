"""Batch norms are folded where that changes nothing, in every family, and nowhere else."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import zoo
from zoo.core.architectures import registry
from zoo.core.export.engine import FeatureEngine
from zoo.core.model.features import FeatureHookNet, FeatureListNet
from zoo.core.model.fold_batch_norm import fold_batch_norm

from feature_checks import TOLERANCE, batch_norms, difference, noise, one_by_one, with_statistics
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


def families():
    for family in registry.families():
        big = golden(family)[smallest(family)]["params"] > SMALL
        yield pytest.param(family, marks=pytest.mark.full if big else (), id=family)


@pytest.mark.parametrize("family", list(families()))
def test_every_level_of_every_family_stays_what_it_is(family):
    name = smallest(family)
    model = with_statistics(build(name, seed=0))
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
    assert not engine.notes
    assert all(torch.equal(tensor, state[key]) for key, tensor in net.state_dict().items())


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
    folding = fold_batch_norm(model, images)
    assert (folding.folded, folding.note) == (0, "")
    with torch.inference_mode():
        assert difference(folding.model(images), model(images)) == 0


def plain(m, x):
    return m.norm(m.conv(x))


def two_layers(m, x):
    return m.norm(m.conv(x)) + m.second(m.other(x)).relu_()


def tokens(m, x):
    y = m.linear(x[:, 0])
    return m.token_norm(y.flatten(0, 1)).reshape_as(y)


@pytest.mark.parametrize(("run", "pairs"), [(plain, 1), (two_layers, 2), (tokens, 1)])
def test_a_norm_behind_one_layer_is_folded(run, pairs):
    model = with_statistics(Small(run))
    images = noise(2, 3, 6, 6)
    folding = fold_batch_norm(model, images)
    assert folding.folded == pairs
    with torch.inference_mode():
        assert difference(folding.model(images), model(images)) <= 1e-6


def test_a_norm_without_weights_or_statistics():
    images = noise(2, 3, 6, 6)
    bare = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)).eval()
    bare[1].running_var.fill_(4)
    folding = fold_batch_norm(bare, images)
    assert folding.folded == 1
    assert torch.allclose(folding.model(images), bare[0](images) / (4 + 1e-5) ** 0.5, atol=1e-6)
    of_the_batch = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)).eval()
    assert fold_batch_norm(of_the_batch, images).folded == 0


def test_a_hooked_norm_stays():
    images = noise(2, 3, 6, 6)
    model = with_statistics(Small(plain))
    model.norm.register_forward_hook(lambda module, inputs, output: output * 2)
    folding = fold_batch_norm(model, images)
    assert (folding.folded, folding.note) == (0, "")
    assert difference(folding.model(images), model(images)) == 0


def test_outputs_read_by_hooks_stay_what_they_are():
    model = with_statistics(zoo.create_model("test_resnet", seed=0))
    net = FeatureHookNet(model, modules=["conv1", "bn1", "layer1.0.conv1", "layer2"])
    images = noise(2, 3, 64, 64)
    folding = fold_batch_norm(net, images)
    assert folding.folded == len(batch_norms(net)) - 2  # all but those behind the convolutions that are read
    with torch.inference_mode():
        assert difference(folding.model(images), net(images)) <= TOLERANCE


def test_a_fold_that_shows_is_taken_back():
    images = noise(2, 3, 6, 6)
    # What depends on the norm's own state, which no data flow shows.
    stateful = with_statistics(Small(lambda m, x: m.norm(m.conv(x)) * isinstance(m.norm, nn.BatchNorm2d)))
    folding = fold_batch_norm(stateful, images)
    assert folding.folded == 0
    assert folding.note.startswith("Batch norms were not folded: maps would differ by 1.0e+00")
    assert difference(folding.model(images), stateful(images)) == 0

"""What a trunk states of itself: the order of its steps, levels of one step, several classifiers."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn as nn

import zoo
from zoo.models.base import ImageModel
from zoo.models.distilled import DistilledModel


class Backwards(ImageModel):
    """Registers the second step before the first; the trunk carries two tensors, and a level reads each."""

    def __init__(self):
        super().__init__(num_classes=4)
        self.spec = SimpleNamespace(classifier="head")
        self.num_features = 3
        self.stages = nn.ModuleDict({"last": nn.Conv2d(3, 3, 1), "first": nn.Conv2d(3, 3, 1)})
        self.feature_info = [
            {"num_chs": 3, "reduction": 1, "module": "stages.first", "name": "first"},
            {"num_chs": 3, "reduction": 1, "module": "stages.last", "name": "left"},
            {"num_chs": 3, "reduction": 1, "module": "stages.last", "name": "right"},
        ]
        self.make_head("avg")

    def steps(self):
        yield "stages.first", lambda x: [self.stages["first"](x), x]
        yield "stages.last", lambda x: [self.stages["last"](x[0]), x[1]]

    def level_state(self, x, level):
        return x[1] if level == 2 else x[0]


@pytest.fixture
def model():
    return Backwards().eval()


def test_levels_of_one_step(model):
    x = torch.randn(1, 3, 2, 2)
    first = model.stages["first"](x)
    maps = model.forward_intermediates(x, [2, 0, 1], intermediates_only=True)
    for found, expected in zip(maps, (first, model.stages["last"](first), x), strict=True):
        assert torch.equal(found, expected)
    (right,) = zoo.FeatureListNet(model, [2])(x)
    assert torch.equal(right, x)


def test_steps_that_are_not_needed_go_wherever_they_are_registered(model):
    net = zoo.FeatureListNet(model, [0])
    assert list(net.state_dict()) == ["stages.first.weight", "stages.first.bias"]
    assert set(zoo.FeatureListNet(model, [1]).state_dict()) == {k for k in model.state_dict() if k.startswith("stages")}


class TwoClassifiers(DistilledModel):
    def __init__(self, num_classes=4):
        super().__init__(num_classes=num_classes)
        self.spec = SimpleNamespace(classifier=("head", "head_dist"))
        self.num_features, self.feature_info = 3, []
        self.make_head("avg")

    def steps(self):
        yield from ()


def test_classifiers_read_the_same_or_each_its_part():
    model = TwoClassifiers()
    one, two = torch.randn(2, 3), torch.randn(2, 3)
    assert torch.equal(model.classify(one), (model.head(one) + model.head_dist(one)) / 2)
    assert torch.equal(model.classify([one, two]), (model.head(one) + model.head_dist(two)) / 2)
    assert torch.equal(TwoClassifiers(num_classes=0).classify(one), one)
    model.set_distilled_training()
    assert len(model.classify(one)) == 2
    assert model.eval().classify(one).shape == (2, 4)

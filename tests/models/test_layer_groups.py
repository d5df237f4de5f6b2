"""Layers for a learning rate that decays with depth, and parameters without weight decay, as timm sorts them."""

import gzip
import json
from pathlib import Path

import pytest

import zoo
from zoo.core.architectures import registry
from zoo.core.model.parameter_groups import group_modules, group_parameters, model_parameters, named_apply

from golden import smallest

RECORDED = json.loads(gzip.decompress((Path(__file__).parents[1] / "golden" / "layers.json.gz").read_bytes()))


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_parameters_are_in_the_layers_that_were_recorded(name):
    model = zoo.create_model(name, device="meta")
    assert sorted(model.no_weight_decay()) == RECORDED[name]["no_decay"]
    for kind, coarse in (("coarse", True), ("fine", False)):
        layers = group_parameters(model, model.group_matcher(coarse=coarse), reverse=True)
        assert [layers[parameter] for parameter, _ in model.named_parameters()] == RECORDED[name][kind]


@pytest.mark.parametrize("family", registry.families())
def test_every_family_has_layers(family):
    model = zoo.create_model(smallest(family), device="meta")
    for coarse in (True, False):
        matcher = model.group_matcher(coarse=coarse)
        assert {"stem", "blocks"} <= set(matcher)
        layers = group_parameters(model, matcher)
        assert sum(map(len, layers.values())) == len(list(model.named_parameters()))
        assert len(layers) > 1
    assert model.no_weight_decay() <= dict(model.named_parameters()).keys()


def test_groups_hold_names_or_values():
    model = zoo.create_model("resnet18")
    matcher = model.group_matcher(coarse=True)
    names, values = group_parameters(model, matcher), group_parameters(model, matcher, return_values=True)
    parameters = dict(model.named_parameters())
    assert all(
        parameters[name] is value for layer in names for name, value in zip(names[layer], values[layer], strict=True)
    )
    assert group_modules(model, matcher, reverse=True)["layer4.1.conv2"] == names_layer(names, "layer4.1.conv2.weight")


def names_layer(layers, name):
    return next(layer for layer, names in layers.items() if name in names)


def test_a_function_may_sort_too():
    model = zoo.create_model("resnet18", device="meta")
    layers = group_parameters(model, lambda name: 1 if name.startswith("fc") else 0)
    assert layers[1] == ["fc.weight", "fc.bias"]


def test_parameters_without_the_classifier():
    model = zoo.create_model("resnet18", device="meta")
    assert len(model_parameters(model)) - len(model_parameters(model, exclude_head=True)) == 2


def test_named_apply_visits_children_first():
    seen = []
    model = zoo.create_model("test_resnet", device="meta")
    named_apply(lambda module, name: seen.append(name), model, include_root=True)
    assert seen[-1] == ""
    assert seen.index("layer1.0.conv1") < seen.index("layer1.0") < seen.index("layer1")

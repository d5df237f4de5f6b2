"""Models in their form for inference: timm's tensors, and the outputs of the form that is trained."""

import gzip
import json
from functools import cache

import pytest
import torch
from torch import nn

import zoo
from zoo.core.architectures import registry
from zoo.core.errors import UsageError
from zoo.core.export.engine import FeatureEngine
from zoo.core.model.features import FeatureHookNet, FeatureListNet
from zoo.core.model.reparameterize import has_fused_form, reparameterize

from feature_checks import batch_norms, difference, noise, with_statistics
from golden import HERE, build, golden, recorded_outputs
from golden.fill import fill_, image, summary


@cache
def recorded():
    """What timm's form for inference holds: name -> key -> shape."""
    with gzip.open(HERE / "fused.json.gz", "rt") as file:
        return json.load(file)


QUICK = {
    "efficientvim_m1", "efficientvit_m0", "fastvit_t8", "ghostnetv3_050", "iformer_t", "lcnetv2_small", "levit_128s",
    "mobileone_s0", "nextvit_small", "repghostnet_050", "repvgg_a0", "repvit_m0_9", "shvit_s1", "tiny_vit_5m_224",
}  # fmt: skip
"""One of every family and of every form of its blocks."""


def names():
    return [pytest.param(name, marks=() if name in QUICK else pytest.mark.full) for name in sorted(recorded())]


def shapes(model):
    return {key: list(tensor.shape) for key, tensor in model.state_dict().items()}


@pytest.mark.parametrize("name", names())
def test_the_tensors_are_those_of_timm_and_the_outputs_stay(name):
    model = fill_(build(name).eval())
    expected = recorded_outputs(model)  # none of the largest
    images = image(expected["input_size"] if expected else model.pretrained_cfg["input_size"])
    fused = reparameterize(model)
    is_usual = fused.img_size is None and "built_with" not in golden(model.family)[name]
    found = shapes(fused if is_usual else meta(name))
    differing = [key for key in {**found, **recorded()[name]} if found.get(key) != recorded()[name].get(key)]
    assert not differing
    with torch.inference_mode():
        before, after = model(images), fused(images)
    scale = before.abs().max().item()
    assert (after - before).abs().max() <= 1e-9 * scale
    assert not expected or summary(after)["sample"] == pytest.approx(expected["logits"]["sample"], abs=1e-9 * scale)
    assert len(batch_norms(fused)) < len(batch_norms(model))


def meta(name):
    return reparameterize(zoo.create_model(name, device="meta"))


@pytest.mark.parametrize("name", ["repvit_m1", "levit_conv_128s", "shvit_s1"])
@pytest.mark.parametrize("classes", [0, 7])
def test_other_channels_and_classes(name, classes):
    model = with_statistics(build(name, in_chans=5, num_classes=classes, seed=0))
    fused = reparameterize(model)
    images = noise(2, 5, *recorded_outputs(model)["input_size"][1:])
    with torch.inference_mode():
        assert difference([fused(images)], [model(images)]) <= 1e-3
    (first,) = fused.fused_layers.first_conv
    assert fused.get_parameter(f"{first}.weight").shape[1] == 5
    fused.reset_classifier(3)
    assert fused(images).shape == (2, 3)
    assert all(isinstance(fused.get_submodule(path), nn.Linear) for path in fused.classifier_paths)


def test_where_the_first_layer_and_the_classifiers_are():
    cfg = meta("levit_128s").pretrained_cfg
    assert (cfg["first_conv"], cfg["classifier"]) == ("stem.conv1", ("head", "head_dist"))
    cfg = meta("repvit_m1").pretrained_cfg
    assert (cfg["first_conv"], cfg["classifier"]) == ("stem.conv1", "head")
    cfg = meta("fastvit_t8").pretrained_cfg
    assert (cfg["first_conv"], cfg["classifier"]) == ("stem.0.reparam_conv", "head.fc")


def test_the_model_stays_what_it_is_and_can_be_changed_itself():
    model = with_statistics(build("lcnetv2_small", seed=0))
    state = {key: value.clone() for key, value in model.state_dict().items()}
    fused = reparameterize(model)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert not model.is_reparameterized
    assert reparameterize(model, inplace=True) is model
    assert model.is_reparameterized
    assert all(torch.equal(value, fused.state_dict()[key]) for key, value in model.state_dict().items())
    assert shapes(reparameterize(fused)) == shapes(fused)


def test_a_fused_model_can_be_trained():
    fused = reparameterize(build("lcnetv2_small", seed=0)).train()
    fused(noise(2, 3, 64, 64)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in fused.parameters())


def test_levels_are_read_where_they_were():
    model = with_statistics(build("fastvit_t8", seed=0))
    images = noise(2, 3, 64, 64)
    expected = FeatureListNet(model)(images)
    assert difference(FeatureListNet(reparameterize(model))(images), expected) <= 1e-4
    assert difference(reparameterize(FeatureListNet(model))(images), expected) <= 1e-4


def test_what_is_read_or_hooked_stays():
    model = with_statistics(build("repvgg_a0", seed=0))
    inside = "stages.1.0.conv_kxk"
    net = FeatureHookNet(model, modules=[inside, "stages.2.0"])
    images = noise(2, 3, 64, 64)
    fused = reparameterize(net)
    assert hasattr(fused.get_submodule("stages.1.0"), "conv_kxk")
    assert not hasattr(fused.get_submodule("stages.2.0"), "conv_kxk")
    assert difference(fused(images), net(images)) <= 1e-4
    model.stages[0][0].conv_1x1.register_forward_hook(lambda _module, _inputs, output: output * 2)
    assert difference([reparameterize(model)(images)], [model(images)]) <= 1e-4


def test_another_kind_of_norm_stays():
    model = build("repvgg_a0", norm_layer="groupnorm", norm_group_size=8, seed=0).eval()
    assert shapes(reparameterize(model)) == shapes(model)


def test_a_model_without_such_a_form():
    model = zoo.create_model("test_resnet", seed=0)
    with pytest.raises(UsageError, match="Nothing in a ResNet has a form of its own"):
        reparameterize(model)
    same = zoo.models.reparameterize_model(model)
    assert same is not model
    assert shapes(same) == shapes(model)
    assert zoo.utils.reparameterize_model(model, inplace=True) is model


def test_the_size_is_set_before():
    with pytest.raises(UsageError, match="Call set_input_size before") as raised:
        meta("efficientvit_m0").set_input_size(256)
    assert "set_input_size" in raised.value.hint


def test_features_are_computed_in_this_form():
    net = FeatureListNet(with_statistics(build("mobileone_s0", seed=0)))
    engine = FeatureEngine(net, (3, 64, 64))
    assert engine.folded_norms == len(batch_norms(net))
    kernels = [module for module in engine._compute.modules() if isinstance(module, nn.Conv2d)]
    assert len(kernels) < len([module for module in net.modules() if isinstance(module, nn.Conv2d)]) / 3
    images = noise(2, 3, 64, 64)
    assert difference(engine(images), net(images)) <= 1e-5


def test_attention_over_the_context_has_no_such_form():
    """A module once kept a word under the name that the protocol has for a method."""
    for name in ("gcresnext26ts", "gc_efficientnetv2_rw_t"):
        model = zoo.create_model(name, device="meta")
        assert not has_fused_form(model)
        with pytest.raises(UsageError, match="has a form of its own"):
            reparameterize(model)


@pytest.mark.full
def test_no_other_architecture_has_such_a_form():
    found = {name for family in registry.families() for name in registry.variants(family)}
    assert {name for name in found if has_fused_form(zoo.create_model(name, device="meta"))} == set(recorded())

"""Weight files of models in their form for inference: recognised, built, checked, adapted, whoever wrote them."""

import gzip
import json
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import zoo
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.architectures import registry
from zoo.core.architectures.model_facts import module_paths
from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.model.hub_folder import save_for_hf

from feature_checks import difference, noise, with_statistics
from golden import HERE

NAMES = ["lcnetv2_small", "efficientvim_m1", "repvit_m0_9"]
"""Keys of its own; keys that the plain form has too; another classifier."""


def run(*words):
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = errors.run(app, list(map(str, words)))
    return code, out.getvalue(), err.getvalue()


def done(*words):
    code, out, err = run(*words, "--json")
    assert code == 0, err
    return json.loads(out)


@pytest.fixture(scope="module", params=NAMES)
def fused(request):
    """A model of 5 classes in its form for inference."""
    return zoo.reparameterize(with_statistics(zoo.create_model(request.param, num_classes=5, seed=0)))


@pytest.fixture
def name(fused):
    return fused.pretrained_cfg["architecture"]


@pytest.fixture
def file(fused, tmp_path):
    """Without metadata, as a script with timm writes it."""
    path = tmp_path / "fused.safetensors"
    save_file(fused.state_dict(), path)
    return path


IMAGES = noise(1, 3, 128, 128)


def same(model, fused):
    """Whether both hold the same numbers and compute the same."""
    ours, theirs = model.state_dict(), fused.state_dict()
    with torch.inference_mode():
        close = difference([model.eval()(IMAGES)], [fused(IMAGES)]) <= 1e-5
    return close and ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_the_form_is_built_for_it(fused, name, file):
    model = zoo.create_model(name, checkpoint_path=file, num_classes=5)
    assert model.is_reparameterized
    assert same(model, fused)
    assert not model.load_report.initialised
    net = zoo.create_model(name, checkpoint_path=file, features_only=True).eval()
    maps = fused.forward_intermediates(IMAGES, intermediates_only=True)
    assert difference(net(IMAGES), [maps[index] for index in net.feature_info.out_indices]) <= 1e-5


def test_it_is_identified_and_checked(name, file):
    (found,) = done("identify", file)["candidates"]
    assert (found["match"], found["reparameterized"]) == ("exact", True)
    # Two generations of RepViT differ only in where their norms are, and there are none left.
    assert found["architectures"] == (["repvit_m0_9", "repvit_m1"] if name == "repvit_m0_9" else [name])
    assert (found["in_chans"], found["num_classes"]) == (3, 5)
    assert "form=reparameterized" in run("identify", file)[1]
    assert done("check", name, file, "--num-classes", 5)["fits"]


def test_a_tensor_that_is_missing_is_not_overlooked(name, file):
    state = load_file(file)
    state.pop(next(key for key in state if key.endswith("bias")))
    save_file(state, file)
    assert run("check", name, file, "--num-classes", 5)[0] == 4
    with pytest.raises(InvalidInputError, match="1 missing"):
        zoo.create_model(name, checkpoint_path=file, num_classes=5)


@pytest.mark.parametrize("named", [True, False])
def test_it_is_adapted_to_other_channels(fused, name, file, tmp_path, named):
    target = tmp_path / "adapted.safetensors"
    source = [name, "--weights", file] if named else [file]
    done("adapt-weights", *source, "--in-chans", 6, "--verify", "-o", target)
    model = zoo.create_model(name, checkpoint_path=target)
    assert model.is_reparameterized
    # repeated and halved: two equal images side by side give what one does
    assert difference([model.eval()(torch.cat([IMAGES, IMAGES], 1))], [fused(IMAGES)]) <= 1e-4


def test_timm_takes_no_folder_of_it(name, file, tmp_path):
    source = (name, "--weights", file, "--in-chans", 6)
    code, out, err = run("adapt-weights", *source, "--format", "timm", "-o", tmp_path / "folder")
    assert (code, out) == (4, "")
    assert "norms joined" in err
    assert not (tmp_path / "folder").exists()


def test_a_new_classifier(name, file):
    model = zoo.create_model(name, checkpoint_path=file, num_classes=2, seed=0)
    assert model(IMAGES.repeat(2, 1, 1, 1)).shape == (2, 2)
    assert {key.rpartition(".")[0] for key in model.load_report.initialised} == set(model.classifier_paths)


def test_what_create_writes_says_what_it_is(name, file, tmp_path):
    target = tmp_path / "written.safetensors"
    assert run("create", name, "--weights", file, "--num-classes", 5, "-o", target)[0] == 0
    with safe_open(target, framework="pt") as opened:
        stated = json.loads(opened.metadata()["zoo"])
    assert stated["reparameterized"] is True
    assert zoo.create_model(name, checkpoint_path=target).num_classes == 5


def test_a_model_of_the_plain_form_refuses_it(name, file):
    model = zoo.create_model(name, num_classes=5)
    with pytest.raises(InvalidInputError, match="missing") as raised:
        zoo.load_checkpoint(model, file)
    assert "form for inference" in raised.value.hint


def test_a_folder_for_the_hub_has_no_word_for_it(fused, tmp_path):
    with pytest.raises(UsageError, match="joined"):
        save_for_hf(fused, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_a_plain_file_is_joined_when_it_is_loaded(tmp_path):
    model = with_statistics(zoo.create_model("lcnetv2_small", seed=0))
    save_file(model.state_dict(), tmp_path / "plain.safetensors")
    for option in ("reparameterized", "inference_mode"):
        fused = zoo.create_model("lcnetv2_small", checkpoint_path=tmp_path / "plain.safetensors", **{option: True})
        assert fused.is_reparameterized
        assert same(fused, zoo.reparameterize(model))
    plain = zoo.create_model("lcnetv2_small", checkpoint_path=tmp_path / "plain.safetensors")
    assert not plain.is_reparameterized


def test_it_is_built_with_random_weights():
    assert zoo.create_model("lcnetv2_small", reparameterized=True, seed=0).is_reparameterized
    with pytest.raises(UsageError, match="Nothing in a ResNet"):
        zoo.create_model("test_resnet", reparameterized=True)
    with pytest.raises(TypeError, match="inference_mode"):
        zoo.create_model("test_resnet", inference_mode=True)


def test_the_index_has_every_architecture_with_such_a_form():
    with gzip.open(HERE / "fused.json.gz", "rt") as file:
        recorded = json.load(file)
    assert {name for name in registry.list_models() if registry.fused_layers(name)} == set(recorded)
    for name, keys in recorded.items():
        layers = registry.fused_layers(name)
        assert all(keys[f"{path}.weight"][1] == 3 for path in module_paths(layers.first_conv))
        assert all(f"{path}.weight" in keys for path in module_paths(layers.classifier))

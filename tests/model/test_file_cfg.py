"""A file that states nothing, as other programs write them, shows its channels and classes by its tensors."""

import json

import pytest
import torch

from zoo import create_model
from zoo.cli import errors
from zoo.cli.app import app

MODEL = "test_resnet"


@pytest.fixture
def state(tmp_path, monkeypatch):
    """What a training run saves: six channels, two classes."""
    monkeypatch.chdir(tmp_path)
    return dict(create_model(MODEL, in_chans=6, num_classes=2, seed=3).state_dict())


WAYS = {
    "alone": lambda state: state,
    "in a training checkpoint": lambda state: {"epoch": 2, "model_state_dict": state, "optimizer": {}},
    "of DataParallel": lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    "of torch.compile": lambda state: {f"_orig_mod.{name}": tensor for name, tensor in state.items()},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_model_is_built_as_its_file_shows(state, way):
    torch.save(WAYS[way](state), "run.pth")
    model = create_model(MODEL, checkpoint_path="run.pth")
    assert (model.in_chans, model.num_classes) == (6, 2)
    assert model.pretrained_cfg["input_size"][0] == len(model.pretrained_cfg["mean"]) == 6
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_what_is_asked_for_comes_before_what_the_file_shows(state):
    torch.save(state, "run.pth")
    model = create_model(MODEL, checkpoint_path="run.pth", in_chans=3, num_classes=7)
    assert (model.in_chans, model.num_classes) == (3, 7)
    assert create_model(MODEL, checkpoint_path="run.pth", drop=["fc.*"], allow_missing=["fc.*"]).num_classes == 1000


def test_a_trunk_alone_shows_no_classes(state):
    torch.save({name: tensor for name, tensor in state.items() if not name.startswith("fc.")}, "trunk.pth")
    model = create_model(MODEL, checkpoint_path="trunk.pth", num_classes=0)
    assert (model.in_chans, model.num_classes) == (6, 0)
    assert create_model(MODEL, checkpoint_path="trunk.pth", features_only=True).in_chans == 6


def test_the_names_of_its_authors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    create = ["create", "convnext_atto", "--in-chans", "4", "--num-classes", "3", "-o", "made.safetensors"]
    assert errors.run(app, create) == 0
    assert errors.run(app, ["convert", "made.safetensors", "--to", "authors", "-o", "theirs.safetensors"]) == 0
    model = create_model("convnext_atto", checkpoint_path="theirs.safetensors")
    assert (model.in_chans, model.num_classes) == (4, 3)


def test_every_command_builds_the_same_model(state, capsys):
    torch.save(state, "run.pth")
    assert errors.run(app, ["check", MODEL, "run.pth", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["in_chans"], report["num_classes"]) == (6, 2)
    assert errors.run(app, ["create", MODEL, "--weights", "run.pth", "-o", "out.safetensors", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["in_chans"], made["num_classes"]) == (6, 2)
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    assert errors.run(app, ["export", MODEL, "--weights", "run.pth", "-o", "run.onnx", "--json"]) == 0
    graph = json.loads(capsys.readouterr().out)
    assert graph["input"]["shape"][1] == 6
    assert graph["outputs"][0]["shape"] == ["batch", 2]


@pytest.mark.parametrize("shape", [(64, 0, 3, 3), (0, 6, 3, 3), (8, 6), (8,), ()])
def test_a_first_layer_that_is_none_shows_nothing(state, shape):
    torch.save({**state, "conv1.weight": torch.zeros(shape)}, "run.pth")
    assert errors.run(app, ["check", MODEL, "run.pth"]) == 4

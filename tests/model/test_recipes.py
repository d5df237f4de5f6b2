"""The recipes of docs/recipes.md, where the library that they are about is installed."""

import json
import re
import sys
import types
from pathlib import Path

import pytest
import torch
from PIL import Image

import zoo
from zoo.cli import errors
from zoo.cli.app import app

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^<!-- not run: needs (\w+).*-->\n\n```python\n((?:.*\n)*?)```$", PAGE, re.MULTILINE))


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """The file that the recipes begin with, in the current folder."""
    monkeypatch.chdir(tmp_path)
    zoo.models.save_for_hf(zoo.create_model("resnet34", seed=0), "resnet34")
    words = ["adapt-weights", "local-dir:resnet34", "--in-chans", "13", "--method", "balanced", "--num-classes", "0"]
    assert errors.run(app, [*words, "-o", "r34_13.safetensors"]) == 0


def test_every_recipe_is_here():
    assert set(BLOCKS) == {"segmentation_models_pytorch", "torchgeo", "detectron2", "lightning"}


@pytest.mark.parametrize("library", ["segmentation_models_pytorch", "torchgeo", "detectron2"])
def test_a_recipe_runs(library, weights):
    try:
        __import__(library)
    except Exception as error:  # its torchvision may be built for another torch, which fails in ways of its own
        pytest.skip(f"{library} does not import: {error}")
    names: dict[str, object] = {}
    exec(BLOCKS[library], names)
    if library == "segmentation_models_pytorch":
        assert names["net"](torch.zeros(1, 13, 64, 64)).shape == (1, 4, 64, 64)


def test_the_optimizer_of_the_recipe_has_every_parameter_once(weights, monkeypatch):
    """Only the base class is Lightning's."""
    stand_in = types.ModuleType("lightning")
    stand_in.LightningModule = torch.nn.Module
    monkeypatch.setitem(sys.modules, "lightning", stand_in)
    names: dict[str, object] = {}
    exec(BLOCKS["lightning"], names)
    module = names["Classifier"]("r34_13.safetensors", num_classes=3)
    optimizer = module.configure_optimizers()
    trained = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(trained) == sorted(map(id, module.model.parameters()))
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    model = module.model
    assert rates[id(model.conv1.weight)] < rates[id(model.layer1[0].conv1.weight)] < rates[id(model.fc.weight)]
    loss = module.training_step((torch.randn(2, 13, 64, 64), torch.tensor([0, 2])), 0)
    loss.backward()
    optimizer.step()


def test_the_encoder_of_the_recipe_goes_through_the_commands(tmp_path, monkeypatch, capsys):
    """Narrower and shallower, and from its architecture's name: the rest is the page's text."""
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(from torch import nn\n(?:.*\n)*?)```", PAGE)
    smaller = {
        "hf-hub:MahmoodLab/UNI2-h": "vit_giant_patch14_224", "pretrained=True": "pretrained=False",
        "depth=24": "depth=1", "num_heads=24": "num_heads=2", "embed_dim=1536": "embed_dim=48",
        "img_size=224": "img_size=56",
    }  # fmt: skip
    for told, used in smaller.items():
        assert told in block
        block = block.replace(told, used)
    names: dict[str, object] = {}
    exec(block, names)
    model = names["model"]
    assert errors.run(app, ["info", "local-dir:uni2", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    params = sum(parameter.numel() for parameter in model.parameters())
    assert (facts["params"], facts["num_features"], len(facts["feature_levels"])) == (params, 48, 1)
    assert errors.run(app, ["info", "local-dir:uni2", "--layers", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["params"] == params
    assert json.loads(Path("uni2/config.json").read_text())["num_features"] == 48
    assert errors.run(app, ["adapt-weights", "local-dir:uni2", "--in-chans", "5", "-o", "uni2_5.safetensors"]) == 0
    again = zoo.create_model("vit_giant_patch14_224", checkpoint_path="uni2_5.safetensors")
    assert (again.in_chans, len(again.blocks), again.reg_token.shape[1]) == (5, 1, 8)
    Path("tiles").mkdir()
    Image.new("RGB", (60, 60), (9, 99, 200)).save("tiles/a.png")
    words = ["export-features", "local-dir:uni2", "tiles", "--pool", "embedding", "-o", "features"]
    assert errors.run(app, words) == 0

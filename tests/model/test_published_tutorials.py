"""Programs in the order of timm's published tutorials, with zoo in timm's place, run from top to bottom.

The Hub on loopback serves a ResNet-34 with random values under the name of the published one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

import zoo

from fake_hub import FakeHub, HubFile
from machine import MachineHere

MODELS = """
import zoo as timm
import torch

available = timm.list_models(pretrained=True)
densenets = timm.list_models('*densenet*')
model = timm.create_model('resnet34', pretrained=True)
assert model.default_cfg['first_conv'] == 'conv1' and model.default_cfg['classifier'] == 'fc'
out = model.eval()(torch.randn(1, 3, 224, 224))

model = timm.create_model('resnet34', num_classes=10, pretrained=True)
ten = model(torch.randn(2, 3, 224, 224))

# one channel, eight, twenty-five
grey = timm.create_model('resnet34', pretrained=True, in_chans=1)
one = grey(torch.randn(1, 1, 224, 224))
from zoo.models.resnet import ResNet, BasicBlock, default_cfgs
from zoo.models.helpers import load_pretrained
from copy import deepcopy
by_hand = ResNet(BasicBlock, layers=[3, 4, 6, 3], in_chans=1)
by_hand.default_cfg = deepcopy(default_cfgs['resnet34'])
load_pretrained(by_hand, in_chans=1, num_classes=1000)
many = timm.create_model('resnet34', pretrained=True, in_chans=25)
wide = many(torch.randn(1, 25, 224, 224))

from zoo.models import registry
create_fn = registry.model_entrypoint('resnet34')
built = create_fn(pretrained=True)
assert registry.is_model('resnet34') and 'resnet' in registry.list_modules()
"""

FEATURES = """
import torch
import zoo as timm

m = timm.create_model('resnet34', pretrained=True)
unpooled = m.forward_features(torch.randn(2, 3, 224, 224))
m = timm.create_model('resnet34', pretrained=True, num_classes=0, global_pool='')
same = m(torch.randn(2, 3, 224, 224))
m = timm.create_model('resnet34', pretrained=True, num_classes=0)
pooled = m(torch.randn(2, 3, 224, 224))
m = timm.create_model('resnet34', pretrained=True)
m.reset_classifier(0)
removed = m(torch.randn(2, 3, 224, 224))
assert m.num_features == 512

m = timm.create_model('resnet34', features_only=True, pretrained=True)
pyramid = m(torch.randn(2, 3, 224, 224))
m.feature_info.channels(), m.feature_info.reduction()
m = timm.create_model('resnet34', features_only=True, output_stride=8, out_indices=(2, 4), pretrained=True)
info = f'{m.feature_info.channels()} {m.feature_info.reduction()}'
dilated = m(torch.randn(2, 3, 320, 320))

net = timm.create_model('resnet34', pretrained=True)
final, levels = net.forward_intermediates(torch.randn(2, 3, 224, 224))
last = net.forward_head(final)
"""

PICTURES = """
import torch
import zoo as timm
from PIL import Image
from zoo.data import create_transform, resolve_data_config, resolve_model_data_config

model = timm.create_model('resnet34', pretrained=True).eval()
config = resolve_data_config({}, model=model)
assert config == resolve_model_data_config(model)
transform = create_transform(**config)
tensor = transform(Image.open(picture).convert('RGB')).unsqueeze(0)
with torch.inference_mode():
    out = model(tensor)
probabilities = torch.nn.functional.softmax(out[0], dim=0)
values, indices = torch.topk(probabilities, 5)
"""


@pytest.fixture
def source() -> dict[str, torch.Tensor]:
    return zoo.create_model("resnet34", seed=3).state_dict()


@pytest.fixture
def hub(source: dict[str, torch.Tensor]) -> Iterator[FakeHub]:
    with FakeHub({"timm/resnet34.a1_in1k/model.safetensors": HubFile(save(source))}) as server:
        yield server


@pytest.fixture
def run(tmp_path: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    MachineHere(tmp_path / "machine", hub, monkeypatch, capsys)

    def run(program: str, **names: object) -> dict:
        exec(compile(program, "tutorial", "exec"), names)
        return names

    return run


def test_the_page_on_models(run, source):
    names = run(MODELS)
    assert {"resnet34.a1_in1k", "densenet121.ra_in1k"} <= set(names["available"])
    assert {"densenet121", "densenet201", "densenetblur121d"} <= set(names["densenets"])
    assert [tuple(names[one].shape) for one in ("out", "ten", "one", "wide")] == [
        (1, 1000), (2, 10), (1, 1000), (1, 1000)
    ]  # fmt: skip
    kernel = source["conv1.weight"]
    for model in (names["grey"], names["by_hand"]):
        assert torch.equal(model.conv1.weight, kernel.sum(1, keepdim=True))
    assert torch.equal(names["many"].conv1.weight, kernel.repeat(1, 9, 1, 1)[:, :25] * (3 / 25))
    assert all(torch.equal(value, source[key]) for key, value in names["built"].state_dict().items())
    assert torch.equal(names["model"].layer4[2].conv2.weight, source["layer4.2.conv2.weight"])


def test_the_page_on_features(run):
    names = run(FEATURES)
    shapes = {one: tuple(names[one].shape) for one in ("unpooled", "same", "pooled", "removed", "last")}
    assert shapes == {
        "unpooled": (2, 512, 7, 7), "same": (2, 512, 7, 7), "pooled": (2, 512), "removed": (2, 512), "last": (2, 1000)
    }  # fmt: skip
    sides = [(64, 112), (64, 56), (128, 28), (256, 14), (512, 7)]
    for maps in (names["pyramid"], names["levels"]):
        assert [tuple(one.shape) for one in maps] == [(2, channels, side, side) for channels, side in sides]
    assert names["info"] == "[128, 512] [8, 8]"
    assert [tuple(one.shape) for one in names["dilated"]] == [(2, 128, 40, 40), (2, 512, 40, 40)]


def test_the_page_on_pictures(run):
    picture = Path(__file__).parents[1] / "data" / "coffee.png"
    names = run(PICTURES, picture=picture)
    assert names["tensor"].shape == (1, 3, *names["config"]["input_size"][1:])
    assert names["values"].tolist() == sorted(names["probabilities"].tolist(), reverse=True)[:5]

"""The layers of a model: sums against the index, receptive fields against gradients."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn as nn

import zoo
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.architectures import registry
from zoo.core.errors import UsageError
from zoo.core.model.layers import layers_of, measure_layers, total

from golden import golden

NAMES = {
    "resnet": "resnet18",
    "efficientnet": "tf_efficientnet_lite0",
    "convnext": "convnextv2_atto",  # its classifier is called from outside its head
    "hrnet": "hrnet_w18_small",
    "swin_transformer": "swin_tiny_patch4_window7_224",
    "vision_transformer": "vit_tiny_patch16_224",  # parameters in no module
    "tresnet": "tresnet_m",
    "vgg": "vgg11",
}


@pytest.mark.parametrize(("family", "name"), NAMES.items())
def test_the_rows_add_up_to_what_an_independent_implementation_counts(family: str, name: str):
    recorded = golden(family)[name]
    rows = layers_of(name)
    assert total(rows) == (recorded["params"], recorded["flops"] // 2)
    assert all(row.params >= 0 and row.macs >= 0 for row in rows)
    assert total(layers_of(name, depth=2)) == total(rows)


@pytest.mark.parametrize(("family", "name"), list(NAMES.items())[:5])
def test_the_strides_of_levels_are_those_recorded(family: str, name: str):
    recorded = golden(family)[name]["features"]
    rows = {row.module: row for row in layers_of(name, depth=max(m.count(".") for m in recorded["module"]) + 1)}
    for module, channels, stride in zip(*(recorded[k] for k in ("module", "channels", "reduction")), strict=True):
        if module in rows and rows[module].stride is not None:
            assert rows[module].stride == (stride, stride)
            assert channels in (rows[module].shape or ())


def test_more_channels_make_the_first_layer_larger():
    rgb, many = layers_of("resnet18"), layers_of("resnet18", in_chans=25)
    # 64 filters of 7 x 7, computed at 112 x 112 places.
    assert many[0].params - rgb[0].params == 22 * 64 * 49
    assert many[0].macs - rgb[0].macs == 22 * 64 * 49 * 112 * 112
    assert many[1:] == rgb[1:]


def reach_of(model: nn.Module, path: str, side: int) -> tuple[int, int, int, int]:
    """First and last row and column of the image on which the middle cell of a module's map depends."""
    found: list[torch.Tensor] = []
    hook = model.get_submodule(path).register_forward_hook(lambda _m, _i, output: found.append(output))
    image = torch.randn(1, 3, side, side, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    model(image.requires_grad_())
    hook.remove()
    rows, columns = found[0].shape[2] // 2, found[0].shape[3] // 2
    found[0][0, :, rows, columns].sum().backward()
    touched = image.grad.abs().sum((0, 1)).nonzero()
    (top, left), (bottom, right) = touched.min(0).values.tolist(), touched.max(0).values.tolist()
    return top, bottom, left, right


def with_every_path(model: nn.Module) -> nn.Module:
    """The model with means in place of maxima, which depend on all pixels of a window, and with no norm of zeros."""
    for path, module in list(model.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
        if isinstance(module, nn.MaxPool2d):
            average = nn.AvgPool2d(module.kernel_size, module.stride, module.padding, module.ceil_mode)
            model.set_submodule(path, average)
    return model


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0", "convnext_atto", "regnetx_002"])
def test_receptive_fields_are_what_gradients_reach(name: str):
    side = 160
    rows = {row.module: row for row in measure_layers(zoo.create_model(name, device="meta"), (3, side, side))}
    torch.manual_seed(0)
    model = with_every_path(zoo.create_model(name).double().eval())
    fits = [row for row in rows.values() if row.receptive_field and len(row.shape or ()) == 3]
    fits = [row for row in fits if row.kind == "Conv2d" and row.receptive_field[0] < side * 0.6]
    assert len(fits) > 3
    for row in fits[:: max(1, len(fits) // 3)]:
        top, bottom, left, right = reach_of(model, row.module, side)
        assert row.sees == "window"
        assert row.receptive_field == (bottom - top + 1, right - left + 1), row.module


def test_what_sees_the_whole_image_depends_on_its_corners():
    rows = {row.module: row for row in layers_of("mobilenetv3_small_050")}
    torch.manual_seed(0)
    model = zoo.create_model("mobilenetv3_small_050").double().eval()
    for path in ("blocks.0.0.conv_dw", "blocks.0.0.conv_pw"):  # before and behind the squeeze-and-excitation
        whole = reach_of(model, path, 224) == (0, 223, 0, 223)
        assert rows[path].sees == ("image" if whole else "window")
    assert rows["blocks.0.0.conv_pw"].sees == "image"
    assert rows["blocks.0.0.conv_dw"].sees == "window"


@pytest.mark.parametrize(
    ("name", "path", "sees"),
    [
        ("vit_tiny_patch16_224", "blocks.0.attn.qkv", "window"),
        ("vit_tiny_patch16_224", "blocks.0.attn.proj", "image"),
        ("mixer_s32_224", "blocks.0.mlp_tokens.fc1", "image"),
        ("swin_tiny_patch4_window7_224", "layers.0.blocks.0.attn.proj", "unknown"),
    ],
)
def test_attention_sees_the_image_or_an_unknown_window(name: str, path: str, sees: str):
    (row,) = [row for row in layers_of(name) if row.module == path]
    assert row.sees == sees


def test_a_model_that_a_user_registered_or_wrote():
    twice = nn.Conv2d(4, 4, 3, padding=1)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), twice, twice, nn.ConvTranspose2d(4, 2, 2, 2))
    rows = measure_layers(model.to("meta"), (3, 32, 32))
    assert [(row.module, row.calls, row.receptive_field, row.stride) for row in rows] == [
        ("0", 1, (3, 3), (2, 2)),
        ("1", 2, (11, 11), (2, 2)),  # 3 + 2 * 2 + 2 * 2
        ("3", 1, (11, 11), (1, 1)),
    ]
    assert rows[1].macs == 2 * 4 * 4 * 9 * 16 * 16
    assert rows[1].params == 4 * 4 * 9 + 4


@pytest.mark.parametrize("options", [{"depth": 0}, {"in_chans": 0}])
def test_numbers_below_one_are_refused(options: dict[str, int]):
    with pytest.raises(UsageError, match="1 or more, found 0"):
        layers_of("resnet18", **options)


# ---------------------------------------------------------------- the command


def test_the_command_prints_a_line_a_layer(capsys: pytest.CaptureFixture[str]):
    assert errors.run(app, ["info", "resnet18", "--layers", "--in-chans", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["name: resnet18", "input_size: 5x224x224"]
    assert (
        "layer: module=conv1 kind=Conv2d shape=64x112x112 params=15680 macs=196689920 stride=2 receptive_field=7 "
        "sees=window calls=1"
    ) in lines


def test_the_command_as_json(capsys: pytest.CaptureFixture[str]):
    assert errors.run(app, ["info", "resnet18", "--layers", "--depth", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    facts = registry.facts("resnet18")
    assert (document["params"], document["macs"]) == (facts.params, facts.macs)
    assert [layer["module"] for layer in document["layers"]][-3:] == ["layer4", "global_pool", "fc"]
    assert document["layers"][-3]["receptive_field"] == [435, 435]


@pytest.mark.parametrize("option", ["--depth", "--in-chans"])
def test_options_of_layers_alone_are_a_mistake(capsys: pytest.CaptureFixture[str], option: str):
    assert errors.run(app, ["info", "resnet18", option, "2"]) == 2
    assert f"{option} is for the layers of a model." in capsys.readouterr().err

"""Wrappers are no part of a name: they are taken off where no two names become one, and said."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.optim.swa_utils import AveragedModel

from zoo import create_model, load_checkpoint
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.architectures.registry import list_models
from zoo.core.errors import InvalidInputError
from zoo.core.files.open_weights import open_weights
from zoo.core.files.wrapper_names import bare_names
from zoo.core.model.state_dict import clean_state_dict

MODEL = "test_vit"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.fc = nn.Linear(4, 2)


def data_parallel_inside(net: Net) -> nn.Module:
    net.features = nn.DataParallel(net.features)  # type: ignore[assignment]
    return net


def compiled_inside(net: Net) -> nn.Module:
    net.features = torch.compile(net.features)  # type: ignore[assignment]
    return net


# Made by torch's own wrappers; what the names hold and what is said of it.
WRAPPED: dict[str, tuple[Callable[[Net], nn.Module], str, tuple[str, ...]]] = {
    "AveragedModel": (AveragedModel, "module.", ()),
    "AveragedModel of DataParallel": (lambda net: AveragedModel(nn.DataParallel(net)), "module.module.", ()),
    "DataParallel": (nn.DataParallel, "module.", ()),
    "compile": (torch.compile, "_orig_mod.", ()),
    "compile in DataParallel": (lambda net: nn.DataParallel(torch.compile(net)), "module._orig_mod.", ()),
    "DataParallel inside": (data_parallel_inside, "", ("module",)),
    "compile inside": (compiled_inside, "", ("_orig_mod",)),
    "both": (lambda net: nn.DataParallel(compiled_inside(net)), "module.", ("_orig_mod",)),
}


@pytest.mark.parametrize("form", WRAPPED)
def test_what_torch_puts_into_names_is_taken_off(tmp_path: Path, form: str):
    wrap, prefix, wrappers = WRAPPED[form]
    plain = Net().state_dict()
    wrapped = Net()
    wrapped.load_state_dict(plain)
    state = wrap(wrapped).state_dict()
    assert state.keys() != plain.keys()
    torch.save(state, tmp_path / "w.pth")
    save_file(state, tmp_path / "w.safetensors")
    for name in ("w.pth", "w.safetensors"):
        with open_weights(tmp_path / name) as opened:
            assert (opened.prefix, opened.wrappers) == (prefix, wrappers)
            assert opened.tensors.keys() == plain.keys()
            assert all(bytes(found.read()) == plain[key].numpy().tobytes() for key, found in opened.tensors.items())
            assert all(found.name == key for key, found in opened.tensors.items())
            assert all(part in opened.notes()[0] for part in (prefix, *wrappers))
    assert clean_state_dict(state).keys() == plain.keys()


def test_activation_checkpointing_and_fsdp():
    net = Net()
    net.features[0] = checkpoint_wrapper(net.features[0])
    names = [name for name, _ in net.named_parameters()]
    assert names[0] == "features.0._checkpoint_wrapped_module.weight"
    assert [*bare_names(names).names.values()] == [name for name, _ in Net().named_parameters()]
    given = "_fsdp_wrapped_module.layer1._fsdp_wrapped_module.0._checkpoint_wrapped_module._fpw_module.weight"
    assert bare_names([given]).names == {given: "layer1.0.weight"}


@pytest.mark.parametrize(
    "names",
    [
        ["stages.0.mixer.module.0.weight", "stages.1.mixer.module.0.weight"],  # as iFormer's blocks are
        ["a.module.weight", "a.weight"],  # a module that has more than the one child
        ["modules.weight", "my_module.weight", "module_list.0.weight", "_orig_module.weight"],
        ["blocks.0.0.weight", "blocks.1.0.weight", "blocks.1.1.weight"],  # stages of blocks
        ["blocks.0.0.weight", "blocks.0.1.weight"],  # one stage of blocks
        ["blocks.0.0.weight", "blocks.1.2.weight"],  # a number is missing
        ["blocks.0.0.weight", "blocks.1.1.weight", "blocks.norm.weight"],
        ["blocks.0.1.weight", "blocks.1.0.weight"],  # not in order
    ],
)
def test_names_that_only_resemble_them_stay(names: list[str]):
    assert bare_names(names) == (dict(zip(names, names, strict=True)), "", (), "")


def test_two_names_that_would_become_one(tmp_path: Path):
    torch.save({"a._orig_mod.weight": torch.ones(1), "a.weight": torch.ones(1)}, tmp_path / "w.pth")
    with pytest.raises(InvalidInputError, match=r"holds 'a\.weight' twice"), open_weights(tmp_path / "w.pth"):
        pass


def test_no_name_of_a_model_is_changed():
    for model in ("test_vit", "test_resnet", "test_efficientnet", "test_convnext", "test_nfnet"):
        names = list(create_model(model, device="meta").state_dict())
        assert bare_names(names) == (dict(zip(names, names, strict=True)), "", (), "")
    assert list_models("test_*")


@pytest.mark.parametrize("before", ["", "backbone.", "module."])
def test_blocks_in_chunks_as_dinov2_keeps_them(tmp_path: Path, before: str):
    state = create_model(MODEL, seed=1).state_dict()

    def chunked(name: str) -> str:
        return before + re.sub(r"^blocks\.(\d+)\.", lambda match: f"blocks.{int(match[1]) // 2}.{match[1]}.", name)

    torch.save({chunked(name): found for name, found in state.items()}, tmp_path / "w.pth")
    with open_weights(tmp_path / "w.pth") as opened:
        expected = [f"{'' if before == 'module.' else before}{name}" for name in state]
        assert list(opened.tensors) == expected
        assert opened.wrappers == ("chunks of blocks",)
    if before != "backbone.":
        model = create_model(MODEL)
        load_checkpoint(model, tmp_path / "w.pth")
        assert all(torch.equal(found, state[key]) for key, found in model.state_dict().items())


def test_the_commands_say_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    state = create_model(MODEL, seed=1).state_dict()
    torch.save({name.replace("norm1", "_checkpoint_wrapped_module.norm1"): t for name, t in state.items()}, "w.pth")
    for words in (
        ["inspect", "w.pth"],
        ["identify", "w.pth"],
        ["check", MODEL, "w.pth"],
        ["convert", "w.pth", "-o", "c.safetensors"],
        ["adapt-weights", "w.pth", "--in-chans", "4", "-o", "a.safetensors"],
        ["create", MODEL, "--weights", "w.pth"],
    ):
        assert errors.run(app, words) == 0
        assert capsys.readouterr().err.count("_checkpoint_wrapped_module") == 1, words
        assert errors.run(app, [*words, "--quiet", *(["--force"] if "-o" in words else [])]) == 0
        assert capsys.readouterr().err == ""
    assert errors.run(app, ["inspect", "w.pth", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["wrappers"] == ["_checkpoint_wrapped_module"]


def test_a_folder_of_transformers_with_a_model_of_timms(tmp_path: Path):
    """TimmWrapperForImageClassification: the network is its child `timm_model`, the config timm's."""
    state = create_model("test_resnet", seed=1, num_classes=5).state_dict()
    (tmp_path / "net").mkdir()
    save_file({f"timm_model.{name}": value for name, value in state.items()}, tmp_path / "net/model.safetensors")
    config = {"architecture": "test_resnet", "num_classes": 5, "model_type": "timm_wrapper", "pretrained_cfg": {}}
    (tmp_path / "net/config.json").write_text(json.dumps(config))
    found = create_model(f"local-dir:{tmp_path / 'net'}", pretrained=True).state_dict()
    assert found.keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in found.items())

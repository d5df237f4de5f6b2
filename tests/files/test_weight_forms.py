"""Weights that are stored as factors, beside adapters or as integers are named, with what gives plain ones."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations, prune

from zoo import create_model
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.files.weight_forms import other_form

MODEL = "test_vit"


PARAMETRISED: dict[str, tuple[Callable[[nn.Linear], object], str]] = {
    "weight norm": (parametrizations.weight_norm, "remove_parametrizations"),
    "older weight norm": (nn.utils.weight_norm, "remove_weight_norm"),
    "a pruning mask": (lambda layer: prune.l1_unstructured(layer, "weight", 0.5), "prune.remove"),
    "older spectral norm": (nn.utils.spectral_norm, "remove_spectral_norm"),
    "a parametrisation": (parametrizations.spectral_norm, "remove_parametrizations"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", PARAMETRISED)
def test_weights_that_are_computed_from_others_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str):
    change, mend = PARAMETRISED[kind]
    model = create_model(MODEL, seed=1)
    change(model.blocks[1].attn.qkv)  # type: ignore[arg-type,union-attr]
    torch.save(model.state_dict(), tmp_path / "w.pth")
    path = str(tmp_path / "w.pth")
    for words, code in (
        (["inspect", path], 0),
        (["check", MODEL, path], 4),
        (["create", MODEL, "--weights", path], 4),
        (["convert", path, "-o", str(tmp_path / "c.safetensors"), "--arch", MODEL], None),
    ):
        got = errors.run(app, words)
        said = capsys.readouterr().err
        assert code is None or got == code, (words, said)
        assert f"1 of its weights are stored with {kind.removeprefix('older ')} (blocks.1.attn.qkv.weight)" in said
        assert mend in said
    # The command that mends it does.
    layer = model.blocks[1].attn.qkv  # type: ignore[union-attr]
    {
        "remove_parametrizations": nn.utils.parametrize.remove_parametrizations,
        "remove_weight_norm": nn.utils.remove_weight_norm,
        "prune.remove": prune.remove,
        "remove_spectral_norm": nn.utils.remove_spectral_norm,
    }[mend](layer, "weight")  # type: ignore[operator]
    torch.save(model.state_dict(), path)
    assert errors.run(app, ["check", MODEL, path]) == 0
    assert "stored with" not in capsys.readouterr().err


def test_plain_names_are_no_parametrisation():
    assert other_form(["a.weight_g", "b.weight_mask", "c.weight", "c.original"]) == ""


@pytest.mark.parametrize("kind", PARAMETRISED)
def test_an_input_layer_that_is_computed_from_others_is_not_passed_over_for_the_next(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
):
    wrap, mend = PARAMETRISED[kind]
    net = nn.Sequential(wrap(nn.Conv2d(3, 8, 3)), nn.ReLU(), nn.Conv2d(8, 4, 3))
    torch.save(net.state_dict(), tmp_path / "net.pth")
    words = ["adapt-weights", tmp_path / "net.pth", "--in-chans", 6, "-o", tmp_path / "out.safetensors"]
    assert errors.run(app, [str(word) for word in words]) == 4
    told = capsys.readouterr().err
    assert "the input layer 0 is stored as the factors that its weight is computed from" in told
    assert mend in told
    assert not (tmp_path / "out.safetensors").exists()


LAYERS = ("blocks.0.attn.qkv", "blocks.3.attn.qkv")


def adapted(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict of a network in peft's LoRA, by the names that peft 0.18 gives."""
    found = {}
    for name, value in state.items():
        layer, _, kind = name.rpartition(".")
        found[f"base_model.model.{layer}.base_layer.{kind}" if layer in LAYERS else f"base_model.model.{name}"] = value
        if layer in LAYERS and kind == "weight":
            found[f"base_model.model.{layer}.lora_A.default.weight"] = torch.ones(4, value.shape[1])
            found[f"base_model.model.{layer}.lora_B.default.weight"] = torch.ones(value.shape[0], 4)
    return found


def told(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    return errors.run(app, words), capsys.readouterr().err


def test_a_network_with_adapters_says_what_merges_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    torch.save(adapted(create_model(MODEL, seed=1).state_dict()), tmp_path / "w.pt")
    path = str(tmp_path / "w.pt")
    for words in (["inspect", path], ["check", MODEL, path], ["create", MODEL, "--weights", path]):
        code, said = told(words, capsys)
        assert (code == 0) is (words[0] == "inspect")
        assert "2 of its weights have LoRA adapters beside them (blocks.0.attn.qkv)" in said
        assert "merge_and_unload" in said


def test_adapters_alone_are_no_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    state = adapted(create_model(MODEL, seed=1).state_dict())
    adapters = {name.replace(".default", ""): value for name, value in state.items() if ".lora_" in name}
    save_file(adapters, tmp_path / "adapter_model.safetensors")
    code, said = told(["identify", str(tmp_path / "adapter_model.safetensors")], capsys)
    assert code == 4
    assert "it holds LoRA adapters of 2 weights (blocks.0.attn.qkv) without the weights" in said


def test_what_peft_itself_saves(tmp_path: Path):
    peft = pytest.importorskip("peft")
    net = peft.get_peft_model(create_model(MODEL, seed=1), peft.LoraConfig(r=4, target_modules=["qkv"]))
    assert f"{len(net.base_model.model.blocks)} of its weights have LoRA adapters" in other_form(net.state_dict())
    net.save_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        merged = net.merge_and_unload().state_dict()
    assert other_form(merged) == ""
    assert merged.keys() == create_model(MODEL, device="meta").state_dict().keys()


@pytest.mark.filterwarnings("ignore")
def test_a_quantised_network_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    model = create_model(MODEL, seed=1)
    torch.save(torch.ao.quantization.quantize_dynamic(model, {nn.Linear}).state_dict(), tmp_path / "q.pth")
    _, said = told(["inspect", str(tmp_path / "q.pth")], capsys)
    layers = sum(isinstance(module, nn.Linear) for module in model.modules())
    assert f"{layers} of its weights are stored as integers" in said


@pytest.mark.parametrize("name", ["SCB", "weight.quant_state.bitsandbytes__nf4"])
def test_integers_of_bitsandbytes_are_told(name: str):
    assert "1 of its weights are stored as integers" in other_form(["fc1.weight", f"fc1.{name}", "fc2.weight"])
    assert other_form(["fc1.weight", "fc2.weight"]) == ""

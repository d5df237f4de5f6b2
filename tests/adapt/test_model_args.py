"""Weights of a model that is built with arguments of its own, as published folders state them in `model_args`."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import zoo
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.errors import ExitCode, UnknownArgumentError, UnknownOptionError

ARGUMENTS = {"init_values": 1e-5, "num_classes": 0, "dynamic_img_size": True}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An encoder without a classifier, with layer scale, as pathology models are published."""
    zoo.models.save_for_hf(zoo.create_model("test_vit", seed=0, **ARGUMENTS), tmp_path / "encoder")
    return tmp_path / "encoder"


def run(*words: object) -> int:
    return errors.run(app, list(map(str, words)))


def test_an_adapted_file_says_how_its_model_is_built(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    adapted = tmp_path / "five.safetensors"
    assert run("adapt-weights", f"local-dir:{folder}", "--in-chans", 5, "--verify", "-o", adapted) == 0
    said = capsys.readouterr()
    assert "are none of" not in said.err
    assert "verified: create: loads into test_vit with 5 channels and no classifier" in said.out
    assert "--drop" not in said.out
    with safe_open(adapted, "pt") as file:
        assert json.loads(file.metadata()["zoo"])["model_args"]["init_values"] == 1e-5
    assert run("check", "test_vit", adapted) == 0
    assert run("create", "test_vit", "--weights", adapted, "-o", tmp_path / "again.safetensors") == 0
    model = zoo.create_model("test_vit", checkpoint_path=adapted)
    assert model.in_chans == 5
    assert model.blocks[0].ls1.gamma.shape == (64,)
    assert model(torch.zeros(1, 5, 192, 128)).shape == (1, 64)


def test_a_folder_for_timm_is_built_again(folder: Path, tmp_path: Path):
    made = tmp_path / "five"
    assert run("adapt-weights", f"local-dir:{folder}", "--in-chans", 5, "--format", "timm", "--verify", "-o", made) == 0
    model = zoo.create_model(f"local-dir:{made}", pretrained=True)
    assert (model.in_chans, model.spec.init_values, model.spec.dynamic_img_size) == (5, 1e-5, True)


def test_the_embedding_of_the_folder_is_exported(folder: Path, tmp_path: Path):
    import numpy as np
    from PIL import Image

    (tmp_path / "tiles").mkdir()
    Image.fromarray(np.full((160, 160, 3), 90, np.uint8)).save(tmp_path / "tiles" / "a.png")
    assert (
        run("export-features", f"local-dir:{folder}", tmp_path / "tiles", "--pool", "embedding", "-o", tmp_path / "f")
        == 0
    )


@pytest.mark.parametrize("command", ["create", "check"])
def test_an_unknown_argument_is_named(folder: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]):
    config = json.loads((folder / "config.json").read_text())
    config["model_args"]["no_such_argument"] = 3
    (folder / "config.json").write_text(json.dumps(config))
    rest = {"create": [], "check": [folder / "model.safetensors"]}
    code = run(command, f"local-dir:{folder}", *rest[command])
    assert code in (ExitCode.USAGE, ExitCode.INVALID_INPUT)
    said = capsys.readouterr().err
    assert "no_such_argument" in said
    assert "Unexpected" not in said
    with pytest.raises(UnknownArgumentError, match="no_such_argument") as refusal:
        zoo.create_model(f"local-dir:{folder}", pretrained=True)
    assert isinstance(refusal.value, TypeError)


@pytest.mark.parametrize(
    "values",
    [
        {"depth": 100_000}, {"embed_dim": 1 << 40}, {"depth": [[[1]]]}, {"act_layer": "x" * 100}, {"norm": {"a": 1}},
        {"a b": 1}, {str(n): 1 for n in range(3)}, {f"a{n}": 1 for n in range(100)},
    ],
)  # fmt: skip
def test_arguments_that_no_model_has_are_refused_before_it_is_built(folder: Path, values: dict[str, object]):
    config = json.loads((folder / "config.json").read_text())
    config["model_args"] |= values
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(zoo.ZooError, match="model_args"):
        zoo.create_model(f"local-dir:{folder}", pretrained=True)


@pytest.mark.parametrize("values", [{"depth": "deep"}, {"num_heads": 7}, {"embed_dim": [3]}, {"act_layer": "no_such"}])
def test_values_that_make_no_model_are_an_invalid_input(folder: Path, values: dict[str, object]):
    config = json.loads((folder / "config.json").read_text())
    config["model_args"] |= values
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(zoo.ZooError):
        zoo.create_model(f"local-dir:{folder}", pretrained=True)


def test_a_keyword_of_the_callers_own_is_a_usage_error():
    with pytest.raises(UnknownOptionError, match="did you mean 'num_classes'") as refusal:
        zoo.create_model("test_vit", num_clases=3)
    assert isinstance(refusal.value, TypeError)
    assert "init_values" in (refusal.value.hint or "")

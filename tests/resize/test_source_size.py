"""Weights for images that are not square, in every command that reads them: what the file states, or a person says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import zoo
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.errors import InvalidInputError, UsageError

MODEL = "test_vit"
PATCH = 16
GRID = (4, 8)
SIZE = (GRID[0] * PATCH, GRID[1] * PATCH)
SAID = f"{SIZE[0]},{SIZE[1]}"
OUT = Path("out.safetensors")

State = dict[str, torch.Tensor]


class Run(NamedTuple):
    code: int
    stdout: str
    stderr: str


Zoo = Callable[..., Run]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Zoo:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def call(*words: object) -> Run:
        return Run(errors.run(app, [str(word) for word in words]), *capsys.readouterr())

    return call


@pytest.fixture
def state() -> State:
    """Of a model for 4 x 8 patches, as somebody else trained it."""
    state = dict(zoo.create_model(MODEL, seed=0).state_dict())
    width = state["pos_embed"].shape[2]
    state["pos_embed"] = torch.randn(1, 1 + GRID[0] * GRID[1], width, generator=torch.Generator().manual_seed(0))
    return state


@pytest.fixture
def checkpoint(run: Zoo, state: State) -> Path:
    torch.save(state, "oblong.pth")
    return Path("oblong.pth")


def stated(path: Path = OUT) -> dict[str, Any]:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["zoo"])  # type: ignore[no-any-return]


def resized(table: torch.Tensor, old: tuple[int, int], new: tuple[int, int]) -> torch.Tensor:
    """By torch: the class token, and the grid by bicubic interpolation."""
    grid = table[:, 1:].reshape(1, *old, -1).permute(0, 3, 1, 2)
    image = F.interpolate(grid, size=new, mode="bicubic", antialias=True)
    return torch.cat([table[:, :1], image.flatten(2).transpose(1, 2)], dim=1)


def assert_resized(found: torch.Tensor, state: State, new: tuple[int, int]) -> None:
    torch.testing.assert_close(found, resized(state["pos_embed"], GRID, new), rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------- adapt-weights


def test_positions_are_taken_as_they_are_said_to_lie(run: Zoo, checkpoint: Path, state: State):
    line = ("adapt-weights", MODEL, "--weights", checkpoint, "--img-size", "32,128", "-o", OUT)
    refused = run(*line)
    assert refused.code == 4
    assert "33 positions" in refused.stderr
    assert "4 x 8" in refused.stderr
    assert f"--source-size {SAID}" in refused.stderr
    assert not OUT.exists()
    assert run(*line, "--source-size", SAID, "--verify").code == 0
    assert_resized(load_file(OUT)["pos_embed"], state, (2, 8))
    assert stated()["model_args"] == {"img_size": [32, 128]}
    assert stated()["input_size"] == [3, 32, 128]


def test_a_file_of_ones_own_states_its_size(run: Zoo, checkpoint: Path, state: State):
    assert (
        run("adapt-weights", MODEL, "--weights", checkpoint, "--in-chans", 4, "--source-size", SAID, "-o", OUT).code
        == 0
    )
    assert torch.equal(load_file(OUT)["pos_embed"], state["pos_embed"])
    assert stated()["model_args"] == {"img_size": list(SIZE)}
    assert f"image_size={SIZE[0]}x{SIZE[1]}" in run("identify", OUT).stdout
    assert '"img_size": [64, 128]' in run("inspect", OUT).stdout
    again = run("adapt-weights", MODEL, "--weights", OUT, "--img-size", 160, "-o", "square.safetensors")
    assert again.code == 0
    assert_resized(load_file("square.safetensors")["pos_embed"], state, (10, 10))
    assert stated(Path("square.safetensors"))["model_args"] == {"img_size": [160, 160]}


def test_what_the_file_says_is_not_overruled(run: Zoo, checkpoint: Path):
    assert (
        run("adapt-weights", MODEL, "--weights", checkpoint, "--in-chans", 4, "--source-size", SAID, "-o", OUT).code
        == 0
    )
    turned = f"{SIZE[1]},{SIZE[0]}"
    for words in (
        ("adapt-weights", MODEL, "--weights", OUT, "--img-size", 160, "-o", "other.safetensors"),
        ("create", MODEL, "--weights", OUT),
        ("check", MODEL, OUT),
    ):
        refused = run(*words, "--source-size", turned)
        assert refused.code == 2
        assert "64 x 128, not 128 x 64" in refused.stderr


def test_a_statement_that_is_wrong_is_said_and_may_be_overruled(run: Zoo, state: State):
    wrong = {
        "schema_version": 1,
        "architecture": MODEL,
        "tag": "",
        "in_chans": 3,
        "num_classes": 1000,
        "input_size": [3, 96, 96],
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
        "model_args": {"img_size": [96, 96]},
    }
    save_file(state, "wrong.safetensors", {"zoo": json.dumps(wrong)})
    line = ("adapt-weights", "wrong.safetensors", "--in-chans", 5, "-o", OUT)
    refused = run(*line)
    assert refused.code == 4
    assert "images of 96 x 96, 6 x 6 cells, were stated" in refused.stderr
    assert run(*line, "--source-size", SAID).code == 0
    assert stated()["model_args"] == {"img_size": list(SIZE)}
    refused = run("create", MODEL, "--weights", "wrong.safetensors")
    assert refused.code == 4
    assert "96 x 96" in refused.stderr


@pytest.mark.parametrize("where", ["model_args", "pretrained_cfg"])
def test_a_config_beside_the_weights_states_it_too(run: Zoo, state: State, where: str):
    folder = Path("folder")
    folder.mkdir()
    save_file(state, folder / "model.safetensors")
    config: dict[str, Any] = {"architecture": MODEL, "model_args": {}, "pretrained_cfg": {"input_size": [3, 160, 160]}}
    if where == "model_args":
        config["model_args"]["img_size"] = list(SIZE)
    else:
        config["pretrained_cfg"]["input_size"] = [3, *SIZE]
    (folder / "config.json").write_text(json.dumps(config))
    assert run("adapt-weights", folder, "--img-size", "32,128", "-o", OUT).code == 0
    assert_resized(load_file(OUT)["pos_embed"], state, (2, 8))
    config["model_args"] = {"img_size": [96, 96]} if where == "model_args" else {}
    config["pretrained_cfg"]["input_size"] = [3, 96, 96]
    (folder / "config.json").write_text(json.dumps(config))
    assert run("adapt-weights", folder, "--img-size", "32,128", "-o", "other.safetensors").code == 4


def test_a_folder_as_timm_saves_it_for_another_size_gets_other_channels(run: Zoo, state: State):
    """Both statements agree there, so that nothing differs from the config and nothing is resized."""
    folder = Path("folder")
    folder.mkdir()
    save_file(state, folder / "model.safetensors")
    config = {
        "architecture": MODEL,
        "num_classes": 1000,
        "model_args": {"img_size": list(SIZE)},
        "pretrained_cfg": {"input_size": [3, *SIZE], "fixed_input_size": True, "num_classes": 1000},
    }
    (folder / "config.json").write_text(json.dumps(config))
    assert run("adapt-weights", "local-dir:folder", "--in-chans", 8, "--verify", "-o", OUT).code == 0
    assert torch.equal(load_file(OUT)["pos_embed"], state["pos_embed"])
    model = zoo.create_model(MODEL, checkpoint_path=OUT)
    assert (model.in_chans, model.img_size) == (8, SIZE)


def test_a_square_of_another_size_is_found_and_said(run: Zoo, state: State):
    torch.save({**state, "pos_embed": torch.randn(1, 1 + 36, state["pos_embed"].shape[2])}, "square.pth")
    done = run("adapt-weights", MODEL, "--weights", "square.pth", "--in-chans", 4, "-o", OUT)
    assert done.code == 0
    assert "96 x 96" in done.stderr
    assert stated()["model_args"] == {"img_size": [96, 96]}


def test_model_arguments_are_written_only_where_a_size_is_not_the_usual(run: Zoo):
    save_file(dict(zoo.create_model(MODEL, seed=0).state_dict()), "usual.safetensors")
    assert (
        run("adapt-weights", MODEL, "--weights", "usual.safetensors", "--in-chans", 4, "-o", "a.safetensors").code == 0
    )
    usual = ",".join(map(str, stated(Path("a.safetensors"))["input_size"][1:]))
    for number, words in enumerate([("--img-size", usual), ("--source-size", usual), ("--dtype", "float16")]):
        path = Path(f"{number}.safetensors")
        assert (
            run("adapt-weights", MODEL, "--weights", "usual.safetensors", "--in-chans", 4, *words, "-o", path).code == 0
        )
        assert "model_args" not in stated(path)
    assert (
        run("adapt-weights", MODEL, "--weights", "usual.safetensors", "--img-size", 96, "-o", "b.safetensors").code == 0
    )
    assert stated(Path("b.safetensors"))["model_args"] == {"img_size": [96, 96]}


def test_convolutional_weights_have_no_size(run: Zoo):
    save_file(dict(zoo.create_model("test_resnet", seed=0).state_dict()), "conv.safetensors")
    for words in (
        ("adapt-weights", "test_resnet", "--weights", "conv.safetensors", "--in-chans", 4, "-o", OUT),
        ("create", "test_resnet", "--weights", "conv.safetensors"),
        ("check", "test_resnet", "conv.safetensors"),
        ("convert", "conv.safetensors", "--arch", "test_resnet", "-o", OUT),
    ):
        refused = run(*words, "--source-size", 96)
        assert refused.code == 2
        assert "do not depend on the image size" in refused.stderr


@pytest.mark.parametrize("size", ["0", "x", "1,2,3", "-5", "64x128"])
def test_a_malformed_source_size(run: Zoo, checkpoint: Path, size: str):
    for words in (("adapt-weights", MODEL, "--weights", checkpoint, "-o", OUT), ("check", MODEL, checkpoint)):
        refused = run(*words, f"--source-size={size}")
        assert refused.code == 2
        assert "--source-size" in refused.stderr


# ---------------------------------------------------------------- the other commands


@pytest.mark.parametrize("words", [("create", MODEL, "--weights"), ("check", MODEL)], ids=["create", "check"])
def test_loading_says_what_adapting_says(run: Zoo, checkpoint: Path, words: tuple[str, ...]):
    refused = run(*words, checkpoint)
    assert refused.code == 4
    assert f"--source-size {SAID}" in refused.stderr
    assert run(*words, checkpoint, "--source-size", SAID).code == 0


def test_a_created_file_states_the_size_that_it_was_loaded_for(run: Zoo, checkpoint: Path, state: State):
    assert run("create", MODEL, "--weights", checkpoint, "--source-size", SAID, "-o", OUT).code == 0
    assert torch.equal(load_file(OUT)["pos_embed"], state["pos_embed"])
    assert stated()["model_args"] == {"img_size": list(SIZE)}
    assert run("check", MODEL, OUT).code == 0


def test_converting_writes_the_size_down(run: Zoo, checkpoint: Path):
    unsaid = run("convert", checkpoint, "--arch", MODEL, "-o", "unsaid.safetensors")
    assert unsaid.code == 0
    assert "33 positions" in unsaid.stderr
    assert "model_args" not in stated(Path("unsaid.safetensors"))
    assert run("convert", checkpoint, "--arch", MODEL, "--source-size", SAID, "-o", OUT).code == 0
    assert stated()["model_args"]["img_size"] == list(SIZE)
    assert run("create", MODEL, "--weights", OUT).code == 0
    wrong = run("convert", checkpoint, "--arch", MODEL, "--source-size", "64,64", "-o", "wrong.safetensors")
    assert wrong.code == 4


def test_identify_tells_positions_where_no_size_is_known(run: Zoo, checkpoint: Path):
    said = run("identify", checkpoint)
    assert said.code == 0
    assert "positions=33" in said.stdout
    assert "image_size" not in said.stdout
    found = json.loads(run("identify", checkpoint, "--json").stdout)["candidates"][0]
    assert (found["image_size"], found["positions"]) == (None, 33)


def test_identify_passes_over_a_statement_that_cannot_be(run: Zoo, state: State):
    values = {"architecture": MODEL, "model_args": {"img_size": [64, 64]}}
    save_file(state, "wrong.safetensors", {"zoo": json.dumps(values)})
    assert "image_size" not in run("identify", "wrong.safetensors").stdout


def test_features_are_those_of_the_size_that_the_file_states(run: Zoo, checkpoint: Path):
    Image.fromarray(np.arange(64 * 128 * 3, dtype=np.uint8).reshape(64, 128, 3)).save("image.png")
    refused = run("export-features", MODEL, "image.png", "--weights", checkpoint, "-o", "none")
    assert refused.code == 4
    done = run("export-features", MODEL, "image.png", "--weights", checkpoint, "--source-size", SAID, "-o", "said")
    assert done.code == 0
    assert "height=4 width=8" in done.stdout
    run("create", MODEL, "--weights", checkpoint, "--source-size", SAID, "-o", OUT)
    assert "height=4 width=8" in run("export-features", MODEL, "image.png", "--weights", OUT, "-o", "stated").stdout
    assert run("export-features", MODEL, "image.png", "--source-size", SAID, "-o", "x").code == 2


# ---------------------------------------------------------------- the library


def test_a_model_of_any_size_loads_square_and_oblong_weights(run: Zoo, checkpoint: Path, state: State):
    square = dict(zoo.create_model(MODEL, seed=0).state_dict())
    save_file(square, "square.safetensors")
    edge = int((square["pos_embed"].shape[1] - 1) ** 0.5)
    found = zoo.create_model(MODEL, img_size=(32, 128), checkpoint_path="square.safetensors").state_dict()
    expected = resized(square["pos_embed"], (edge, edge), (2, 8))
    torch.testing.assert_close(found["pos_embed"], expected, rtol=1e-5, atol=1e-5)

    model = zoo.create_model(MODEL, checkpoint_path=checkpoint, source_size=SIZE)
    assert model.img_size == SIZE
    assert model.pretrained_cfg["input_size"] == (3, *SIZE)
    assert model.eval()(torch.zeros(1, 3, *SIZE)).shape == (1, 1000)
    found = zoo.create_model(MODEL, checkpoint_path=checkpoint, source_size=SIZE, img_size=(32, 128)).state_dict()
    assert_resized(found["pos_embed"], state, (2, 8))
    same = zoo.create_model(MODEL, checkpoint_path=checkpoint, img_size=SIZE)  # as many positions as the model has
    assert torch.equal(same.state_dict()["pos_embed"], state["pos_embed"])


def test_a_file_is_loaded_by_its_statement_into_a_model_that_is_there(run: Zoo, checkpoint: Path, state: State):
    run("create", MODEL, "--weights", checkpoint, "--source-size", SAID, "-o", OUT)
    model = zoo.create_model(MODEL, seed=0, img_size=(32, 128))
    zoo.load_checkpoint(model, OUT)
    assert_resized(model.state_dict()["pos_embed"], state, (2, 8))
    with pytest.raises(InvalidInputError, match="4 x 8"):
        zoo.load_checkpoint(model, checkpoint)
    zoo.load_checkpoint(model, checkpoint, source_size=SIZE)
    assert_resized(model.state_dict()["pos_embed"], state, (2, 8))


def test_square_weights_of_another_size_load_into_the_usual_model(run: Zoo, state: State):
    table = torch.randn(1, 1 + 36, state["pos_embed"].shape[2])
    torch.save({**state, "pos_embed": table}, "square.pth")
    model = zoo.create_model(MODEL, checkpoint_path="square.pth")
    edge = model.img_size[0] // PATCH
    expected = resized(table, (6, 6), (edge, edge))
    torch.testing.assert_close(model.state_dict()["pos_embed"], expected, rtol=1e-5, atol=1e-5)


def test_a_size_is_said_of_a_file(run: Zoo):
    with pytest.raises(UsageError, match="weight file"):
        zoo.create_model(MODEL, source_size=SIZE)

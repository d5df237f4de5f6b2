"""Everything that `zoo adapt-weights` takes as a source, and how it learns what it is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save, save_file

from zoo import create_model
from zoo.cli import errors
from zoo.cli.app import app

from fake_hub import FakeHub, HubFile

MODEL, INPUT = "test_resnet", "conv1.0.weight"
OUT = Path("out.safetensors")

Zoo = Callable[..., tuple[int, str, str]]
State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    return create_model(MODEL, seed=0).state_dict()  # type: ignore[no-any-return]


@pytest.fixture
def zoo(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Zoo:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def run(source: object, *words: object, in_chans: int = 5) -> tuple[int, str, str]:
        line = ["adapt-weights", source, "--in-chans", in_chans, "-o", OUT, *words]
        code = errors.run(app, [str(word) for word in line])
        return (code, *capsys.readouterr())

    return run


def assert_adapted(state: State, in_chans: int = 5) -> None:
    written = load_file(OUT)
    assert {key for key in state if not torch.equal(state[key], written[key])} == {INPUT}
    expected = state[INPUT].repeat(1, 5, 1, 1)[:, :in_chans] * (3 / in_chans)
    assert torch.equal(written[INPUT], expected)


def stated() -> dict[str, Any]:
    with safe_open(OUT, "pt") as file:
        return json.loads(file.metadata()["zoo"])  # type: ignore[no-any-return]


# ---------------------------------------------------------------- files without a name


def test_a_file_is_known_by_its_tensors(zoo: Zoo, state: State, tmp_path: Path):
    save_file(state, tmp_path / "mine.safetensors")
    code, _, said = zoo("./mine.safetensors")
    assert code == 0
    assert f"the names and shapes are those of {MODEL}" in said
    assert_adapted(state)
    assert stated()["architecture"] == MODEL


def test_two_architectures_of_the_same_tensors_are_both_named(zoo: Zoo, tmp_path: Path):
    save_file(create_model("resnet18", device="cpu").state_dict(), tmp_path / "mine.safetensors")
    code, _, said = zoo("mine.safetensors")
    assert code == 0
    assert "those of resnet18 and resnetblur18" in said
    assert stated()["architecture"] == ""


def test_a_file_that_zoo_wrote_says_itself_what_it_is(zoo: Zoo, state: State, tmp_path: Path):
    save_file(state, tmp_path / "mine.safetensors")
    assert zoo(MODEL, "--weights", "mine.safetensors", in_chans=13)[0] == 0
    os.rename(OUT, "thirteen.safetensors")
    code, _, said = zoo("thirteen.safetensors", "--method", "balanced", "--verify", in_chans=4)
    assert (code, said) == (0, "")
    origin = stated()["origin"]
    assert (origin["adapted_from"], origin["method"], origin["source"]) == (13, "balanced", "file")
    assert origin["previous"]["adapted_from"] == 3


def test_the_sha256_of_the_source_is_in_the_file(zoo: Zoo, state: State, tmp_path: Path):
    import hashlib

    save_file(state, tmp_path / "mine.safetensors")
    digest = hashlib.sha256((tmp_path / "mine.safetensors").read_bytes()).hexdigest()
    for _ in range(2):  # taken, then remembered
        assert zoo(MODEL, "--weights", "mine.safetensors", "--force")[0] == 0
        assert stated()["origin"]["source_sha256"] == digest


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrapped", ["", "state_dict", "model"])
def test_torch_checkpoints(zoo: Zoo, state: State, tmp_path: Path, zipped: bool, wrapped: str):
    checkpoint: Any = {f"module.{key}": value for key, value in state.items()}
    torch.save(
        {wrapped: checkpoint, "epoch": 3} if wrapped else checkpoint,
        tmp_path / "mine.pth",
        _use_new_zipfile_serialization=zipped,
    )
    assert zoo("mine.pth")[0] == 0
    assert_adapted(state)


@pytest.mark.parametrize(("flag", "factor"), [("--ema", 2.0), ("--no-ema", 1.0)])
def test_averaged_weights_are_a_choice(zoo: Zoo, state: State, tmp_path: Path, flag: str, factor: float):
    averaged = {key: value * 2 for key, value in state.items()}
    torch.save({"state_dict": state, "state_dict_ema": averaged}, tmp_path / "mine.pth")
    assert zoo(MODEL, "--weights", "mine.pth", flag)[0] == 0
    assert_adapted({key: (value * factor).to(value.dtype) for key, value in state.items()})


def test_a_foreign_model_with_one_coloured_convolution(zoo: Zoo, tmp_path: Path):
    foreign = {"encoder.first.weight": torch.randn(4, 3, 3, 3), "encoder.second.weight": torch.randn(8, 4, 3, 3)}
    save_file(foreign, tmp_path / "mine.safetensors")
    code, _, said = zoo("mine.safetensors", "--method", "zero")
    assert code == 0
    assert "encoder.first was taken for the input layer, as no other layer makes the 3 channels that it reads" in said
    assert "mean and std are not known" in said
    written = load_file(OUT)
    assert torch.equal(written["encoder.first.weight"][:, :3], foreign["encoder.first.weight"])
    assert not written["encoder.first.weight"][:, 3:].any()


def test_what_cannot_be_told_is_asked_for(zoo: Zoo, tmp_path: Path):
    foreign = {"a.weight": torch.randn(4, 3, 3, 3), "b.weight": torch.randn(4, 3, 1, 1)}
    save_file(foreign, tmp_path / "mine.safetensors")
    code, out, said = zoo("mine.safetensors")
    assert (code, out) == (4, "")
    assert "Several layers of mine.safetensors read the image: a reads 3, b reads 3." in said
    assert "To adapt both alike: --input-layer a --input-layer b" in said
    assert not OUT.exists()
    code, _, _ = zoo("mine.safetensors", "--input-layer", "a", "--input-layer", "b", "--verify")
    assert code == 0
    assert {key: value.shape[1] for key, value in load_file(OUT).items()} == {"a.weight": 5, "b.weight": 5}


def test_a_linear_patch_embedding_needs_its_layout(zoo: Zoo, tmp_path: Path):
    save_file({"embed.weight": torch.randn(8, 48), "norm.weight": torch.randn(8)}, tmp_path / "mine.safetensors")
    code, _, said = zoo("mine.safetensors", "--input-layer", "embed")
    assert (code, "--input-layout blocks:N" in said) == (4, True)
    words = ("--input-layer", "embed", "--input-layout", "blocks:16", "--method", "balanced", "--verify")
    assert zoo("mine.safetensors", *words)[0] == 0
    assert load_file(OUT)["embed.weight"].shape == (8, 80)
    assert stated()["input_layout"] == "blocks:16"
    os.rename(OUT, "five.safetensors")
    assert zoo("five.safetensors", "--verify", in_chans=3)[0] == 0
    assert load_file(OUT)["embed.weight"].shape == (8, 48)


def test_branches_that_disagree_are_refused(zoo: Zoo, tmp_path: Path):
    save_file({"a.weight": torch.randn(4, 3, 3, 3), "b.weight": torch.randn(4, 4, 1, 1)}, tmp_path / "mine.safetensors")
    code, _, said = zoo("mine.safetensors", "--input-layer", "a", "--input-layer", "b")
    assert (code, "read different numbers of channels: a reads 3, b reads 4" in said) == (4, True)


def test_a_name_that_zoo_cannot_build_is_enough(zoo: Zoo, tmp_path: Path):
    """The facts of csatv2 say that it has no input layer to adapt; any other has."""
    save_file({"x.weight": torch.randn(4, 3, 3, 3)}, tmp_path / "mine.safetensors")
    code, _, said = zoo("csatv2", "--weights", "mine.safetensors")
    assert (code, "it has no input layer to adapt" in said) == (4, True)
    code, _, said = zoo("vit_tiny_patch16_224", "--weights", "mine.safetensors")
    assert (code, "has no patch_embed.proj.weight" in said) == (4, True)
    code, _, said = zoo("vit_tiny_patch16_2245", "--weights", "mine.safetensors")
    assert (code, "Did you mean vit_tiny_patch16_224" in said) == (5, True)


# ---------------------------------------------------------------- folders


CONFIG = {
    "architecture": MODEL,
    "num_classes": 1000,
    "pretrained_cfg": {"input_size": [3, 160, 160], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6],
                       "first_conv": "conv1.0", "classifier": "fc"},
}  # fmt: skip


@pytest.mark.parametrize("name", ["folder", "local-dir:folder"])
def test_a_folder_with_a_config(zoo: Zoo, state: State, tmp_path: Path, name: str):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    save_file(state, folder / "model.safetensors")
    assert zoo(name, in_chans=4)[0] == 0
    assert_adapted(state, 4)
    assert (stated()["mean"], stated()["input_size"]) == ([0.1, 0.2, 0.3, 0.1], [4, 160, 160])


def test_a_config_of_an_architecture_that_nobody_knows(zoo: Zoo, tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**CONFIG, "architecture": "our_net"}))
    save_file({"conv1.0.weight": torch.randn(4, 3, 3, 3), "other.weight": torch.randn(4, 3, 3, 3)},
              folder / "model.safetensors")  # fmt: skip
    assert zoo("folder", in_chans=4)[0] == 0
    assert {k: v.shape[1] for k, v in load_file(OUT).items()} == {"conv1.0.weight": 4, "other.weight": 3}
    assert stated()["architecture"] == "our_net"


@pytest.mark.parametrize("config", ["[]", "{", '{"architecture": 3}', '{"architecture": "x", "pretrained_cfg": 5}'])
def test_a_broken_config_is_refused(zoo: Zoo, state: State, tmp_path: Path, config: str):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_text(config)
    save_file(state, folder / "model.safetensors")
    code, out, said = zoo("folder")
    assert (code, out, "config.json" in said) == (4, "", True)


def test_a_folder_without_weights(zoo: Zoo, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    assert zoo("folder")[0] == 5
    assert zoo("local-dir:folder")[0] == 5


# ---------------------------------------------------------------- shards


def write_shards(folder: Path, state: State, **changes: Any) -> Path:
    """Two shards and their index; `changes` are laid over its weight_map."""
    names = [*state]
    files = {f"model-0000{i + 1}-of-00002.safetensors": names[i::2] for i in range(2)}
    for file, keys in files.items():
        save_file({key: state[key] for key in keys}, folder / file)
    weight_map = {key: file for file, keys in files.items() for key in keys}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map | changes}))
    return index


@pytest.mark.parametrize("name", ["model.safetensors.index.json", "."])
def test_shards_become_one_file(zoo: Zoo, state: State, tmp_path: Path, name: str):
    write_shards(tmp_path, state)
    assert zoo(MODEL, "--weights", name, "--verify")[0] == 0
    assert_adapted(state)


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ("../outside.safetensors", "not the name of a file beside it"),
        ("/etc/passwd", "not the name of a file beside it"),
        ("x\0y", "not the name of a file beside it"),
        ("model-00003-of-00003.safetensors", "is missing"),
        ("linked.safetensors", "leads elsewhere"),
        ("model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors holds 'conv1.0.weight', other than"),
    ],
)
def test_a13_a_hostile_or_broken_index_is_refused(zoo: Zoo, state: State, tmp_path: Path, where: str, what: str):
    folder = tmp_path / "folder"
    folder.mkdir()
    outside = tmp_path / "outside.safetensors"
    outside.write_bytes(b"\0" * 64)
    os.utime(outside, (1, 1))
    (folder / "linked.safetensors").symlink_to(outside)
    index = write_shards(folder, state, **{INPUT: where})
    code, out, said = zoo(MODEL, "--weights", index)
    assert (code, out) == (4, "")
    assert what in said.replace("\\x00", "\0")
    assert not OUT.exists()
    assert outside.stat().st_atime_ns == 10**9  # never opened


def test_a13_a_shard_that_the_index_does_not_name(zoo: Zoo, state: State, tmp_path: Path):
    index = write_shards(tmp_path, state)
    save_file({"lost": torch.zeros(1)}, tmp_path / "model-00003-of-00003.safetensors")
    code, _, said = zoo(MODEL, "--weights", index)
    assert (code, "does not name model-00003-of-00003.safetensors" in said) == (4, True)


def test_a13_a_tensor_that_the_index_does_not_name(zoo: Zoo, state: State, tmp_path: Path):
    index = write_shards(tmp_path, state)
    table = json.loads(index.read_text())
    del table["weight_map"][INPUT]
    index.write_text(json.dumps(table))
    code, _, said = zoo(MODEL, "--weights", index)
    assert (code, f"holds '{INPUT}', other than the index says" in said) == (4, True)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": {}}', '{"weight_map": {"a": 3}}', "[" * 100_000])
def test_a13_an_index_that_is_none(zoo: Zoo, tmp_path: Path, text: str):
    (tmp_path / "model.safetensors.index.json").write_text(text)
    code, out, said = zoo(MODEL, "--weights", "model.safetensors.index.json")
    assert (code, out, "not a sound index" in said) == (4, "", True)


# ---------------------------------------------------------------- the Hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with FakeHub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def test_a_repository_by_its_config(zoo: Zoo, state: State, hub: FakeHub):
    hub.files["owner/net/config.json"] = HubFile(json.dumps({**CONFIG, "architecture": "our_net"}).encode())
    hub.files["owner/net/model.safetensors"] = HubFile(save(state))
    assert zoo("hf-hub:owner/net", in_chans=4)[0] == 0
    assert_adapted(state, 4)
    assert stated()["origin"]["source"] == "hf-hub:owner/net"
    assert stated()["mean"] == [0.1, 0.2, 0.3, 0.1]


def test_a_repository_that_is_not_there(zoo: Zoo, hub: FakeHub):
    code, out, said = zoo("hf-hub:owner/none")
    assert (code, out) == (5, "")
    assert "owner/none" in said

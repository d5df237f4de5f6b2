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


def test_the_source_is_hashed_once(zoo: Zoo, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import hashlib

    from zoo.core.files import checksum

    save_file(state, tmp_path / "mine.safetensors")
    digest = hashlib.sha256((tmp_path / "mine.safetensors").read_bytes()).hexdigest()
    assert zoo(MODEL, "--weights", "mine.safetensors")[0] == 0
    monkeypatch.setattr(checksum, "sha256_of", None)
    assert zoo(MODEL, "--weights", "mine.safetensors", "--force", in_chans=7)[0] == 0
    assert (stated()["in_chans"], stated()["origin"]["source_sha256"]) == (7, digest)


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
        ("../outside.safetensors", "not the name of a file in the same folder"),
        ("/etc/passwd", "not the name of a file in the same folder"),
        ("x\0y", "not the name of a file in the same folder"),
        ("model-00003-of-00003.safetensors", "is missing"),
        ("linked.safetensors", "leads elsewhere"),
        ("x" * 5000, f"the file {'x' * 80} is missing"),
        (
            "model-00002-of-00002.safetensors",
            "model-00001-of-00002.safetensors holds 'conv1.0.weight', which contradicts",
        ),
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
    assert (code, f"holds '{INPUT}', which contradicts the index" in said) == (4, True)


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


# ---------------------------------------------------------------- several layers that read the image


class Branches(torch.nn.Module):
    """A vision transformer's patch embedding by groups of bands: each group has a convolution of its own."""

    def __init__(self, groups: tuple[int, ...]) -> None:
        super().__init__()
        self.patch_embed = torch.nn.ModuleList(
            torch.nn.ModuleDict({"proj": torch.nn.Conv2d(chans, 8, 4, 4)}) for chans in groups
        )
        self.blocks = torch.nn.ModuleList([torch.nn.TransformerEncoderLayer(8, 2, 16)])

    def tokens(self, *images: torch.Tensor) -> torch.Tensor:
        return torch.cat(
            [part["proj"](x) for part, x in zip(self.patch_embed, images, strict=True)]  # type: ignore[index,operator]
        )


class Encoders(torch.nn.Module):
    """Two encoders of one shape, as contrastive training and siamese networks have."""

    def __init__(self, first: int = 3, second: int = 3) -> None:
        super().__init__()
        for name, chans in (("encoder_q", first), ("encoder_k", second)):
            layers = (torch.nn.Conv2d(chans, 8, 3, bias=False), torch.nn.BatchNorm2d(8), torch.nn.Conv2d(8, 24, 3))
            self.add_module(name, torch.nn.Sequential(*layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.encoder_q(x), self.encoder_k(x)])


def saved(module: torch.nn.Module, name: str = "mine.pth") -> str:
    torch.save({"state_dict": module.state_dict(), "epoch": 1}, name)
    return name


def test_groups_of_unequal_size_are_named_and_refused(zoo: Zoo):
    source = saved(Branches((4, 4, 2)))
    code, out, said = zoo(source, "--verify", in_chans=6)
    assert (code, out, OUT.exists()) == (4, "", False)
    assert "patch_embed.0.proj reads 4, patch_embed.1.proj reads 4, patch_embed.2.proj reads 2" in said
    assert "--input-layer patch_embed.0.proj=N --input-layer patch_embed.1.proj=N" in said


def test_each_group_gets_the_channels_that_it_is_given(zoo: Zoo):
    model = Branches((4, 4, 2))
    given = [word for i, n in enumerate((8, 4, 6)) for word in ("--input-layer", f"patch_embed.{i}.proj={n}")]
    code, _, said = zoo(saved(model), *given, "--verify", in_chans=18)
    assert code == 0, said
    adapted = Branches((8, 4, 6))
    adapted.load_state_dict(load_file(OUT))
    images = [torch.randn(2, chans, 8, 8) for chans in (4, 4, 2)]
    tiled = [image.repeat(1, times, 1, 1) for image, times in zip(images, (2, 1, 3), strict=True)]
    torch.testing.assert_close(adapted.tokens(*tiled), model.tokens(*images))
    assert (stated()["in_chans"], len(stated()["mean"])) == (18, 18)


def test_what_was_adapted_group_by_group_stays_so(zoo: Zoo):
    given = [word for i in range(3) for word in ("--input-layer", f"patch_embed.{i}.proj=5")]
    assert zoo(saved(Branches((4, 4, 2))), *given, in_chans=15)[0] == 0
    os.rename(OUT, "groups.safetensors")
    code, _, said = zoo("groups.safetensors", in_chans=6)
    assert (code, "--input-layer patch_embed.0.proj=N" in said) == (2, True)
    code, _, said = zoo("groups.safetensors", *(word.replace("=5", "=1") for word in given), in_chans=3)
    assert code == 0, said
    assert (stated()["in_chans"], stated()["origin"]["adapted_from"]) == (3, 15)


@pytest.mark.parametrize("words", [
    ("--input-layer", "patch_embed.0.proj=6", "--input-layer", "patch_embed.1.proj"),
    ("--input-layer", "patch_embed.0.proj=x"), ("--input-layer", "patch_embed.0.proj=0"),
    ("--input-layer", "patch_embed.0.proj=7"), ("--input-layer", "patch_embed.0.proj=99999999999"),
])  # fmt: skip
def test_channels_of_layers_that_make_no_sense(zoo: Zoo, words: tuple[str, ...]):
    code, out, _ = zoo(saved(Branches((4, 4, 2))), *words)
    assert (code, out, OUT.exists()) == (2, "", False)


def test_whoever_names_one_of_several_is_told_of_the_others(zoo: Zoo):
    code, _, said = zoo(saved(Branches((4, 4, 2))), "--input-layer", "patch_embed.1.proj")
    assert code == 0
    assert "patch_embed.0.proj and patch_embed.2.proj read the image too and stay as they are" in said
    assert load_file(OUT)["patch_embed.2.proj.weight"].shape[1] == 2


def test_two_encoders_are_adapted_together_or_one_is_taken(zoo: Zoo):
    model = Encoders()
    code, out, said = zoo(saved(model), in_chans=6)
    assert (code, out, OUT.exists()) == (4, "", False)
    assert "encoder_q.0 reads 3, encoder_k.0 reads 3" in said
    assert "--input-layer encoder_q.0 --input-layer encoder_k.0" in said
    assert "--strip-prefix encoder_q. or --strip-prefix encoder_k." in said
    both = ("--input-layer", "encoder_q.0", "--input-layer", "encoder_k.0")
    assert zoo("mine.pth", *both, "--verify", in_chans=6)[0] == 0
    adapted = Encoders(6, 6).eval()
    adapted.load_state_dict(load_file(OUT))
    image = torch.randn(1, 3, 9, 9)
    torch.testing.assert_close(adapted(image.repeat(1, 2, 1, 1)), model.eval()(image))
    code, _, said = zoo("mine.pth", "--strip-prefix", "encoder_k.", "--force", in_chans=6)
    assert code == 0
    assert "0 was taken for the input layer" in said
    assert {key: value.shape[1] for key, value in load_file(OUT).items() if value.ndim == 4} == {
        "0.weight": 6, "2.weight": 8,
    }  # fmt: skip


@pytest.mark.parametrize("chans", [1, 2])
def test_an_encoder_for_depth_beside_one_for_colours(zoo: Zoo, chans: int):
    code, _, said = zoo(saved(Encoders(3, chans)), in_chans=6)
    assert code == 4
    assert f"encoder_q.0 reads 3, encoder_k.0 reads {chans}" in said
    code, _, said = zoo(
        "mine.pth", "--input-layer", "encoder_q.0=6", "--input-layer", f"encoder_k.0={chans}", in_chans=6 + chans
    )
    assert code == 0, said
    assert torch.equal(load_file(OUT)["encoder_k.0.weight"], torch.load("mine.pth")["state_dict"]["encoder_k.0.weight"])


def test_a_copy_whose_names_lost_their_dots_is_no_bystander(zoo: Zoo, state: State):
    copy = {f"model_ema.{key.replace('.', '')}": value for key, value in state.items()}
    torch.save({"state_dict": {f"model.{key}": value for key, value in state.items()} | copy}, "mine.ckpt")
    code, out, said = zoo("mine.ckpt")
    assert (code, out, OUT.exists()) == (4, "", False)
    flat = f"model_ema.{INPUT.replace('.', '')}"
    assert f"model.conv1.0 reads 3, {flat} reads 3" in said
    assert zoo("mine.ckpt", "--input-layer", "model.conv1.0", "--input-layer", flat, "--verify")[0] == 0
    written = load_file(OUT)
    assert torch.equal(written[flat], written[f"model.{INPUT}"])
    assert zoo("mine.ckpt", "--strip-prefix", "model.", "--force")[0] == 0
    assert_adapted(state)


def test_a_network_of_several_classifiers_is_asked_which(zoo: Zoo):
    shapes = {
        "stem.weight": (8, 3, 3, 3),
        "fc.weight": (4, 8),
        "fc.bias": (4,),
        "head.weight": (6, 8),
        "head.bias": (6,),
    }
    save_file({name: torch.randn(shape) for name, shape in shapes.items()}, "mine.safetensors")
    code, out, said = zoo("mine.safetensors", "--num-classes", 3)
    assert (code, out, OUT.exists()) == (2, "", False)
    assert "fc" in said
    assert "head" in said
    assert "--classifier" in said


# ---------------------------------------------------------------- hints that were tried


def sequential(state: State) -> State:
    """As `nn.Sequential(*model.children())` names it."""
    numbers: dict[str, str] = {}
    return {
        f"{numbers.setdefault(key.partition('.')[0], str(len(numbers)))}.{key.partition('.')[2]}": value
        for key, value in state.items()
    }


def test_a_prefix_that_would_not_help_is_not_suggested(zoo: Zoo):
    resnet = {key: value for key, value in create_model("resnet18", seed=0).state_dict().items() if key[:2] != "fc"}
    save_file(sequential(resnet), "mine.safetensors")
    code, _, said = zoo("resnet18", "--weights", "mine.safetensors")
    assert code == 4
    assert "--strip-prefix" not in said
    assert "Its layer 0 reads the image: adapt the file itself, without the model's name" in said
    code, _, said = zoo("mine.safetensors")
    assert (code, "0 was taken for the input layer" in said) == (0, True)


def test_a_prefix_that_helps_is_suggested_by_every_command(zoo: Zoo, state: State, capsys: pytest.CaptureFixture[str]):
    save_file({f"net.{key}": value for key, value in state.items()}, "mine.safetensors")
    hint = f"Its names with net. before them and shapes are those of {MODEL}: "
    code, _, said = zoo(MODEL, "--weights", "mine.safetensors")
    assert (code, f"{hint}--strip-prefix net. takes it off" in said) == (4, True)
    assert zoo(MODEL, "--weights", "mine.safetensors", "--strip-prefix", "net.")[0] == 0
    for line in (["check", MODEL, "mine.safetensors"], ["create", MODEL, "--weights", "mine.safetensors"]):
        assert errors.run(app, line) == 4
        assert f"{hint}`zoo convert --strip-prefix net.` takes it off" in capsys.readouterr().err
    assert errors.run(app, ["convert", "mine.safetensors", "--strip-prefix", "net.", "-o", "bare.safetensors"]) == 0
    assert errors.run(app, ["check", MODEL, "bare.safetensors"]) == 0


@pytest.mark.parametrize("command", ["adapt-weights", "check", "create"])
def test_who_named_an_architecture_is_not_asked_to(zoo: Zoo, command: str, capsys: pytest.CaptureFixture[str]):
    save_file({"x.weight": torch.randn(4, 70, 3, 3), "y.weight": torch.randn(4)}, "mine.safetensors")
    lines = {
        "adapt-weights": [MODEL, "--weights", "mine.safetensors", "--in-chans", "5", "-o", str(OUT)],
        "check": [MODEL, "mine.safetensors"],
        "create": [MODEL, "--weights", "mine.safetensors"],
    }
    assert errors.run(app, [command, *lines[command]]) == 4
    said = capsys.readouterr().err
    assert "Its names and shapes are those of no model that zoo knows" in said
    assert "Name the architecture" not in said

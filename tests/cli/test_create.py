"""`zoo create` as a pipeline uses it: what it builds, writes and says, and how it fails."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from zoo import create_model
from zoo.cli import errors
from zoo.cli.app import app

MODEL = "test_resnet"


class Run(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


Zoo = Callable[..., Run]


@pytest.fixture
def create(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Zoo:
    """Run `zoo create test_resnet <words>` in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object, name: str = MODEL) -> Run:
        return Run(errors.run(app, ["create", name, *map(str, words)]), *capsys.readouterr())

    return run


def assert_refused(run: Run, code: int, *words: str) -> None:
    assert (run.returncode, run.stdout) == (code, "")
    assert run.stderr.startswith("zoo: error: ")
    assert "fault in zoo" not in run.stderr
    for word in words:
        assert word in run.stderr
    assert [name for name in os.listdir() if name.startswith((".zoo-", "out"))] == []


def test_a_stem_of_fixed_filters_takes_no_other_channels(create: Zoo):
    words = ("csatv2 reads 3 channels with fixed filters, and not 5", "Leave out --in-chans")
    assert_refused(create("--in-chans", 5, "-o", "out", name="csatv2"), 2, *words)


# ---------------------------------------------------------------- what is written


@pytest.mark.parametrize(("in_chans", "num_classes"), [(3, 1000), (1, 10), (13, 0)])
def test_the_file_holds_the_model(create: Zoo, in_chans: int, num_classes: int):
    assert create("--in-chans", in_chans, "--num-classes", num_classes, "-o", "out").returncode == 0
    model = create_model(MODEL, in_chans=in_chans, num_classes=num_classes, device="meta")
    found = {key: (value.shape, value.dtype) for key, value in load_file("out").items()}
    assert found == {key: (value.shape, value.dtype) for key, value in model.state_dict().items()}
    with safe_open("out", "pt") as file:
        stated = json.loads(file.metadata()["zoo"])
    assert (stated["architecture"], stated["in_chans"], stated["num_classes"]) == (MODEL, in_chans, num_classes)
    assert [len(stated[key]) for key in ("mean", "std")] == [in_chans, in_chans]


def test_a_pruned_network_has_its_own_channel_counts():
    pruned, whole = (create_model(name, device="meta") for name in ("efficientnet_b1_pruned", "efficientnet_b1"))
    assert pruned.blocks[2][0].conv_pw.out_channels < whole.blocks[2][0].conv_pw.out_channels


def test_bytes_follow_from_the_seed(create: Zoo):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        create("--seed", seed, "-o", name)
    assert Path("a").read_bytes() == Path("b").read_bytes()
    differing = {k for k, v in load_file("c").items() if not torch.equal(v, load_file("a")[k])}
    assert {"conv1.0.weight", "layer1.0.conv1.weight", "fc.weight"} <= differing


def test_what_is_written_is_read_again_with_the_same_values(create: Zoo):
    create("--in-chans", 5, "--num-classes", 7, "--seed", 3, "-o", "a")
    document = json.loads(create("--weights", "a", "-o", "b", "--json").stdout)
    assert (document["in_chans"], document["num_classes"], document["weights"]["initialised"]) == (5, 7, [])
    first, second = load_file("a"), load_file("b")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_weights_are_adapted_to_other_channels(create: Zoo):
    create("-o", "rgb")
    document = json.loads(create("--weights", "rgb", "--in-chans", 1, "-o", "grey", "--json").stdout)
    assert document["weights"]["adapted"] == ["conv1.0.weight"]
    rgb, grey = load_file("rgb"), load_file("grey")
    assert torch.equal(grey["conv1.0.weight"], rgb["conv1.0.weight"].sum(dim=1, keepdim=True))
    assert all(torch.equal(grey[key], rgb[key]) for key in rgb if key != "conv1.0.weight")


def test_a_new_classifier_is_reported_and_follows_the_seed(create: Zoo):
    create("-o", "source")
    run = create("--weights", "source", "--num-classes", 4, "--seed", 5, "-o", "a")
    assert run.stderr == "zoo: note: fc.weight, fc.bias: not in the weights, initialised with seed 5.\n"
    create("--weights", "source", "--num-classes", 4, "--seed", 5, "-o", "b")
    assert Path("a").read_bytes() == Path("b").read_bytes()
    assert load_file("a")["fc.weight"].shape == (4, 96)


def test_a_trunk_of_feature_maps_holds_no_classifier(create: Zoo):
    run = create("--features-only", "--out-indices", "1,-1", "-o", "out", "--json")
    levels = json.loads(run.stdout)["feature_levels"]
    assert [(level["index"], level["reduction"]) for level in levels] == [(1, 4), (4, 32)]
    assert not [key for key in load_file("out") if key.startswith("fc.")]
    with safe_open("out", "pt") as file:
        assert json.loads(file.metadata()["zoo"])["num_classes"] == 0


def test_a_trunk_is_cut_after_its_last_level(create: Zoo):
    create("--features-only", "--out-indices", "1,2", "-o", "out")
    assert {key.split(".")[0] for key in load_file("out")} == {"conv1", "bn1", "layer1", "layer2"}


def test_without_output_nothing_is_written(create: Zoo):
    run = create("--num-classes", 10)
    assert run.returncode == 0
    assert run.stdout.startswith("test_resnet: ")
    assert os.listdir() == []


def test_a_second_run_changes_nothing_and_another_needs_force(create: Zoo):
    create("-o", "a")
    before = Path("a").read_bytes()
    assert json.loads(create("-o", "a", "--json").stdout)["status"] == "unchanged"
    refused = create("--seed", 1, "-o", "a")
    assert (refused.returncode, refused.stdout) == (6, "")
    assert "--force" in refused.stderr
    assert Path("a").read_bytes() == before
    assert create("--seed", 1, "-o", "a", "--force").returncode == 0
    assert Path("a").read_bytes() != before


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--pretrained", "--weights", "w"], "--pretrained and --weights"),
        (["--out-indices", "1"], "Add --features-only"),
        (["--features-only", "--out-indices", "one"], "numbers with commas"),
        (["--features-only", "--out-indices", "99"], "found [99]"),
        (["--in-chans", 0], "found 0"),
        (["--in-chans", -3], "found -3"),
        (["--num-classes", -1], "found -1"),
        (["--seed", -1], "found -1"),
        (["--seed", 2**64], "found 18446744073709551616"),
        (["--seed", "x"], "--seed"),
    ],
)
def test_wrong_usage(create: Zoo, options: list[object], words: str):
    assert_refused(create(*options, "-o", "out"), 2, words)


def test_more_channels_than_memory_can_hold(create: Zoo, monkeypatch: pytest.MonkeyPatch):
    def fail(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 576000000000 bytes.")

    monkeypatch.setattr("zoo.core.model.build.materialize", fail)
    assert_refused(create("-o", "out"), 1, "There is not enough memory")


def test_unknown_names(create: Zoo):
    assert_refused(create(name="test_resnet1"), 5, "Did you mean test_resnet")
    assert_refused(create(name="test_resnet.no"), 5, "has no tag 'no'")


def test_weights_that_are_missing_damaged_or_of_another_model(create: Zoo):
    assert_refused(create("--weights", "none", "-o", "out"), 5, "There is no weight file none")
    Path("damaged").write_bytes(b"\1" * 99)
    assert_refused(create("--weights", "damaged", "-o", "out"), 4, "damaged is not a sound safetensors file")
    create("-o", "weights")
    run = create("--weights", "weights", "-o", "out", name="resnet18")
    assert_refused(run, 4, "weights states that it holds test_resnet, not resnet18")
    save_file(create_model(MODEL, seed=0).state_dict(), "unlabelled")
    run = create("--weights", "unlabelled", "-o", "out", name="resnet18")
    assert_refused(run, 4, "unlabelled does not fit ResNet", "missing (conv1.weight")


def test_a_file_of_the_trunk_alone_is_enough_for_the_trunk(create: Zoo):
    trunk = ("--features-only", "--out-indices", "1,2")
    create(*trunk, "--seed", "3", "-o", "trunk.safetensors")
    assert create(*trunk, "--weights", "trunk.safetensors", "-o", "again.safetensors").returncode == 0
    first, again = load_file("trunk.safetensors"), load_file("again.safetensors")
    assert first.keys() == again.keys()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert_refused(create("--weights", "trunk.safetensors", "-o", "whole"), 4, "missing")


def test_a_tensor_that_is_missing_or_too_many_is_an_error(create: Zoo):
    state = create_model(MODEL, seed=0).state_dict()
    save_file({key: value for key, value in state.items() if key != "bn1.weight"}, "less")
    assert_refused(create("--weights", "less", "-o", "out"), 4, "1 missing (bn1.weight)")
    save_file({**state, "extra": torch.zeros(1)}, "more")
    assert_refused(create("--weights", "more", "-o", "out"), 4, "1 unknown (extra)")


@pytest.mark.parametrize(("stages", "told"), [(1, "layers.0.attn_mask: dropped"), (9, "9 tensors, the first layers.0")])
def test_what_a_file_holds_beside_the_model_is_told_on_one_line(create: Zoo, stages: int, told: str):
    name = "swin_tiny_patch4_window7_224"
    extra = {f"layers.{number}.attn_mask": torch.zeros(1) for number in range(stages)}
    save_file({**create_model(name, seed=0).state_dict(), **extra}, "swin")
    run = create("--weights", "swin", "-o", "out", name=name)
    assert run.returncode == 0
    (line,) = [line for line in run.stdout.splitlines() if "dropped" in line]
    assert told in line


@pytest.mark.parametrize("output", ["missing/out", "/dev/null", "."])
def test_outputs_that_cannot_be(create: Zoo, output: str):
    assert_refused(create("-o", output), 6)


def test_offline_and_not_cached(create: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    assert_refused(create("--pretrained", "-o", "out"), 5, "stay offline", "zoo: hint: ")


def test_a_size_of_thousands_of_digits_is_a_usage_error(create: Zoo):
    run = create("--weights", "net.safetensors", "--source-size", "9" * 5000)
    assert_refused(run, 2, "--source-size takes one number or height,width")
    assert len(run.stderr) < 1000


@pytest.mark.parametrize("option", ["--in-chans", "--num-classes"])
@pytest.mark.parametrize("weights", [(), ("--weights", "net.safetensors")])
def test_a_number_that_no_network_has_is_a_usage_error(create: Zoo, option: str, weights: tuple[str, ...]):
    create("-o", "net.safetensors")
    assert_refused(create(option, "1" * 20, *weights), 2, "or less, found 1111")

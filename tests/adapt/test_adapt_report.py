"""What `zoo adapt-weights` refuses to guess, and what its report and its metadata say, neither more nor twice."""

from __future__ import annotations

import json
import os
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from zoo import create_model
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.adapt.job import OutputRequest
from zoo.core.adapt.plan import plan_adaptation
from zoo.core.adapt.request import AdaptRequest
from zoo.core.adapt.sources import adapt_weights
from zoo.core.architectures.records import PretrainedCfg
from zoo.core.channels.input_layers import InputLayout
from zoo.core.files.stored_tensor import StoredTensor

SOURCE, OUT = "source.safetensors", Path("out.safetensors")

State = dict[str, torch.Tensor]
Adapt = Callable[..., tuple[int, str, str]]


@pytest.fixture
def adapt(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Adapt:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def run(state: State, *words: object, model: str = "") -> tuple[int, str, str]:
        save_file(state, SOURCE)
        source = [model, "--weights", SOURCE] if model else [SOURCE]
        line = ["adapt-weights", *source, "-o", OUT, *words]
        code = errors.run(app, [str(word) for word in line])
        return (code, *capsys.readouterr())

    return run


def stated() -> dict[str, Any]:
    with safe_open(OUT, "pt") as file:
        return json.loads(file.metadata()["zoo"])  # type: ignore[no-any-return]


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


# ---------------------------------------------------------------- classifiers


UNKNOWN = {"conv1.weight": random(4, 3, 3, 3), "fc.weight": random(10, 4), "fc.bias": random(10)}


@pytest.mark.parametrize("words", [("--num-classes", 0), ("--keep-classes", "classes.txt")])
def test_several_classifiers_are_named_and_none_is_changed(adapt: Adapt, words: tuple[object, ...]):
    Path("classes.txt").write_text("1\n")
    two = UNKNOWN | {"head.weight": random(10, 4), "head.bias": random(10)}
    code, out, said = adapt(two, "--in-chans", 4, *words)
    assert (code in (2, 4), out, OUT.exists()) == (True, "", False)
    assert "fc" in said
    assert "head" in said
    assert "--classifier" in said
    code, _, _ = adapt(two, "--in-chans", 4, *words, "--classifier", "fc")
    assert code == 0
    written = load_file(OUT)
    assert torch.equal(written["head.weight"], two["head.weight"])
    assert "fc.weight" not in written or written["fc.weight"].shape[0] == 1


def test_a_layer_with_a_classifiers_name_and_another_shape_is_no_candidate(adapt: Adapt):
    several = UNKNOWN | {"head.weight": random(5), "classifier.weight": random(4, 4, 3, 3)}
    assert adapt(several, "--in-chans", 4, "--num-classes", 0)[0] == 0
    assert load_file(OUT).keys() == several.keys() - {"fc.weight", "fc.bias"}


def test_a_classifier_that_is_not_asked_about_needs_no_name(adapt: Adapt):
    two = UNKNOWN | {"head.weight": random(10, 4)}
    assert adapt(two, "--in-chans", 4)[0] == 0
    assert load_file(OUT).keys() == two.keys()


# ---------------------------------------------------------------- input layers


def test_every_branch_that_reads_the_image_is_adapted(adapt: Adapt):
    """crossvit reads the image with two patch embeddings; leaving one would give a model that cannot run."""
    state = create_model("crossvit_9_240", device="meta").state_dict()
    state = {name: torch.zeros(tensor.shape) for name, tensor in state.items()}
    inputs = [name for name in state if name.startswith("patch_embed.") and name.endswith("proj.weight")]
    assert len(inputs) == 2
    state |= {name: random(*state[name].shape) for name in inputs}
    code, out, _ = adapt(state, "--in-chans", 5, "--json", model="crossvit_9_240")
    assert code == 0
    assert [change["name"] for change in json.loads(out)["changes"]] == inputs
    written = load_file(OUT)
    for name in inputs:
        expected = state[name].repeat(1, 2, 1, 1)[:, :5] * (3 / 5)
        assert torch.equal(written[name], expected)
    assert {name for name in state if written[name].shape != state[name].shape} == set(inputs)


@pytest.mark.parametrize("values", [tuple(range(1, 7)), (0.1, 0.2)])
def test_mean_and_std_of_groups_stay_with_their_group(values: tuple[float, ...]):
    weight = StoredTensor("conv.weight", "F32", (6, 2, 3, 3), bytes(4 * 6 * 2 * 9))
    request = AdaptRequest(in_chans=9, input_layers=("conv",), input_layout=InputLayout("groups", 3))
    found = plan_adaptation([weight], PretrainedCfg(), request, "test").channel_values(values)
    if len(values) == 6:  # three groups of 2 become three of 3: each repeats its own two
        assert found == (1, 2, 1, 3, 4, 3, 5, 6, 5)
    else:
        assert found == pytest.approx((0.1, 0.2, 0.1) * 3)


# ---------------------------------------------------------------- the metadata


def vit() -> State:
    state = create_model("vit_tiny_patch16_224", device="meta").state_dict()
    return {name: torch.zeros(tensor.shape) for name, tensor in state.items()}


@pytest.mark.parametrize("words", [(), ("--img-size", 224)])
def test_what_was_not_resized_states_no_arguments_of_the_model(adapt: Adapt, words: tuple[object, ...]):
    assert adapt(vit(), "--in-chans", 4, *words, model="vit_tiny_patch16_224")[0] == 0
    assert "model_args" not in stated()


def test_an_image_size_of_a_network_without_positions_is_no_argument(adapt: Adapt):
    state = create_model("test_resnet", seed=0).state_dict()
    assert adapt(state, "--in-chans", 4, "--img-size", 192, model="test_resnet")[0] == 0
    assert "model_args" not in stated()
    assert stated()["input_size"] == [4, 192, 192]
    assert create_model("test_resnet", checkpoint_path=str(OUT)).conv1[0].weight.shape[1] == 4


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--img-size", 160), {"img_size": [160, 160]}),
        (("--patch-size", 8), {"patch_size": 8}),
        (("--img-size", "96,160", "--patch-size", 32), {"img_size": [96, 160], "patch_size": 32}),
    ],
)
def test_what_was_resized_states_what_was_asked_for(adapt: Adapt, words: tuple[object, ...], expected: dict[str, Any]):
    code, _, said = adapt(vit(), "--in-chans", 4, *words, model="vit_tiny_patch16_224")
    assert code == 0, said
    assert stated()["model_args"] == expected


# ---------------------------------------------------------------- the report


def test_every_tensor_is_reported_once(adapt: Adapt):
    state = create_model("test_resnet", seed=0).state_dict()
    words = ("--in-chans", 5, "--num-classes", 0, "--dtype", "float16", "--verify")
    code, out, _ = adapt(state, *words, "--json", model="test_resnet")
    report = json.loads(out)
    assert code == 0
    assert sum(report["tensors"].values()) == len(state)
    assert max(Counter(change["name"] for change in report["changes"]).values()) == 1
    assert {change["name"] for change in report["changes"] if change["action"] == "drop"} == {"fc.weight", "fc.bias"}
    os.remove(OUT)
    code, out, _ = adapt(state, *words, model="test_resnet")
    lines = out.splitlines()
    assert code == 0
    assert sum(line.startswith("  conv1.0.weight: ") for line in lines) == 1
    assert len(lines) == len(set(lines))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_tensor_of_many_pieces_with_many_infinities_is_named_once(tmp_path: Path, dtype: str):
    """Values are cast a few megabytes at a time; each piece holds an infinity."""
    large = torch.zeros(6_000_000)
    large[::1_000_000] = torch.inf
    save_file(UNKNOWN | {"large": large, "small": torch.tensor([torch.nan, torch.inf])}, tmp_path / SOURCE)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        request = AdaptRequest(in_chans=4, dtype=dtype)
        adapt_weights(tmp_path / SOURCE, request, OutputRequest(path=tmp_path / OUT, sync=False))
    names = [str(warning.message).split()[0] for warning in told if "NaN or infinite" in str(warning.message)]
    assert sorted(names) == ["large", "small"]

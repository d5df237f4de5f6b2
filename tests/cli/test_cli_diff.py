"""`zoo diff`: every difference is found and measured, and what explains it is named."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.torch import save_file

from zoo import create_model
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.files.stored_tensor import Computed, StoredTensor
from zoo.core.inspection.difference import TensorDifference, tensor_difference

MODEL, INPUT = "test_resnet", "conv1.0.weight"
State = dict[str, torch.Tensor]


class Run(NamedTuple):
    returncode: int
    stdout: str
    stderr: str

    @property
    def report(self) -> dict[str, Any]:
        return json.loads(self.stdout, parse_constant=_not_json)  # type: ignore[no-any-return]

    @property
    def tensors(self) -> dict[str, dict[str, Any]]:
        return {tensor["name"]: tensor for tensor in self.report["tensors"]}

    def explained(self) -> dict[str, str]:
        return {name: tensor["explanation"] for name, tensor in self.tensors.items()}


def _not_json(word: str) -> None:
    raise AssertionError(f"{word} is not JSON")


Diff = Callable[..., Run]


@pytest.fixture(scope="module")
def state() -> State:
    return create_model(MODEL, seed=0).state_dict()


@pytest.fixture
def diff(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Diff:
    """Save two state dicts and compare the files."""
    monkeypatch.chdir(tmp_path)

    def run(a: State, b: State, *words: object) -> Run:
        for name, tensors in (("a", a), ("b", b)):
            save_file({key: tensor.clone().contiguous() for key, tensor in tensors.items()}, f"{name}.safetensors")
        command = ["diff", "a.safetensors", "b.safetensors", *map(str, words)]
        return Run(errors.run(app, command), *capsys.readouterr())

    return run


# ---------------------------------------------------------------- equal or not


def test_equal_files(diff: Diff, state: State):
    run = diff(state, dict(reversed(state.items())))
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == f"a.safetensors and b.safetensors are equal; {len(state)} equal tensors\n"


def test_names_shapes_dtypes_and_values(diff: Diff, state: State):
    changed = dict(state)
    changed["extra"] = changed.pop("layer1.0.bn1.weight")
    changed["layer1.0.conv1.weight"] = state["layer1.0.conv1.weight"][:, :3]
    changed["bn1.num_batches_tracked"] = state["bn1.num_batches_tracked"].int()
    changed["bn1.bias"] = state["bn1.bias"] + 0.25
    run = diff(state, changed, "--json")
    assert run.returncode == 4
    assert {name: tensor["kind"] for name, tensor in run.tensors.items()} == {
        "layer1.0.bn1.weight": "only in A", "extra": "only in B", "layer1.0.conv1.weight": "shape",
        "bn1.num_batches_tracked": "dtype", "bn1.bias": "values",
    }  # fmt: skip
    assert set(run.explained().values()) == {None}
    assert (run.report["equal"], run.report["explained"]) == (False, False)
    assert run.report["num_equal"] == len(state) - 4
    assert run.tensors["bn1.bias"]["max_abs_difference"] == 0.25
    plain = diff(state, changed)
    assert "bn1.bias: values; A F32 32, B F32 32; max 0.25, mean 0.25\n" in plain.stdout
    assert "layer1.0.bn1.weight: only in A" in plain.stdout
    assert "not all explained" in plain.stderr


def test_a_tolerance_is_absolute_and_includes_its_bound(diff: Diff):
    a, b = {"x": torch.tensor([1.0, 2.0])}, {"x": torch.tensor([1.0, 2.5])}
    assert diff(a, b).returncode == 4
    assert diff(a, b, "--tolerance", 0.5).returncode == 0
    assert diff(a, b, "--tolerance", 0.499).returncode == 4
    assert diff(a, {"x": a["x"].half()}).returncode == 4
    assert diff(a, {"x": a["x"].half()}, "--tolerance", 1e-9).returncode == 0
    for wrong in (-1, "nan", "inf"):
        assert diff(a, b, "--tolerance", wrong).returncode == 2


def test_not_a_number_equals_itself_and_nothing_else(diff: Diff):
    nan, inf = math.nan, math.inf
    a, b = {"x": torch.tensor([nan, inf, 1.0])}, {"x": torch.tensor([nan, inf, 1.5])}
    assert diff(a, dict(a)).returncode == 0
    assert diff(a, b, "--tolerance", 0.5).returncode == 0
    run = diff(a, {"x": torch.tensor([0.0, -inf, 1.5])}, "--tolerance", 9, "--json")
    assert run.returncode == 4
    assert run.tensors["x"]["num_incomparable"] == 2
    assert run.tensors["x"]["max_abs_difference"] == run.tensors["x"]["mean_abs_difference"] == 0.5


def test_without_a_tolerance_every_bit_counts(diff: Diff):
    run = diff({"x": torch.tensor([0.0])}, {"x": torch.tensor([-0.0])}, "--json")
    assert run.returncode == 4
    assert run.tensors["x"]["max_abs_difference"] == 0.0


def test_dtypes_that_are_not_decoded_are_compared_by_bytes(diff: Diff):
    values = torch.tensor([1.0, 2.0])
    a, b = {"x": values.to(torch.float8_e4m3fn)}, {"x": (values + 1).to(torch.float8_e4m3fn)}
    assert diff(a, dict(a)).returncode == 0
    run = diff(a, b, "--tolerance", 100, "--json")
    assert (run.returncode, run.tensors["x"]["max_abs_difference"]) == (4, None)


def test_files_that_are_not_there(diff: Diff, capsys: pytest.CaptureFixture[str]):
    save_file({"x": torch.ones(1)}, "a.safetensors")
    assert errors.run(app, ["diff", "a.safetensors", "none.safetensors"]) == 5
    Path("b.safetensors").write_bytes(b"12345")
    assert errors.run(app, ["diff", "a.safetensors", "b.safetensors"]) == 4
    assert capsys.readouterr().out == ""


# ---------------------------------------------------------------- explanations


@pytest.mark.parametrize(("dtype", "name"), [(torch.float16, "F16"), (torch.bfloat16, "BF16"), (torch.float64, "F64")])
def test_a_cast(diff: Diff, state: State, dtype: torch.dtype, name: str):
    cast = {key: t.to(dtype) if t.is_floating_point() else t for key, t in state.items()}
    floats = {key for key, t in state.items() if t.is_floating_point()}
    run = diff(state, cast, "--json")
    assert run.returncode == 4
    assert run.explained() == dict.fromkeys(floats, f"B is A cast to {name}")
    if dtype != torch.float64:
        assert set(diff(cast, state, "--json").explained().values()) <= {f"A is B cast to {name}", "B is A cast to F32"}
    largest = max(state, key=lambda key: state[key].numel())
    expected = (state[largest].double() - cast[largest].double()).abs()
    assert run.tensors[largest]["max_abs_difference"] == expected.max()
    assert run.tensors[largest]["mean_abs_difference"] == pytest.approx(expected.mean().item(), rel=1e-9)


def test_one_other_value_is_no_cast(diff: Diff, state: State):
    cast = {**state, INPUT: state[INPUT].half()}
    cast[INPUT][0, 0, 0, 0] += 1
    assert diff(state, cast, "--json").explained() == {INPUT: None}


def mixed(weight: torch.Tensor, method: str, chans: int) -> torch.Tensor:
    """A weight of three channels for others, by the formulas of docs/adaptation.md."""
    if method == "luma":
        return 3 * sum(w * weight[:, c : c + 1] for c, w in enumerate((0.299, 0.587, 0.114)))
    if method == "mean":
        return weight.mean(1, keepdim=True).repeat(1, chans, 1, 1) * (3 / chans)
    if method == "zero":
        return torch.cat([weight, torch.zeros_like(weight).repeat(1, 9, 1, 1)], 1)[:, :chans]
    if chans == 1:
        return weight.sum(1, keepdim=True)
    tiled = weight.repeat(1, 9, 1, 1)[:, :chans]
    if method == "repeat":
        return tiled * (3 / chans)
    copies = torch.tensor([len(range(n % 3, chans, 3)) for n in range(chans)])
    return tiled / copies.reshape(1, -1, 1, 1)


@pytest.mark.parametrize(
    ("method", "chans"),
    [("repeat", 1), ("repeat", 2), ("repeat", 4), ("repeat", 25), ("balanced", 4), ("balanced", 25), ("mean", 2),
     ("mean", 5), ("zero", 2), ("zero", 4), ("luma", 1)],
)  # fmt: skip
def test_a_channel_adaptation(diff: Diff, state: State, method: str, chans: int):
    adapted = {**state, INPUT: mixed(state[INPUT], method, chans)}
    told = f"channels 3 -> {chans} by {method}"
    assert diff(state, adapted, "--json").explained()[INPUT].removesuffix(", to rounding") == f"B is A's {told}"
    assert diff(adapted, state, "--json").explained()[INPUT].removesuffix(", to rounding") == f"A is B's {told}"
    half = {**state, INPUT: mixed(state[INPUT], method, chans).half()}
    assert diff(state, half, "--json").explained()[INPUT].removesuffix(", to rounding") == f"B is A's {told}"


def test_other_filters_are_no_adaptation(diff: Diff, state: State):
    adapted = {**state, INPUT: mixed(state[INPUT], "repeat", 4)}
    adapted[INPUT][0, 0, 0, 0] += 0.01
    assert diff(state, adapted, "--json").explained() == {INPUT: None}


def test_a_patch_embedding_and_its_positions(diff: Diff):
    a = create_model("test_vit", seed=0).state_dict()
    b = create_model("test_vit", seed=0, img_size=96).state_dict()
    assert a["pos_embed"].shape != b["pos_embed"].shape
    b = {key: a[key] if key != "pos_embed" else b[key] for key in a}
    run = diff(a, b, "--json")
    assert run.explained() == {"pos_embed": "resized: it follows the image size"}


@pytest.mark.parametrize("foreign", [False, True], ids=["by its architecture", "as the last linear layer"])
def test_a_new_classifier(diff: Diff, state: State, foreign: bool):
    def named(tensors: State) -> State:
        return {f"net.{key}" if foreign else key: tensor for key, tensor in tensors.items()}

    new = {**state, "fc.weight": torch.ones(7, state["fc.weight"].shape[1]), "fc.bias": torch.ones(7)}
    run = diff(named(state), named(new), "--json")
    assert run.returncode == 4
    assert list(run.report["explanations"].items()) == [("new classifier: 1000 -> 7 classes", 2)]
    assert run.report["explained"]


def test_no_classifier(diff: Diff, state: State):
    bare = {key: tensor for key, tensor in state.items() if not key.startswith("fc.")}
    assert set(diff(state, bare, "--json").explained().values()) == {"classifier that B lacks"}
    assert set(diff(bare, state, "--json").explained().values()) == {"classifier that A lacks"}


@pytest.mark.parametrize("prefix", ["module.", "backbone.net."])
def test_a_prefix(diff: Diff, state: State, prefix: str):
    longer = {f"{prefix}{key}": tensor for key, tensor in state.items()}
    run = diff(state, longer, "--json")
    assert (run.returncode, run.report["prefix_a"], run.report["prefix_b"]) == (4, "", prefix)
    assert (run.report["tensors"], run.report["num_equal"], run.report["explained"]) == ([], len(state), True)
    assert f"names in A begin with {prefix}" in diff(longer, state).stdout
    cast = {key: tensor.half() for key, tensor in longer.items() if tensor.is_floating_point()}
    run = diff(state, cast, "--json")
    assert run.report["prefix_b"] == prefix
    assert run.explained()["bn1.num_batches_tracked"] == "batch counter, which old files lack"
    assert run.report["explained"]


def test_all_at_once(diff: Diff, state: State):
    other = {key: t for key, t in state.items() if not key.startswith("fc.")}
    other[INPUT] = mixed(state[INPUT], "repeat", 4)
    other = {f"m.{key}": t.bfloat16() if t.is_floating_point() else t for key, t in other.items()}
    run = diff(state, other, "--json")
    assert run.report["explained"]
    assert run.report["explanations"] == {
        "B is A's channels 3 -> 4 by repeat": 1,
        "B is A cast to BF16": sum(t.is_floating_point() for t in state.values()) - 3,
        "classifier that B lacks": 2,
    }
    assert diff(state, other, "--json").stdout == run.stdout


# ---------------------------------------------------------------- the numbers

NUMPY = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "I8": "|i1", "U8": "|u1", "I32": "<i4", "I64": "<i8", "BOOL": "|b1"}


def stored(values: np.ndarray, dtype: str) -> StoredTensor:
    return StoredTensor("x", dtype, values.shape, values.tobytes())


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, str, np.ndarray, str]:
    size = draw(st.integers(0, 20))
    kinds = [draw(st.sampled_from(list(NUMPY))) for _ in range(2)]
    found = [draw(arrays(np.dtype(NUMPY[kind]), size)) for kind in kinds]
    return found[0], kinds[0], found[1], kinds[1]


@given(pairs())
@settings(deadline=None)
def test_the_statistics_are_those_of_the_definition(pair: tuple[np.ndarray, str, np.ndarray, str]):
    a, kind_a, b, kind_b = pair
    exact = kind_a == kind_b and a.dtype.kind in "iu"
    differences = []
    for x, y in zip(a.tolist(), b.tolist(), strict=True):
        same = x == y or (x != x and y != y)
        differences.append(0.0 if same else float(abs(x - y) if exact else abs(float(x) - float(y))))
    finite = [d for d in differences if math.isfinite(d)]
    found = tensor_difference(stored(a, kind_a), stored(b, kind_b))
    assert found.same_bits == (kind_a == kind_b and a.tobytes() == b.tobytes())
    assert found.num_incomparable == len(differences) - len(finite)
    assert found.max_abs == max(finite, default=0.0)
    mean = sum(d / len(finite) for d in finite) if finite else 0.0
    assert found.mean_abs == pytest.approx(mean, rel=1e-9, abs=5e-324 * 64)


@given(arrays(np.dtype("<u2"), st.integers(0, 40)))
@settings(deadline=None)
def test_bfloat16_is_what_torch_says_it_is(bits: np.ndarray):
    values = torch.from_numpy(bits.view(np.int16).copy()).view(torch.bfloat16)
    a, b = stored(values.float().numpy(), "F32"), StoredTensor("x", "BF16", bits.shape, bits.tobytes())
    found = tensor_difference(a, b)
    assert (found.max_abs, found.num_incomparable) == (0.0, 0)
    assert found.a_rounds_to_b
    assert found.b_rounds_to_a


@pytest.mark.parametrize("chunk", [1000, 1 << 20, 1 << 24])
def test_a_long_tensor_in_pieces_of_any_size(chunk: int):
    values = np.arange(700_000, dtype=np.float32)
    other = values.copy()
    other[[0, 300_000, -1]] += 4
    data = other.tobytes()
    computed = Computed(len(data), lambda: (data[i : i + chunk] for i in range(0, len(data), chunk)))
    found = tensor_difference(stored(values, "F32"), StoredTensor("x", "F32", other.shape, computed))
    assert (found.max_abs, found.mean_abs) == (4.0, pytest.approx(12 / 700_000))
    assert tensor_difference(stored(values, "F32"), stored(values.copy(), "F32")) == TensorDifference(same_bits=True)


# ---------------------------------------------------------------- start-up


@pytest.mark.parametrize(("change", "unwanted"), [(0.0, "torch numpy"), (0.5, "torch")])
def test_nothing_is_imported_that_is_not_needed(diff: Diff, state: State, change: float, unwanted: str):
    diff(state, {**state, "bn1.bias": state["bn1.bias"] + change})
    code = (
        "import sys; from zoo.cli.app import app; from zoo.cli import errors;"
        f"assert errors.run(app, ['diff', 'a.safetensors', 'b.safetensors']) == {4 if change else 0};"
        f"assert not set({unwanted!r}.split()) & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)

"""`--verify` asks whether what it wrote will load: the loader's own decision, and timm's rules; and its tolerance."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from zoo import create_model
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.adapt.plan import plan_adaptation
from zoo.core.adapt.request import AdaptRequest
from zoo.core.adapt.timm_folder import loads_in_timm
from zoo.core.adapt.verify import promised, verify_adapted
from zoo.core.adapt.verify_loading import loads_in_zoo
from zoo.core.architectures.records import PretrainedCfg
from zoo.core.channels import mixing as adapt
from zoo.core.channels.bands import parse_bands
from zoo.core.channels.input_layers import InputLayout
from zoo.core.files.stored_tensor import StoredTensor

MODEL = "test_resnet"

State = dict[str, torch.Tensor]
Adapt = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def state() -> State:
    return create_model(MODEL, seed=0).state_dict()  # type: ignore[no-any-return]


@pytest.fixture
def adapted(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: State) -> Adapt:
    monkeypatch.chdir(tmp_path)

    def run(*words: object, name: str = MODEL, tensors: State | None = None) -> tuple[int, str, str]:
        save_file(tensors or state, "source.safetensors")
        line = ["adapt-weights", name, "--weights", "source.safetensors", "-o", "out", "--verify", *words]
        code = errors.run(app, [str(word) for word in line])
        return (code, *capsys.readouterr())

    return run


# ---------------------------------------------------------------- loading


def test_create_will_load_it(adapted: Adapt):
    code, out, _ = adapted("--in-chans", 13)
    assert code == 0
    assert f"verified: create: loads into {MODEL} with 13 channels and 1000 classes: " in out
    assert create_model(MODEL, checkpoint_path="out").in_chans == 13


def test_the_check_of_a_usual_file_needs_no_torch(tmp_path: Path, state: State):
    save_file(state, tmp_path / "source.safetensors")
    words = ["adapt-weights", MODEL, "--weights", "source.safetensors", "--in-chans", "5", "-o", "out", "--verify"]
    code = (
        "import sys\nfrom zoo.cli import errors\nfrom zoo.cli.app import app\n"
        f"assert errors.run(app, {words}) == 0\nassert 'torch' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "create: loads into" in run.stdout


@pytest.mark.parametrize("drop", ["layer1.0.conv1.weight", "layer1.0.bn1.running_mean"])
def test_a_file_that_create_would_refuse_is_not_written(adapted: Adapt, state: State, drop: str):
    # Published files of some families are not exactly the model's; what is missing here makes it unloadable.
    from zoo.core.adapt import job

    lacking = {key: value for key, value in state.items() if key != drop}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "require_architecture", lambda *_, **__: [])
        code, out, said = adapted("--in-chans", 5, tensors=lacking)
    assert (code, out, Path("out").exists()) == (4, "", False)
    assert f"1 missing ({drop})" in said
    assert "Nothing was written" in said


def test_what_is_not_built_is_said(adapted: Adapt, state: State):
    unknown = {"a.weight": torch.randn(8, 3, 3, 3), "b.weight": torch.randn(4, 8, 3, 3)}
    code, out, said = adapted("--in-chans", 5, name="./source.safetensors", tensors=unknown)
    assert code == 0, said
    assert "verified: create: not built, as the file names no architecture" in out


@pytest.mark.parametrize(("name", "words"), [("", "names no architecture"), ("our_net", "does not know our_net")])
def test_an_architecture_that_nobody_knows_is_not_built(name: str, words: str):
    check = loads_in_zoo({}, {"zoo": json.dumps({"architecture": name})})
    assert check.ok
    assert check.detail.startswith("not built")
    assert words in check.detail


# ---------------------------------------------------------------- timm's rules


def config(**changes: Any) -> bytes:
    cfg = {"input_size": [5, 32, 32], "mean": [0.5] * 5, "std": [0.2] * 5, "first_conv": "conv1", "classifier": "fc"}
    args = {"in_chans": 5, "num_classes": 10}
    values = {"architecture": "resnet18", "model_args": args, "pretrained_cfg": {**cfg, "num_classes": 10}}
    for key, value in changes.items():
        part = values["model_args" if key in args and key != "classes_in_file" else "pretrained_cfg"]
        part["num_classes" if key == "classes_in_file" else key] = value  # type: ignore[index]
    return json.dumps(values).encode()


def stored(**shapes: tuple[int, ...]) -> dict[str, StoredTensor]:
    return {
        name: StoredTensor(name, "F32", shape, b"")
        for name, shape in {"conv1.weight": (64, 5, 7, 7), "fc.weight": (10, 512), **shapes}.items()
    }


def without(tensors: dict[str, StoredTensor], name: str) -> dict[str, StoredTensor]:
    return {key: tensor for key, tensor in tensors.items() if key != name}


def test_a_folder_that_timm_loads():
    assert loads_in_timm(stored(), config(), InputLayout()).ok
    made_new = loads_in_timm(without(stored(), "fc.weight"), config(classes_in_file=0), InputLayout())
    assert (made_new.ok, "a new classifier of 10 classes" in made_new.detail) == (True, True)
    trunk = config(num_classes=0, classes_in_file=0)
    assert loads_in_timm(without(stored(), "fc.weight"), trunk, InputLayout()).ok


@pytest.mark.parametrize(("tensors", "changes", "words"), [
    (stored(), {"input_size": [3, 32, 32]}, "input_size of its config has 3 channels, the model 5"),
    (stored(), {"mean": [0.5] * 3}, "mean of its config has 3 channels"),
    (stored(), {"std": [0.5]}, "std of its config has 1 channel,"),
    (stored(**{"conv1.weight": (64, 3, 7, 7)}), {}, "does not read the model's 5 channels"),
    (without(stored(), "conv1.weight"), {}, "is not in the file"),
    (without(stored(), "fc.weight"), {}, "fc.weight is not in the file, but the model has 10 classes"),
    (stored(**{"fc.weight": (7, 512)}), {}, "fc.weight has 7 rows"),
    (stored(), {"num_classes": 0, "classes_in_file": 0}, "the model has no classifier"),
])  # fmt: skip
def test_a_folder_that_timm_would_not_load(tensors: dict[str, StoredTensor], changes: dict[str, Any], words: str):
    check = loads_in_timm(tensors, config(**changes), InputLayout())
    assert not check.ok
    assert words in check.detail


def test_the_folder_that_is_written_is_checked_so(adapted: Adapt):
    code, out, _ = adapted("--in-chans", 4, "--format", "timm")
    assert code == 0
    assert f"verified: timm: by its rules local-dir: loads into {MODEL} with 4 channels and 1000 classes" in out


# ---------------------------------------------------------------- the tolerance


def planned(request: AdaptRequest, kernel: int, from_chans: int = 3) -> tuple[Any, dict[str, StoredTensor]]:
    weight = torch.randn(16, from_chans, kernel, kernel, generator=torch.Generator().manual_seed(0))
    tensors = [StoredTensor("conv.weight", "F32", tuple(weight.shape), weight.numpy().tobytes())]
    plan = plan_adaptation(tensors, PretrainedCfg(first_conv="conv"), request, "test")
    return plan, {t.name: StoredTensor(t.name, t.dtype, t.shape, bytes(t.read())) for t in plan.tensors}


def passed(plan: Any, written: dict[str, StoredTensor]) -> bool:
    return all(check.ok for check in verify_adapted(plan, written))


@pytest.mark.parametrize("kernel", [1, 7, 16])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("method", "in_chans"), [
    ("repeat", 1), ("repeat", 7), ("balanced", 7), ("balanced", 2), ("mean", 4), ("zero", 5), ("zero", 2), ("luma", 1),
])  # fmt: skip
def test_a_method_that_is_off_by_one_percent_fails(
    method: str, in_chans: int, dtype: str, kernel: int, monkeypatch: pytest.MonkeyPatch
):
    request = AdaptRequest(in_chans=in_chans, method=method, dtype=dtype)
    assert passed(*planned(request, kernel))
    sound = adapt.METHODS[method]

    def off(c: int, n: int) -> adapt.Rows:
        return tuple(tuple((source, 1.01 * share) for source, share in row) for row in sound(c, n))

    monkeypatch.setitem(adapt.METHODS, method, off)
    assert not passed(*planned(request, kernel))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_bands_that_count_one_percent_more_fail(dtype: str, monkeypatch: pytest.MonkeyPatch):
    request = AdaptRequest(bands=parse_bands("B4,B3,B2,B8", "sentinel2"), dtype=dtype)
    assert passed(*planned(request, 7))
    from zoo.core.adapt import mixings

    def off(shares: Any, from_chans: int) -> adapt.ChannelMixing:
        sound = adapt.band_mixing(shares, from_chans)
        return sound._replace(rows=tuple(tuple((source, 1.01 * share) for source, share in row) for row in sound.rows))

    monkeypatch.setattr(mixings, "band_mixing", off)
    assert not passed(*planned(request, 7))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_one_filter_that_is_off_by_one_percent_fails(dtype: str):
    plan, written = planned(AdaptRequest(in_chans=6, dtype=dtype), 16)
    kind = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}[dtype]
    values = torch.frombuffer(bytearray(written["conv.weight"].read()), dtype=kind).reshape(16, 6, 16, 16)
    values[3, 2] *= 1.01
    damaged = written["conv.weight"]._replace(data=values.view(torch.uint8).numpy().tobytes())
    assert not passed(plan, {"conv.weight": damaged})


@pytest.mark.parametrize(("method", "from_chans", "in_chans"), [
    (method, c, n)
    for method in ("repeat", "balanced", "mean", "zero")
    for c in (1, 3, 4)
    for n in (1, 2, 3, 8)
    if c != n
])  # fmt: skip
def test_the_formulas_of_the_proof_are_those_of_torch(method: str, from_chans: int, in_chans: int):
    """Responses of a convolution with the promised filters, against tiling, averaging or cutting what it reads."""
    rows = promised(method, from_chans, in_chans)
    assert rows is not None
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(5, from_chans, 3, 3, generator=generator)
    new = torch.zeros(5, in_chans, 3, 3)
    for c, row in enumerate(rows):
        for n, share in row:
            new[:, n] += share * weight[:, c]
    respond = torch.nn.functional.conv2d
    one = torch.randn(1, 1, 6, 6, generator=generator)
    expected = respond(one.expand(-1, from_chans, -1, -1), weight)
    found = respond(one.expand(-1, in_chans, -1, -1), new)
    if method in ("balanced", "mean") or (method == "repeat" and (in_chans == 1 or in_chans % from_chans == 0)):
        torch.testing.assert_close(found, expected)
    if method == "repeat" and in_chans > 1:
        cut = weight.repeat(1, in_chans, 1, 1)[:, :in_chans] * (from_chans / in_chans)
        torch.testing.assert_close(new, cut)
    if method == "zero":
        kept = min(from_chans, in_chans)
        assert torch.equal(new[:, :kept], weight[:, :kept])
        assert not new[:, kept:].any()


def test_no_formula_is_no_promise():
    assert promised("bands", 3, 4) is None


def test_the_written_bytes_are_those_of_the_file(adapted: Adapt, state: State):
    assert adapted("--in-chans", 6)[0] == 0
    expected = state["conv1.0.weight"].repeat(1, 2, 1, 1) * 0.5
    assert torch.equal(load_file("out")["conv1.0.weight"], expected)

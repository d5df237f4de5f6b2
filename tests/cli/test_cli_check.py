"""`zoo check`: what it says is what the loader does, and its exit code is a contract."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import save_file

from zoo import create_model
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.architectures import registry
from zoo.core.architectures.records import module_paths
from zoo.core.errors import InvalidInputError
from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.model import check as module
from zoo.core.model.check import CheckRequest, check_weights
from zoo.core.model.load import load_checkpoint
from zoo.core.model.save import DTYPE_NAMES

MODEL, INPUT = "test_resnet", "conv1.0.weight"
State = dict[str, torch.Tensor]


class Run(NamedTuple):
    returncode: int
    stdout: str
    stderr: str

    @property
    def report(self) -> dict[str, Any]:
        return json.loads(self.stdout)  # type: ignore[no-any-return]

    def outcomes(self) -> dict[str, str]:
        return {t["name"]: t["outcome"] for t in self.report["tensors"] if t["outcome"] != "loaded"}


Zoo = Callable[..., Run]


@pytest.fixture(scope="module")
def state() -> State:
    return create_model(MODEL, seed=0).state_dict()


@pytest.fixture
def zoo(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Zoo:
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Run:
        return Run(errors.run(app, [str(word) for word in words]), *capsys.readouterr())

    return run


def saved(state: State, name: str = "weights.safetensors", metadata: dict[str, str] | None = None) -> Path:
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, name, metadata)
    return Path(name)


def without(state: State, *endings: str) -> State:
    return {key: tensor for key, tensor in state.items() if not key.endswith(endings)}


def in_half(state: State) -> State:
    return {key: t.half() if t.is_floating_point() else t for key, t in state.items()}


# ---------------------------------------------------------------- as the loader

FILES: dict[str, Callable[[State], State]] = {
    "whole": lambda s: s,
    "half precision": in_half,
    "a tensor missing": lambda s: without(s, "layer2.0.conv1.weight"),
    "a tensor unknown": lambda s: {**s, "extra.weight": torch.ones(1)},
    "a tensor of another shape": lambda s: {**s, "bn1.weight": torch.ones(5)},
    "a tensor of another rank": lambda s: {**s, INPUT: torch.ones(8)},
    "no batch counters": lambda s: without(s, "num_batches_tracked"),
    "a counter too many": lambda s: {**s, "extra.num_batches_tracked": torch.tensor(1)},
    "a counter that is no scalar": lambda s: {**s, "bn1.num_batches_tracked": torch.ones(2, dtype=torch.int64)},
    "five channels": lambda s: {**s, INPUT: s[INPUT].repeat(1, 2, 1, 1)[:, :5]},
    "seven classes": lambda s: {**s, "fc.weight": s["fc.weight"][:7], "fc.bias": s["fc.bias"][:7]},
    "a narrower classifier": lambda s: {**s, "fc.weight": s["fc.weight"][:, :5]},
    "a classifier without bias": lambda s: without(s, "fc.bias"),
    "no classifier": lambda s: without(s, "fc.weight", "fc.bias"),
    "a prefix": lambda s: {f"module.{key}": tensor for key, tensor in s.items()},
    "foreign names": lambda s: {f"encoder.{key}": tensor for key, tensor in s.items()},
}


def test_what_a_published_file_holds_beside_the_model_is_told(zoo: Zoo):
    """The token of masked patches, which pretrained vision transformers keep."""
    state = create_model("test_vit", seed=0).state_dict()
    path = saved({**state, "mask_token": torch.zeros(1, 64)})
    found = zoo("check", "test_vit", path, "--json")
    assert (found.returncode, found.outcomes()) == (0, {"mask_token": "dropped"})
    assert create_model("test_vit", checkpoint_path=path).load_report.dropped == ("mask_token",)


@pytest.mark.parametrize("options", [{}, {"in_chans": 4}, {"num_classes": 7}, {"num_classes": 0}], ids=str)
@pytest.mark.parametrize("change", FILES)
def test_a_file_fits_where_it_loads(zoo: Zoo, state: State, change: str, options: dict[str, int]):
    path = saved(FILES[change](state))
    found = check_weights(path, CheckRequest(MODEL, **options))
    try:
        report = create_model(MODEL, checkpoint_path=path, **options).load_report
    except InvalidInputError:
        assert not found.fits
        return
    assert found.fits, found.problem
    by_outcome: dict[str, set[str]] = {}
    for tensor in found.tensors:
        by_outcome.setdefault(tensor.outcome, set()).add(tensor.name)
    counts = Counter(tensor.outcome in module.FROM_FILE for tensor in found.tensors)
    assert counts[True] == report.loaded
    assert by_outcome.get("adapted", set()) == set(report.adapted)
    assert by_outcome.get("dropped", set()) | by_outcome.get("unexpected", set()) == set(report.dropped)
    left = {t.name for t in found.tensors if t.outcome not in module.FROM_FILE and t.model_dtype}
    assert {name for name in left if not name.endswith("num_batches_tracked")} == set(report.initialised)


@pytest.mark.parametrize("change", ["whole", "half precision"])
@pytest.mark.parametrize("name", [MODEL, "test_vit", "test_efficientnet"])
def test_the_shortcut_says_what_the_loader_says(zoo: Zoo, name: str, change: str, monkeypatch: pytest.MonkeyPatch):
    path = saved(FILES[change](create_model(name, in_chans=5, num_classes=11, seed=0).state_dict()))
    request = CheckRequest(name, in_chans=5, num_classes=11)
    with monkeypatch.context() as patch:
        patch.setattr(module, "meta_model", None)  # calling it would fail
        quick = check_weights(path, request)
    monkeypatch.setattr(module, "is_whole", lambda *_: False)
    assert check_weights(path, request) == quick


def on_meta_device(name: str) -> State:
    return create_model(name, device="meta").state_dict()  # type: ignore[no-any-return]


def as_stored(state: State) -> dict[str, StoredTensor]:
    return {key: StoredTensor(key, DTYPE_NAMES[t.dtype], tuple(t.shape), b"") for key, t in state.items()}


@pytest.mark.parametrize("family", registry.families())
def test_the_shortcut_takes_no_other_classifier(family: str):
    name = min(registry.variants(family), key=lambda one: registry.facts(one).params)
    cfg = next(iter(registry.cfgs_by_tag(name).values()))
    state = on_meta_device(name)

    def is_whole(changed: State) -> bool:
        return module.is_whole(as_stored(changed), cfg, cfg.input_size[0], cfg.num_classes)

    model = create_model(name, device="meta")
    counted = sum(p.numel() for p in model.parameters())
    parameters = dict(model.named_parameters(remove_duplicate=False))
    # Tensors at several places are counted once, indices and filters not at all: then the whole is compared.
    buffers = {key.rpartition(".")[2] for key in set(state) - set(parameters)}
    plain = counted == sum(p.numel() for p in parameters.values())
    plain &= buffers <= {"running_mean", "running_var", "num_batches_tracked"}
    assert is_whole(state) or not cfg.num_classes or not plain
    for layer in module_paths(cfg.classifier) if cfg.num_classes else ():
        weight, bias = (state[f"{layer}.{kind}"] for kind in ("weight", "bias"))
        other_rank = weight[..., None, None] if weight.ndim == 2 else weight[..., 0, 0]
        assert not is_whole({**state, f"{layer}.weight": other_rank})
        assert not is_whole({**state, f"{layer}.weight": weight[:, 1:]})
        assert not is_whole({**state, f"{layer}.weight": weight[:, 1:], f"{layer}.bias": torch.stack([bias, bias], 1)})
        assert not is_whole({**state, f"{layer}.extra": bias})


# ---------------------------------------------------------------- the contract


def test_a_whole_file(zoo: Zoo, state: State):
    run = zoo("check", MODEL, saved(state))
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == (
        f"weights.safetensors fits {MODEL} with 3 channels and 1000 classes: {len(state)} loaded; coverage 100.00%\n"
    )


def test_a_file_that_does_not_fit_is_told_and_fails(zoo: Zoo, state: State):
    path = saved(
        {**without(state, "layer2.0.conv1.weight"), "extra.weight": torch.ones(1), "bn1.weight": torch.ones(5)}
    )
    run = zoo("check", MODEL, path)
    assert run.returncode == 4
    shape = "x".join(map(str, state["layer2.0.conv1.weight"].shape))
    assert f"layer2.0.conv1.weight: missing; file none, model F32 {shape}\n" in run.stdout
    assert "extra.weight: unexpected; file F32 1, model none\n" in run.stdout
    assert "bn1.weight: wrong shape; file F32 5, model F32 32\n" in run.stdout
    assert len(run.stdout.splitlines()) == 4
    for words in ("1 of another shape (bn1.weight: expected (32,), found (5,))", "1 missing", "1 unknown", "hint"):
        assert words in run.stderr


def test_json_is_one_document_with_every_tensor(zoo: Zoo, state: State):
    run = zoo("check", MODEL, saved(in_half(without(state, "fc.bias"))), "--json")
    assert run.returncode == 4
    assert json.loads(run.stderr.splitlines()[0])["error"]
    report = run.report
    assert (report["fits"], report["schema_version"]) == (False, 1)
    assert {t["name"] for t in report["tensors"]} == set(state)
    cast = sum(t.is_floating_point() for t in state.values()) - 1
    assert report["counts"] == {"loaded": len(state) - 1 - cast, "cast": cast, "missing": 1}
    missing = next(t for t in report["tensors"] if t["name"] == "fc.bias")
    assert (missing["outcome"], missing["allowed"], missing["dtype"], missing["model_shape"]) == (
        "missing", False, None, [1000],
    )  # fmt: skip


def test_what_is_allowed_may_differ(zoo: Zoo, state: State):
    path = saved({**without(state, "fc.weight", "fc.bias"), "teacher.weight": torch.ones(1)})
    assert zoo("check", MODEL, path).returncode == 4
    assert zoo("check", MODEL, path, "--allow-missing", "fc.*").returncode == 4
    assert zoo("check", MODEL, path, "--allow-unexpected", "teacher.*").returncode == 4
    run = zoo("check", MODEL, path, "--allow-missing", "fc.*", "--allow-unexpected", "teacher.*", "--json")
    assert run.returncode == 0
    assert run.outcomes() == {"fc.weight": "missing", "fc.bias": "missing", "teacher.weight": "unexpected"}
    model = create_model(MODEL)
    with pytest.raises(InvalidInputError, match="teacher"):
        load_checkpoint(model, path, allow_missing=["fc.*"])
    assert load_checkpoint(model, path, allow_missing=["fc.*"], allow_unexpected=["teacher.*"]).dropped


def test_a_file_of_another_architecture_is_recognised(zoo: Zoo):
    path = saved(create_model("resnet10t", in_chans=4, num_classes=3, seed=0).state_dict())
    run = zoo("check", "resnet18", path)
    assert run.returncode == 4
    assert "Its names and shapes are those of resnet10t." in run.stderr
    weights = create_model("resnet10t", seed=0).state_dict()
    run = zoo("check", "resnet10t", saved({f"net.{key}": tensor for key, tensor in weights.items()}))
    assert run.returncode == 4
    assert (
        "Its names with net. before them and shapes are those of resnet10t: `zoo convert --strip-prefix net.`"
        in run.stderr
    )


def test_missing_batch_counters_are_counted_and_not_listed(zoo: Zoo, state: State):
    run = zoo("check", MODEL, saved(without(state, "num_batches_tracked")))
    counters = sum(key.endswith("num_batches_tracked") for key in state)
    assert run.returncode == 0
    assert run.stdout.count("\n") == 1
    assert f"{len(state) - counters} loaded, {counters} missing; coverage 100.00%" in run.stdout


def test_coverage_is_a_share_of_the_models_values(zoo: Zoo, state: State):
    path = saved(without(state, "fc.weight", "fc.bias", "num_batches_tracked"))
    counted = without(state, "num_batches_tracked")
    total = sum(t.numel() for t in counted.values())
    expected = sum(t.numel() for key, t in counted.items() if not key.startswith("fc.")) / total
    words = ("check", MODEL, path, "--allow-missing", "fc.*")
    assert zoo(*words, "--json").report["coverage"] == pytest.approx(expected, rel=1e-12)
    assert zoo(*words, "--min-coverage", expected - 1e-6).returncode == 0
    run = zoo(*words, "--min-coverage", expected + 1e-6)
    assert run.returncode == 4
    assert "of the model's values come from it" in run.stderr
    assert zoo(*words, "--min-coverage", 1.5).returncode == 2


def test_a_file_says_for_how_many_channels_it_is(zoo: Zoo, state: State):
    source = saved(state, "source.safetensors")
    words = ("adapt-weights", MODEL, "--weights", source, "--in-chans", 5, "--num-classes", 0)
    assert zoo(*words, "-o", "five.safetensors").returncode == 0
    run = zoo("check", MODEL, "five.safetensors", "--json")
    assert (run.returncode, run.report["in_chans"], run.report["num_classes"]) == (0, 5, 0)
    assert run.outcomes() == {}
    again = zoo("check", MODEL, "five.safetensors", "--in-chans", 4, "--num-classes", 10, "--json")
    assert (again.returncode, again.outcomes()) == (
        0, {INPUT: "adapted", "fc.weight": "missing", "fc.bias": "missing"},
    )  # fmt: skip
    assert zoo("check", "test_vit", "five.safetensors").returncode == 4


def test_what_is_not_there(zoo: Zoo, state: State):
    assert zoo("check", MODEL, "nothing.safetensors").returncode == 5
    assert zoo("check", "resnet3", saved(state)).returncode == 5
    assert zoo("check", f"{MODEL}.no_such_tag", saved(state)).returncode == 5
    Path("page.safetensors").write_text("<!DOCTYPE html><html></html>")
    assert zoo("check", MODEL, "page.safetensors").returncode == 4


@pytest.mark.parametrize("channels", [0, 1 << 40])
def test_channels_that_no_image_has(zoo: Zoo, state: State, channels: int):
    assert zoo("check", MODEL, saved(state), "--in-chans", channels).returncode == 2


def test_a_checkpoint_of_torch(zoo: Zoo, state: State):
    pytest.importorskip("zoo.core.files.checkpoint")
    torch.save({"state_dict": {f"module.{key}": t for key, t in state.items()}}, "weights.pth")
    assert zoo("check", MODEL, "weights.pth").returncode == 0


# ---------------------------------------------------------------- hostile files, start-up


def write_header(entries: dict[str, Any], size: int) -> Path:
    """A sparse safetensors file with this header and so many bytes of zeros."""
    path, header = Path("hostile.safetensors"), json.dumps(entries).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)
    return path


def test_nothing_is_allocated_for_a_large_tensor(zoo: Zoo):
    huge = 1 << 34
    path = write_header({"fc.weight": {"dtype": "F32", "shape": [huge // 4], "data_offsets": [0, huge]}}, huge)
    run = zoo("check", MODEL, path)
    assert run.returncode == 4
    assert "fc.weight: wrong shape" in run.stdout


def test_an_empty_tensor_whose_sizes_overflow(zoo: Zoo):
    path = write_header({"fc.weight": {"dtype": "F32", "shape": [1 << 62, 0, 1 << 62], "data_offsets": [0, 0]}}, 0)
    run = zoo("check", MODEL, path)
    assert run.returncode == 4
    assert "fault in zoo" not in run.stderr


def test_a_name_cannot_forge_a_line(zoo: Zoo, state: State):
    run = zoo("check", MODEL, saved({**state, "a\nb\x1b[31m": torch.ones(1)}))
    assert "\x1b" not in run.stdout + run.stderr
    assert r"a\nb\x1b[31m: unexpected" in run.stdout


def test_a_whole_file_is_checked_without_torch(zoo: Zoo, state: State):
    path = saved(in_half(state))
    code = (
        "import sys; from zoo.cli.app import app; from zoo.cli import errors;"
        f"assert errors.run(app, ['check', {MODEL!r}, {str(path)!r}]) == 0;"
        "assert not {'torch', 'numpy', 'huggingface_hub', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)

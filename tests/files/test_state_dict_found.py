"""The state dict of a checkpoint is found by what it holds; of several, the caller names one."""

from __future__ import annotations

import collections
import enum
import functools
import json
import pathlib
import random
import sys
import types
from argparse import Namespace
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zoo import create_model
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.errors import InvalidInputError
from zoo.core.files.open_weights import open_weights
from zoo.core.model.state_dict import clean_state_dict, read_state_dict

MODEL = "test_vit"
SMALL = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Linear(64, 64))
STATE = {name: found.clone() for name, found in SMALL.state_dict().items()}
OTHER = {name: found + 1 for name, found in STATE.items()}


def trained() -> dict[str, Any]:
    """The state of an optimizer that made a step."""
    layer = torch.nn.Linear(64, 64)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.randn(2, 64)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


class OfMyOwn(collections.OrderedDict[str, Any]):
    """A mapping of a class that zoo does not know."""


class Plain(dict[str, Any]):
    """The same, of a plain dictionary."""


class Attributes:
    """An object whose attributes hold the state dict."""

    def __init__(self, state: Any) -> None:
        self.decay, self.shadow = 0.9, state


# What is saved, and where its state dict is.
FOUND: dict[str, tuple[Callable[[], Any], str]] = {
    "PyTorch's tutorial": (
        lambda: {"epoch": 1, "model_state_dict": STATE, "optimizer_state_dict": trained(), "loss": torch.tensor(0.3)},
        "model_state_dict",
    ),
    **{key: (lambda key=key: {"epoch": 1, key: STATE, "opt": trained()}, key)
       for key in ("net", "params", "weights", "network", "generator", "weight", "backbone", "net_state", "teacher")},
    "deep": (lambda: {"state": {"net": {"params": STATE}}, "step": 3}, "state.net.params"),
    "list": (lambda: [STATE, trained()], "0"),
    "tuple": (lambda: (3, STATE, {"lr": 0.1}), "1"),
    "DeepSpeed": (lambda: {"module": STATE, "buffer_names": [], "optimizer": None, "ds_version": "0.14"}, "module"),
    "fastai": (lambda: {"model": STATE, "opt": trained()}, "model"),
    "Lightning": (
        lambda: {
            "state_dict": STATE,
            "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(1.0), "best_k": {"a": torch.ones(())}}},
            "optimizer_states": [trained()],
            "loops": {"fit_loop": {"state_dict": {}, "progress": {"total": 3}}},
        },
        "state_dict",
    ),
    "Fabric": (lambda: {"net": STATE, "callbacks": {"best": torch.tensor(1.0), "rng": {"cpu": torch.get_rng_state()}}},
               "net"),
    "a saved module": (lambda: SMALL, ""),
    "a module under a name": (lambda: {"epoch": 1, "net": SMALL}, "net"),
    "ParameterDict": (lambda: torch.nn.ParameterDict({k: torch.nn.Parameter(v) for k, v in STATE.items()
                                                      if v.is_floating_point() and "." not in k} or
                                                     {"w": torch.nn.Parameter(torch.randn(3))}), ""),
    "ParameterList": (lambda: {"tokens": torch.nn.ParameterList([torch.nn.Parameter(torch.randn(3))])}, "tokens"),
    "a class of dictionaries": (lambda: {"net": OfMyOwn(STATE)}, "net"),
    "a plain class of dictionaries": (lambda: Plain(net=Plain(STATE)), "net"),
    "an object": (lambda: {"epoch": 1, "average": Attributes(STATE)}, "average.shadow"),
    "beside small mappings": (
        lambda: {"net": STATE, "scale": {"mean": torch.ones(3), "std": torch.ones(3)}, "dino": {"c": torch.ones(8)}},
        "net",
    ),
    "beside numbered tensors": (lambda: {"net": STATE, "queue": {0: torch.zeros(99, 99)}}, "net"),
    "at the top with another within": (lambda: {**STATE, "meta": {"mean": torch.zeros(3), "std": torch.ones(3)}}, ""),
    "at the top with a large one within": (lambda: {**STATE, "meta": {"table": torch.zeros(4, 99)}}, ""),
    "within, a scalar at the top": (lambda: {"step": torch.tensor(3), "lr": torch.tensor(0.1), "net": STATE}, "net"),
    "a known key that holds almost nothing": (lambda: {"model": {"scale": torch.ones(2)}, "net": STATE}, "net"),
    "a known key before others": (lambda: {"model": STATE, "discriminator": OTHER}, "model"),
    "one mapping under two keys": (lambda: {"best": STATE, "last": STATE}, "best"),
    "BasicSR": (lambda: {"params": OTHER, "params_ema": STATE}, "params_ema"),
    "an average of another name": (lambda: {"ema_net": STATE, "net": OTHER}, "ema_net"),
    "an optimizer by names": (
        lambda: {"net": STATE, "optim": {"state": {"w": {"exp_avg": torch.ones(99, 99), "step": torch.ones(())}}}},
        "net",
    ),
    "whole numbers beside": (lambda: {"net": STATE, "labels": {"train": torch.zeros(9999, dtype=torch.int64)}}, "net"),
}  # fmt: skip


def expected_of(made: Any, where: str) -> dict[str, torch.Tensor]:
    value = made
    for key in where.split(".") if where else ():
        value = value.__dict__[key] if isinstance(value, Attributes) else value[int(key) if key.isdigit() else key]
    return dict(value.state_dict() if isinstance(value, torch.nn.Module) else value)


def assert_found(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    tensors = {name: value for name, value in expected.items() if isinstance(value, torch.Tensor)}
    assert list(found) == list(tensors)
    assert all(torch.equal(found[name], value.detach()) for name, value in tensors.items())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("form", FOUND)
def test_it_is_found(tmp_path: Path, form: str, zipped: bool):
    make, where = FOUND[form]
    made = make()
    torch.save(made, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    with open_weights(tmp_path / "w.pth") as opened:
        assert opened.wrapper == where
        skipped = {path.split(".")[0] for path, _ in opened.skipped}
    if isinstance(made, dict) and where:
        assert skipped | {where.split(".")[0]} == {str(key) for key in made}
    assert_found(read_state_dict(tmp_path / "w.pth"), expected_of(made, where))
    if not isinstance(expected_of(made, where), Attributes) and "object" not in form:
        assert_found(clean_state_dict(made), expected_of(made, where))  # as it is in memory


def test_the_average_is_chosen_as_asked(tmp_path: Path):
    torch.save({"params": STATE, "params_ema": OTHER}, tmp_path / "w.pth")
    assert_found(read_state_dict(tmp_path / "w.pth"), OTHER)
    assert_found(read_state_dict(tmp_path / "w.pth", use_ema=False), STATE)
    torch.save({"ema": OTHER, "step": 1}, tmp_path / "w.pth")
    assert_found(read_state_dict(tmp_path / "w.pth", use_ema=False), OTHER)


# Several, with the keys to each.
SEVERAL: dict[str, tuple[Any, dict[str, dict[str, torch.Tensor]]]] = {
    "DINO": ({"student": STATE, "teacher": OTHER, "dino_loss": {"center": torch.zeros(1, 8)}},
             {"student": STATE, "teacher": OTHER}),
    "a list": ({"models": [STATE, OTHER], "epoch": 1}, {"models.0": STATE, "models.1": OTHER}),
    "a pair": ([STATE, OTHER], {"0": STATE, "1": OTHER}),
    "a GAN": ({"g": STATE, "d": OTHER, "g_ema": {k: v + 2 for k, v in STATE.items()}, "g_optim": {"param_groups": []}},
              {"g": STATE, "d": OTHER}),
    "keys with dots": ({"net.a": {"v.1": STATE}, "net": {"b": OTHER}},
                       {"net.a.v.1": STATE, "net.b": OTHER, "net": OTHER}),
    "deeper": ({"run": {"a": STATE, "b": OTHER}}, {"run.a": STATE, "run.b": OTHER}),
}  # fmt: skip


@pytest.mark.parametrize("form", SEVERAL)
def test_several_are_listed_and_one_can_be_named(tmp_path: Path, form: str):
    made, keys = SEVERAL[form]
    path = tmp_path / "w.pth"
    torch.save(made, path)
    nbytes = sum(found.nbytes for found in STATE.values())
    for read in (lambda: read_state_dict(path), lambda: clean_state_dict(made)):
        with pytest.raises(InvalidInputError, match=r"holds \d state dicts") as caught:
            read()
        for key in keys:
            assert f"{key} (9 tensors, {nbytes} bytes)" in str(caught.value) or key == "net"
        assert f"--key {next(iter(keys))} " in caught.value.hint
    for key, expected in keys.items():
        assert_found(read_state_dict(path, key=key), expected)
        assert_found(clean_state_dict(made, key=key), expected)
        with open_weights(path, key=key) as opened:
            assert opened.wrapper.startswith(key)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("nowhere", "holds nothing at 'nowhere'"),
        ("models.7", "holds nothing at 'models.7'"),
        ("models.0.0.weight", "has a tensor at 'models.0.0.weight', where a state dict should be"),
        ("epoch", "has int at 'epoch'"),
        ("log", "should hold a state dict at 'log', found no tensor in it; it holds 0 (float)"),
    ],
)
def test_a_wrong_key_lists_what_there_is(tmp_path: Path, key: str, words: str):
    torch.save({"models": [STATE, OTHER], "epoch": 1, "log": [0.1]}, tmp_path / "w.pth")
    with pytest.raises(InvalidInputError) as caught, open_weights(tmp_path / "w.pth", key=key):
        pass
    assert words in caught.value.message
    assert "models.1 (9 tensors" in caught.value.hint or key == "log"


def test_where_there_is_none_the_keys_are_listed(tmp_path: Path):
    torch.save({"epoch": 3, "args": Namespace(lr=0.1), "history": [1, 2], "model": None}, tmp_path / "w.pth")
    with pytest.raises(InvalidInputError, match="found no tensor in it") as caught:
        read_state_dict(tmp_path / "w.pth")
    assert "epoch (int), args (argparse.Namespace), history (list of 2), model (None)" in caught.value.message


def test_every_command_takes_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    state = create_model(MODEL, seed=1).state_dict()
    teacher = {f"backbone.{name}": found + 1 for name, found in state.items()}
    torch.save({"student": state, "teacher": teacher}, "dino.pth")
    torch.save(state, "student.pth")
    commands = {
        "inspect": ["inspect", "dino.pth"],
        "identify": ["identify", "dino.pth"],
        "check": ["check", MODEL, "dino.pth"],
        "convert": ["convert", "dino.pth", "-o", "out.safetensors"],
        "adapt-weights": ["adapt-weights", "dino.pth", "--in-chans", "4", "-o", "four.safetensors"],
        "create": ["create", MODEL, "--weights", "dino.pth"],
        "diff": ["diff", "dino.pth", "student.pth"],
    }
    for name, words in commands.items():
        assert errors.run(app, words) == 4, name
        said = capsys.readouterr().err
        assert "holds 2 state dicts: student" in said
        assert "--key student" in said
        option = "--key-a" if name == "diff" else "--key"
        assert errors.run(app, [*words, option, "student"]) == 0, (name, capsys.readouterr().err)
        capsys.readouterr()
        assert errors.run(app, [*words, option, "nothing"]) == 4
        assert "holds nothing at 'nothing'" in capsys.readouterr().err
    assert (
        errors.run(app, ["convert", "dino.pth", "--key", "teacher", "--strip-prefix", "backbone.", "-o", "t.npz"]) == 0
    )
    found = read_state_dict("t.npz")
    assert all(torch.equal(found[name], value + 1) for name, value in state.items())
    assert errors.run(app, ["diff", "dino.pth", "dino.pth", "--key", "teacher"]) == 0
    assert errors.run(app, ["create", MODEL, "--key", "teacher"]) == 2


# ---------------------------------------------------------------- records beside the weights


class Color(enum.Enum):
    RED = 1


class Buffer:
    """As MMEngine's log buffers: its state has its own functions."""

    def __init__(self) -> None:
        self.log = [1.0]

    def mean(self) -> float:
        return 0.0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "methods": {"mean": Buffer.mean, "own": self.mean}}


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classes in a module that is gone when the file is read."""
    module = types.ModuleType("bookkeeping")
    monkeypatch.setitem(sys.modules, "bookkeeping", module)
    for kind in (Color, Buffer):
        monkeypatch.setattr(kind, "__module__", "bookkeeping")
        setattr(module, kind.__name__, kind)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False])
def test_what_training_programs_pickle_is_no_obstacle(tmp_path: Path, protocol: int, zipped: bool):
    beside = {
        "message_hub": {"log_scalars": collections.OrderedDict(loss=Buffer())},
        "lr_lambda": functools.partial(pow, 2),
        "args": Namespace(where=pathlib.PosixPath("/x"), when=datetime(2026, 1, 1), color=Color.RED),
        "table": collections.defaultdict(list, a=[1]),
        "counts": collections.Counter("aab"),
        "rng": {"numpy": np.random.get_state(), "python": random.getstate(), "torch": torch.get_rng_state()},
        "generator": np.random.default_rng(1),
        "best": np.float64(0.5),
        "range": range(3),
        "bytes": b"x" * 5000,
        "text": "ü" * 5000,
    }
    torch.save(
        {**beside, "net": STATE}, tmp_path / "w.pth", pickle_protocol=protocol, _use_new_zipfile_serialization=zipped
    )
    with open_weights(tmp_path / "w.pth") as opened:
        assert opened.wrapper == "net"
        skipped = dict(opened.skipped)
        assert skipped.keys() == beside.keys()
        assert skipped["lr_lambda"] == "a call of functools.partial, which was not made"
        assert (skipped["text"], skipped["bytes"]) == ("str", "bytes")
        assert {"functools.partial", "bookkeeping.Color"} <= set(opened.opaque)
        assert any(name.endswith("getattr") for name in opened.opaque)
        assert "zoo calls nothing" in "".join(opened.notes())
    assert_found(read_state_dict(tmp_path / "w.pth"), STATE)


@pytest.mark.usefixtures("elsewhere")
def test_inspect_tells_what_was_not_called(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    torch.save({"net": STATE, "lr": functools.partial(pow, 2)}, tmp_path / "w.pth")
    assert errors.run(app, ["inspect", str(tmp_path / "w.pth"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["not_called"][0] == "functools.partial"
    assert errors.run(app, ["inspect", str(tmp_path / "w.pth")]) == 0
    out, said = capsys.readouterr()
    assert "not called: functools.partial" in out
    assert "asks for functools.partial" in said
    assert "torch.load with weights_only=False would" in said


def test_a_state_dict_behind_a_call_is_refused_by_its_name(tmp_path: Path):
    torch.save({"epoch": 1, "net": functools.partial(dict, STATE)}, tmp_path / "w.pth")
    with pytest.raises(InvalidInputError, match=r"asks for functools\.partial"):
        read_state_dict(tmp_path / "w.pth")

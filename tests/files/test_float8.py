"""Float8 and dtypes that zoo need not compute: decoded and cast as torch does, or copied."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from zoo import create_model
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.files.float_bytes import epsilon, from_float32, half_of_smallest, is_finite, to_float32

from weight_bytes import weight_bytes

MODEL, INPUT = "test_resnet", "conv1.0.weight"
OUT = Path("out.safetensors")
FLOAT8 = {
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
}
SCALE = {"F8_E8M0": torch.float8_e8m0fnu}
WANTED = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class Run(NamedTuple):
    code: int
    stdout: str
    stderr: str


Zoo = Callable[..., Run]


@pytest.fixture
def zoo(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Zoo:
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Run:
        return Run(errors.run(app, [str(word) for word in words]), *capsys.readouterr())

    return run


def raw(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().view(torch.uint8).numpy().tobytes()


def every_byte(dtype: torch.dtype) -> torch.Tensor:
    return torch.arange(256, dtype=torch.uint8).view(dtype)


@pytest.mark.parametrize("name", [*FLOAT8, *SCALE])
def test_every_byte_is_decoded_as_torch_does(name: str):
    expected = every_byte((FLOAT8 | SCALE)[name]).float().numpy()
    found = to_float32(bytes(range(256)), name, (2, 128)).reshape(256)
    assert np.array_equal(found, expected, equal_nan=True)
    assert np.array_equal(np.signbit(found)[~np.isnan(found)], np.signbit(expected)[~np.isnan(expected)])
    if name in FLOAT8:
        assert [is_finite(bytes([byte]), name) for byte in range(256)] == np.isfinite(expected).tolist()


@pytest.mark.parametrize("name", FLOAT8)
def test_every_half_precision_number_is_rounded_as_torch_does(name: str):
    """Among them all midpoints between neighbours."""
    half = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16).view(torch.float16).float()
    values = torch.cat([half, half * 64, half / 4096])
    assert from_float32(values.numpy(), name) == raw(values.to(FLOAT8[name]))


@pytest.mark.parametrize("name", FLOAT8)
@given(values=st.lists(st.floats(width=32), min_size=1, max_size=50))
def test_any_values_are_encoded_as_torch_does(name: str, values: list[float]):
    tensor = torch.tensor(values, dtype=torch.float32)
    assert from_float32(tensor.numpy(), name) == raw(tensor.to(FLOAT8[name]))


@pytest.mark.parametrize("name", FLOAT8)
def test_rounding_errors_are_bounded_as_stated(name: str):
    largest = every_byte(FLOAT8[name]).float()
    largest = float(largest[largest.isfinite()].max())
    values = torch.linspace(-largest, largest, 20_001, dtype=torch.float64)
    values = torch.cat([values, values / 2**10, values / 2**20])
    found = torch.from_numpy(to_float32(from_float32(values.float().numpy(), name), name, (len(values),)).copy())
    error = (found.double() - values.float().double()).abs()
    assert bool((error <= epsilon(name) * values.abs() + half_of_smallest(name)).all())
    assert float(error[values.abs() < half_of_smallest(name)].max()) > 0


# ---------------------------------------------------------------- commands


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return create_model(MODEL, seed=0).state_dict()  # type: ignore[no-any-return]


def as_float8(state: dict[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The convolutions and the classifier in float8, all else as it was."""
    return {key: value.to(dtype) if value.ndim > 1 else value for key, value in state.items()}


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("name", FLOAT8)
def test_convert_and_adapt_cast_as_torch_does(zoo: Zoo, state: dict[str, torch.Tensor], name: str, wanted: str):
    save_file(as_float8(state, FLOAT8[name]), "f8.safetensors")
    assert zoo("convert", "f8.safetensors", "--dtype", wanted, "-o", OUT).code == 0
    held = as_float8(state, FLOAT8[name])
    expected = {key: value.to(WANTED[wanted]) if value.is_floating_point() else value for key, value in held.items()}
    found = load_file(OUT)
    assert found.keys() == expected.keys()
    assert all(found[key].dtype == value.dtype and torch.equal(found[key], value) for key, value in expected.items())
    words = ("adapt-weights", MODEL, "--weights", "f8.safetensors", "--dtype", wanted, "--in-chans", 1)
    assert zoo(*words, "--verify", "-o", OUT, "--force").code == 0
    found = load_file(OUT)
    stem = held[INPUT].float()
    assert torch.equal(found[INPUT], (stem[:, 0:1] + stem[:, 1:2] + stem[:, 2:3]).to(WANTED[wanted]))
    assert all(torch.equal(found[key], value) for key, value in expected.items() if key != INPUT)


@pytest.mark.parametrize("name", FLOAT8)
def test_a_float8_input_layer_is_adapted_and_the_rest_copied(zoo: Zoo, state: dict[str, torch.Tensor], name: str):
    held = as_float8(state, FLOAT8[name])
    save_file(held, "f8.safetensors")
    words = ("adapt-weights", "f8.safetensors", "--in-chans", 4, "--num-classes", 7, "--verify", "-o", OUT)
    assert zoo(*words).code == 0
    found = load_file(OUT)
    expected = (held[INPUT].float().repeat(1, 2, 1, 1)[:, :4] * (3 / 4)).to(FLOAT8[name])
    assert raw(found[INPUT]) == raw(expected)
    assert (found["fc.weight"].dtype, found["fc.weight"].shape) == (torch.float32, (7, 96))
    for key in found.keys() - {INPUT, "fc.weight", "fc.bias"}:
        assert raw(found[key].reshape(-1)) == raw(held[key].reshape(-1))
    assert zoo("create", MODEL, "--weights", OUT).code == 0


def test_what_need_not_be_computed_is_copied_whatever_it_is(zoo: Zoo, state: dict[str, torch.Tensor]):
    """Beside the network, and with a dtype asked for where it is no float."""
    odd = {
        "odd.complex": torch.randn(3, 2, dtype=torch.complex64), "odd.mask": torch.tensor([True, False]),
        "odd.words": torch.arange(5).to(torch.uint16), "odd.long": torch.arange(5).to(torch.uint64),
        "odd.e8m0": every_byte(torch.float8_e8m0fnu), "odd.half": torch.randn(3).half(),
    }  # fmt: skip
    save_file(state | odd, "odd.safetensors")
    for words in (("--in-chans", 4), ("--num-classes", 0), ("--num-classes", 7)):
        run = zoo("adapt-weights", MODEL, "--weights", "odd.safetensors", *words, "--verify", "-o", OUT, "--force")
        assert run.code == 0
        found = load_file(OUT)
        assert all(found[key].dtype == value.dtype and raw(found[key]) == raw(value) for key, value in odd.items())
    words = ("--in-chans", 4, "--dtype", "bfloat16", "--verify")
    assert zoo("adapt-weights", MODEL, "--weights", "odd.safetensors", *words, "-o", OUT, "--force").code == 0
    found = load_file(OUT)
    kept = ("odd.complex", "odd.mask", "odd.words", "odd.long")
    assert all(raw(found[key]) == raw(odd[key]) for key in kept)
    assert torch.equal(found["odd.e8m0"][:255], odd["odd.e8m0"].bfloat16()[:255])
    assert zoo("convert", "odd.safetensors", "-o", "copy.safetensors").code == 0
    found = load_file("copy.safetensors")
    assert all(raw(found[key]) == raw(value) for key, value in odd.items())


def test_floats_of_four_and_six_bits_are_copied_and_not_cast(zoo: Zoo):
    """No library writes them from Python: the bytes are made here."""
    tensors = {
        "stem.weight": ("F32", (2, 3, 1, 1), np.arange(6, dtype="<f4").tobytes()),
        "packed": ("F4", (4, 2), bytes([1, 2, 3, 4])),
        "six": ("F6_E2M3", (4,), bytes([5, 6, 7])),
    }
    Path("packed.safetensors").write_bytes(weight_bytes(tensors))
    run = zoo("adapt-weights", "packed.safetensors", "--in-chans", 6, "-o", OUT)
    assert run.code == 0, run.stderr
    assert OUT.read_bytes().count(bytes([1, 2, 3, 4])) == 1
    run = zoo("adapt-weights", "packed.safetensors", "--dtype", "float16", "-o", OUT, "--force")
    assert (run.code, "which zoo cannot turn into F16" in run.stderr) == (4, True)


def test_scales_beside_float8_are_named_where_they_are_not_used(zoo: Zoo, state: dict[str, torch.Tensor]):
    held = as_float8(state, torch.float8_e4m3fn) | {"layer1.0.conv1.weight_scale": torch.ones(1)}
    save_file(held, "scaled.safetensors")
    told = "float8 values were cast as they are; layer1.0.conv1.weight_scale and its like were not multiplied in"
    run = zoo("convert", "scaled.safetensors", "--dtype", "bfloat16", "-o", OUT)
    assert (run.code, told in run.stderr) == (0, True)
    run = zoo("adapt-weights", MODEL, "--weights", "scaled.safetensors", "--dtype", "bfloat16", "-o", OUT, "--force")
    assert (run.code, told in run.stderr) == (0, True)
    assert "were not multiplied in" not in zoo("convert", "scaled.safetensors", "-o", "copy.safetensors").stderr

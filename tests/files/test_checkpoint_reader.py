"""Checkpoints of every kind give the tensors that torch and numpy give, and stay in the file where they can."""

from __future__ import annotations

import argparse
import io
import pickle
import struct
import subprocess
import sys
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from zoo.core.errors import InvalidInputError, NotFoundError
from zoo.core.files.open_weights import open_weights
from zoo.core.files.stored_tensor import Computed, Region
from zoo.core.model.state_dict import read_state_dict

from pickle_bytes import (
    call,
    counted,
    mention,
    number,
    program,
    storage,
    table,
    tensor,
    text,
    text_of_python_2,
    together,
    torch_tar,
    torch_zip,
)

BASE = torch.arange(240, dtype=torch.float32).reshape(2, 4, 5, 6)
TIED = torch.randn(3)
VIEWS = {
    "dense": BASE,
    "slice": BASE[1],
    "columns": BASE[..., 1:3],
    "transposed": BASE.transpose(0, 3),
    "channels_last": BASE.clone().to(memory_format=torch.channels_last),
    "every_second": BASE[:, ::2],
    "one_row": BASE[:1, 2:3],
    "repeated": BASE[0, 0, 0, :1].expand(3, 5).clone()[:, :1].expand(3, 5),
    "scalar": torch.tensor(7),
    "scalar_of_many": BASE[1, 2, 3, 4],
    "empty": torch.zeros(0, 4),
    "first": TIED,
    "tied": TIED,
    "tied_reversed": TIED.view(3, 1),
}
DTYPES = [
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
    torch.float16, torch.bfloat16, torch.float32, torch.float64,
]  # fmt: skip


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert list(found) == list(expected)
    for name, tensor_ in expected.items():
        assert (found[name].dtype, found[name].shape) == (tensor_.dtype, tensor_.shape), name
        raw = [t.contiguous().reshape(-1).view(torch.uint8) for t in (found[name], tensor_)]
        assert torch.equal(*raw), name


def stored(path: Path, **options: Any) -> dict[str, bytes]:
    with open_weights(path, **options) as file:
        return {name: bytes(found.read()) for name, found in file.tensors.items()}


class Net(torch.nn.Module):
    """Of a class that nobody but this file knows."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 4, 3)
        self.blocks = torch.nn.Sequential(torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Linear(2, 2))
        self.register_buffer("passing", torch.zeros(2), persistent=False)
        self.register_buffer("staying", torch.ones(2))
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.activation = torch.nn.functional.relu
        self.options = argparse.Namespace(lr=0.1, where=Path("x"))


# ---------------------------------------------------------------- torch


@pytest.mark.parametrize("zipped", [True, False])
class TestTorch:
    def test_b6_views_have_the_values_that_torch_gives(self, tmp_path: Path, zipped: bool):
        torch.save(VIEWS, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
        expected = torch.load(tmp_path / "w.pth", weights_only=True)
        assert_equal(read_state_dict(tmp_path / "w.pth"), expected)

    def test_b6_tied_tensors_are_told_and_others_are_made_dense(self, tmp_path: Path, zipped: bool):
        torch.save(VIEWS, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
        with open_weights(tmp_path / "w.pth") as file:
            assert file.format == ("torch zip" if zipped else "torch legacy")
            assert file.aliases == {"tied": "first"}
            places = {name: type(found.data) for name, found in file.tensors.items()}
            moved = {"columns", "transposed", "channels_last", "every_second", "repeated"}
            assert {name for name, place in places.items() if place is Computed} == moved
            assert {name for name, place in places.items() if place is not Region} == moved | {"empty"}
            file.require_unchanged()

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_dtypes(self, tmp_path: Path, zipped: bool, dtype: torch.dtype):
        values = (torch.randn(4, 3) * 3).to(dtype)
        state = {"w": values, "t": values.T}
        torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
        assert_equal(read_state_dict(tmp_path / "w.pth"), state)

    def test_b7_a_whole_module_gives_its_state_dict(self, tmp_path: Path, zipped: bool):
        net = Net()
        others = {
            "epoch": 3, "args": argparse.Namespace(lr=0.1), "best": np.float64(0.5), "history": np.arange(3),
            "optimizer": torch.optim.Adam(net.parameters()).state_dict(), "where": Path("x"), "seen": {1, 2},
            "table": defaultdict(list, {"a": [1]}), "random": torch.get_rng_state(), "none": None,
        }  # fmt: skip
        torch.save({**others, "model": net}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
        assert_equal(read_state_dict(tmp_path / "w.pth"), dict(net.state_dict()))
        with open_weights(tmp_path / "w.pth") as file:
            assert (file.wrapper, file.prefix) == ("model", "")
            skipped = dict(file.skipped)
            assert skipped.keys() == others.keys()
            assert (skipped["epoch"], skipped["args"], skipped["random"]) == ("int", "argparse.Namespace", "tensor")
        torch.save(net, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
        assert_equal(read_state_dict(tmp_path / "w.pth"), dict(net.state_dict()))

    def test_b7_nested_wrappers_prefixes_and_averages(self, tmp_path: Path, zipped: bool):
        state = {f"module.{name}": found for name, found in Net().state_dict().items()}
        average = {name: found + 1 for name, found in state.items()}
        checkpoint = {"model": {"state_dict": OrderedDict(state), "ema": average, "note": "x"}, "ema": None}
        torch.save(checkpoint, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
        for use_ema, key, values in ((True, "ema", average), (False, "state_dict", state)):
            expected = {name.removeprefix("module."): found for name, found in values.items()}
            assert_equal(read_state_dict(tmp_path / "w.pth", use_ema=use_ema), expected)
            with open_weights(tmp_path / "w.pth", use_ema=use_ema) as file:
                assert (file.wrapper, file.prefix) == (f"model.{key}", "module.")
                assert ("model.note", "str") in file.skipped

    def test_parameters_and_tensors_with_attributes(self, tmp_path: Path, zipped: bool):
        named = torch.randn(2)
        named.note = "x"
        parameter = torch.nn.Parameter(torch.randn(3))
        parameter.axis = 1
        state = {"named": named, "parameter": parameter, "buffer": torch.nn.Buffer(torch.ones(2))}
        torch.save(state, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
        assert_equal(read_state_dict(tmp_path / "w.pth"), {name: found.detach() for name, found in state.items()})


def test_b6_a_lazy_negation_is_carried_out(tmp_path: Path):
    values = torch.randn(4, dtype=torch.complex64)
    state = {"imaginary": values.conj().imag, "w": torch.ones(1)}
    assert state["imaginary"].is_neg()
    torch.save(state, tmp_path / "w.pth")
    found = read_state_dict(tmp_path / "w.pth")
    assert torch.equal(found["imaginary"], -values.imag)


def test_dtypes_that_only_zip_archives_hold(tmp_path: Path):
    state = {
        "u16": torch.tensor([1, 65535], dtype=torch.uint16),
        "u64": torch.tensor([1, 2**63], dtype=torch.uint64),
        "f8": torch.randn(4).to(torch.float8_e4m3fn),
    }
    torch.save(state, tmp_path / "w.pth")
    assert_equal(read_state_dict(tmp_path / "w.pth"), state)


def test_other_protocols(tmp_path: Path):
    state = {"w": TIED, "nested": {"set": {1}, "bytes": b"x", "more": bytearray(b"y"), "large": 1 << 80}}
    for protocol in range(1, 6):  # torch itself reads none of protocol 0
        for zipped in (True, False):
            torch.save(state, tmp_path / "w.pth", pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
            assert torch.equal(read_state_dict(tmp_path / "w.pth")["w"], TIED)


def test_an_archive_without_checksums(tmp_path: Path):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": TIED}, tmp_path / "w.pth")
    finally:
        torch.serialization.set_crc32_options(before)
    assert torch.equal(read_state_dict(tmp_path / "w.pth")["w"], TIED)


def test_a_big_endian_archive(tmp_path: Path):
    pickled = program(table({"w": tensor(storage("0", 3), (3,))}))
    raw = torch_zip(pickled, {"0": TIED.numpy().astype(">f4").tobytes()})
    with zipfile.ZipFile(io.BytesIO(raw)) as source, zipfile.ZipFile(tmp_path / "w.pth", "w") as target:
        for info in source.infolist():
            target.writestr(info, b"big" if info.filename.endswith("byteorder") else source.read(info))
    assert torch.equal(read_state_dict(tmp_path / "w.pth")["w"], TIED)


def test_b2_the_tar_archive_of_an_old_torch_equals_what_torch_reads(tmp_path: Path):
    values = np.arange(6, dtype="<f4").tobytes()
    counts = struct.pack("<q2q2qq", 2, 2, 2, 3, 1, 1)  # rank, shape, strides, offset
    storages = (
        pickle.dumps(1, 2)
        + program(together(number(10), text_of_python_2(b"cpu"), mention("torch.FloatStorage")))
        + counted(values, 4)
        + program(b"](" + together(number(12), number(10), number(2), number(4)) + b"e")
    )
    tensors = (
        pickle.dumps(2, 2)
        + program(together(number(11), number(10), mention("torch.FloatTensor")))
        + counts
        + program(together(number(13), number(12), mention("torch.FloatTensor")))
        + struct.pack("<qqqq", 1, 4, 1, 0)
    )
    weight, part = text_of_python_2(b"11") + b"Q", text_of_python_2(b"13") + b"Q"
    state = b"}(" + text_of_python_2(b"fc.weight") + weight + text_of_python_2(b"part") + part + b"u"
    pickled = b"\x80\x02" + state + b"."
    path = tmp_path / "w.pth"
    parts = {"sys_info": program(b"}"), "pickle": pickled, "tensors": tensors, "storages": storages}
    path.write_bytes(torch_tar(parts))
    expected = torch.load(path, weights_only=False)  # the test's own bytes
    assert expected["fc.weight"].tolist() == [[1, 2], [4, 5]]
    assert_equal(read_state_dict(path), expected)
    with open_weights(path) as file:
        assert file.format == "torch tar"


def test_b2_names_of_python_2_are_latin_1(tmp_path: Path):
    stored_ = together(
        text_of_python_2(b"storage"), mention("torch.FloatStorage"), text_of_python_2(b"0"), text_of_python_2(b"cpu"),
        number(3), b"N",
    )  # fmt: skip
    entries = b"}(" + text_of_python_2("größe".encode("latin-1")) + tensor(stored_ + b"Q", (3,)) + b"u"
    head = b"".join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {}))
    raw = head + program(entries) + pickle.dumps(["0"], 2) + counted(TIED.numpy().tobytes(), 4)
    (tmp_path / "w.pth").write_bytes(raw)
    expected = torch.load(tmp_path / "w.pth", weights_only=False, encoding="latin-1")  # the test's own bytes
    assert_equal(read_state_dict(tmp_path / "w.pth"), expected)


# ---------------------------------------------------------------- numpy


ARRAYS = {
    "embedding/kernel": np.arange(24, dtype="<f4").reshape(2, 3, 4),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "big_endian": np.arange(5, dtype=">i4"),
    "big_fortran": np.asfortranarray(np.arange(6, dtype=">f2").reshape(2, 3)),
    "../evil": np.array([True, False]),
    "scalar": np.float64(3),
    "empty": np.zeros((0, 3), np.uint8),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_b9_arrays_have_the_values_that_numpy_gives(tmp_path: Path, save: Any):
    save(tmp_path / "w.npz", **ARRAYS)
    found = read_state_dict(tmp_path / "w.npz")
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == torch.from_numpy(np.asarray(array).astype(array.dtype.newbyteorder("="))).dtype
        assert np.array_equal(found[name].numpy(), array), name
    assert not [*tmp_path.parent.glob("evil*")]
    with open_weights(tmp_path / "w.npz") as file:
        assert file.format == "npz"
        assert isinstance(file.tensors["embedding/kernel"].data, Region)


def test_a_pickle_of_arrays(tmp_path: Path):
    for protocol in range(6):
        content = {"model": dict(ARRAYS) | {"scalar": np.arange(2)}, "__author__": "x", "names": np.array(["a"])}
        (tmp_path / "w.pkl").write_bytes(pickle.dumps(content, protocol))
        found = read_state_dict(tmp_path / "w.pkl")
        assert all(np.array_equal(found[name].numpy(), array) for name, array in content["model"].items())
        with open_weights(tmp_path / "w.pkl") as file:
            assert (file.format, file.wrapper) == ("pickle", "model")


def test_text_in_an_archive_is_no_tensor(tmp_path: Path):
    np.savez(tmp_path / "w.npz", w=np.ones(2), names=np.array(["a", "b"]))
    with open_weights(tmp_path / "w.npz") as file:
        assert list(file.tensors) == ["w"]
        assert [path for path, _ in file.skipped] == ["names"]


# ---------------------------------------------------------------- safetensors, and the rest


def test_b10_a_safetensors_file_with_the_name_of_another(tmp_path: Path):
    state = {"module.fc.weight": TIED}
    save_file(state, tmp_path / "w.pth", metadata={"format": "pt"})
    with open_weights(tmp_path / "w.pth") as file:
        assert (file.format, file.metadata, file.prefix) == ("safetensors", {"format": "pt"}, "module.")
        assert [(name, found.name) for name, found in file.tensors.items()] == [("fc.weight", "fc.weight")]


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(NotFoundError), open_weights(tmp_path / "none"):
        pass


def test_a_file_that_changes_meanwhile(tmp_path: Path):
    torch.save({"w": TIED}, tmp_path / "w.pth")
    with open_weights(tmp_path / "w.pth") as file:
        with open(tmp_path / "w.pth", "ab") as writer:
            writer.write(b"x")
        with pytest.raises(InvalidInputError, match="changed while it was being read"):
            file.require_unchanged()


def test_the_limit_of_all_tensors_is_the_callers(tmp_path: Path):
    torch.save({"w": TIED}, tmp_path / "w.pth")
    assert stored(tmp_path / "w.pth", max_bytes=12)
    with pytest.raises(InvalidInputError, match="more than 11 bytes"):
        stored(tmp_path / "w.pth", max_bytes=11)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_is_adapted_without_torch(tmp_path: Path, zipped: bool):
    state = {"stem.weight": torch.randn(4, 3, 3, 3), "fc.weight": torch.randn(5, 4).T, "n": torch.tensor(7)}
    torch.save({"state_dict": state, "epoch": 1}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    code = (
        "import sys; sys.modules['torch'] = sys.modules['safetensors'] = None\n"  # importing them is an error
        "from zoo.cli.start import main; main()"
    )
    words = ["adapt-weights", tmp_path / "w.pth", "--in-chans", "3", "-o", tmp_path / "out.safetensors"]
    subprocess.run([sys.executable, "-P", "-c", code, *map(str, words)], check=True, capture_output=True)
    assert_equal(dict(sorted(load_file(tmp_path / "out.safetensors").items())), dict(sorted(state.items())))


def test_reading_needs_neither_torch_nor_numpy(tmp_path: Path):
    torch.save({"state_dict": {"w": TIED, "rows": BASE[1]}}, tmp_path / "w.pth")
    np.savez(tmp_path / "w.npz", w=TIED.numpy())
    code = (
        "import sys\n"
        "from zoo.core.files.open_weights import open_weights\n"
        "for path in sys.argv[1:]:\n"
        "    with open_weights(path) as file: print(*file.tensors)\n"
        "assert not {'torch', 'numpy', 'pickle'} & set(sys.modules), sys.modules.keys()\n"
    )
    paths = [str(tmp_path / name) for name in ("w.pth", "w.npz")]
    done = subprocess.run([sys.executable, "-P", "-c", code, *paths], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["w", "rows", "w"]


def test_a_name_that_stands_for_a_call_is_only_its_value(tmp_path: Path):
    """Constructors of plain data are understood, not called."""
    inert = call(mention("pathlib.PosixPath"), text("/")) + b"0"
    pickled = program(inert, table({"w": tensor(storage("0", 3), (3,))}))
    (tmp_path / "w.pth").write_bytes(torch_zip(pickled, {"0": TIED.numpy().tobytes()}))
    assert stored(tmp_path / "w.pth") == {"w": TIED.numpy().tobytes()}

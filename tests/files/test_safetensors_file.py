"""The safetensors reader against hostile files and the library, and the writer against the library."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save, save_file

from zoo.core.errors import InvalidInputError, NotFoundError
from zoo.core.files.atomic_output import atomic_output
from zoo.core.files.open_weights import open_weights
from zoo.core.files.safetensors_file import MAX_HEADER
from zoo.core.files.safetensors_writer import layout, write_safetensors
from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.model.save import stored_tensors

from weight_bytes import entry, file_bytes

SHARED_FOLDER = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def refusal(path: Path, content: bytes) -> InvalidInputError:
    path.write_bytes(content)
    with pytest.raises(InvalidInputError) as caught, open_weights(path):
        pass
    assert caught.value.path == str(path)
    assert str(path) in caught.value.message
    return caught.value


def library_accepts(content: bytes) -> bool:
    try:
        load(content)
    except (SafetensorError, KeyError, ValueError, OverflowError, RuntimeError):
        return False
    return True


def we_accept(path: Path, content: bytes) -> bool:
    path.write_bytes(content)
    try:
        with open_weights(path) as file:
            for tensor in file.tensors.values():
                tensor.read()
    except InvalidInputError:
        return False
    return True


# ---------------------------------------------------------------- damaged and hostile files


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "expected at least 8 bytes, found 0"),
        (bytes(7), "expected at least 8 bytes, found 7"),
        (file_bytes({"w": entry()}, b"x")[:20], "its header should take 60 bytes, the file has 12"),
        (file_bytes({"w": entry(end=4, shape=[4])}, b"abc"), "its tensors end at byte 72, the file at 71"),
        (file_bytes({"w": entry()}, b"xy"), "its tensors end at byte 69, the file at 70"),
        (struct.pack("<Q", 2**64 - 1) + b"{}", "should take 18446744073709551615 bytes, the file has 2"),
    ],
)
def test_a_cut_or_padded_file_is_told_with_both_sizes(tmp_path: Path, content: bytes, words: str):
    assert words in refusal(tmp_path / "w", content).message


def test_a_cut_file_is_to_be_downloaded_again(tmp_path: Path):
    assert "Download" in refusal(tmp_path / "w", file_bytes({"w": entry(end=4, shape=[4])}, b"abc")).hint


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b'{"w":{},"w":{}}', "duplicate name 'w'"),
        (b'{"a":{},"b":{},"w":{},"w":{},"z":{}}', "duplicate name 'w'"),
        (b'{"__metadata__":{"a":"1","a":"2"}}', "duplicate name 'a'"),
        (b'{"w":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}', "duplicate name 'dtype'"),
        (b"[]", "not a JSON object"),
        (b'{"__metadata__":{"a":1}}', "not a table of strings"),
        (b'{"__metadata__":{"a":"\\ud800"}}', "not a table of strings"),
        (b'{"__metadata__":[]}', "not a table of strings"),
        (b'{"\\udfff":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', "not Unicode text"),
        (b'{"w":NaN}', "NaN is not JSON"),
        (b'{"w":' + b"[" * 100_000, "not the expected JSON"),
        (b'{"w":{"dtype":"U8","shape":[' + b"9" * 5000 + b"]}}", "not the expected JSON"),
        (b"\xff\xfe", "not the expected JSON"),
        (b"", "not the expected JSON"),
    ],
)
def test_a_header_of_the_wrong_form(tmp_path: Path, header: bytes, words: str):
    assert words in refusal(tmp_path / "w", file_bytes(header, b"x")).message


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"a": entry(end=2, shape=[2]), "b": entry(begin=1, end=3, shape=[2])}, "'b' overlaps 'a'"),
        ({"a": entry(), "b": entry(begin=2, end=3)}, "'b' leaves a gap after 'a'"),
        ({"a": entry(begin=1, end=2)}, "'a' leaves a gap"),
        ({"a": entry(begin=1, end=0)}, "'a' holds -1 bytes, where U8 [1] needs 1"),
        ({"a": entry(begin=-1, end=0)}, "'a' has offsets that are not two byte positions"),
        ({"a": entry(end=1.0)}, "'a' has offsets"),
        ({"a": entry(end=True)}, "'a' has offsets"),
        ({"a": entry(shape=[1.0])}, "'a' has a shape"),
        ({"a": entry(shape=[-1])}, "'a' has a shape"),
        ({"a": entry(shape=[2**64])}, "'a' has a shape"),
        ({"a": entry(shape=[1] * 65536)}, "'a' has a shape"),
        ({"a": entry(shape=[2**62, 2**62, 0], end=0)}, "overflows"),
        ({"a": entry("F32", [2])}, "'a' holds 1 bytes, where F32 [2] needs 8"),
        ({"a": entry("F4", [3], end=1)}, "needs 1.5"),
        ({"a": entry("Q7")}, "'a' has the unknown dtype 'Q7'"),
        ({"a": entry("U8") | {"dtype": ["U8"]}}, "'a' has the unknown dtype"),
        ({"a": {"dtype": "U8"}}, "'a' lacks dtype, shape or data_offsets"),
        ({"a": 5}, "'a' lacks"),
        ({"x" * 1_000_000: 5}, "lacks"),
    ],
)
def test_a_tensor_that_cannot_be(tmp_path: Path, tensors: dict[str, Any], words: str):
    error = refusal(tmp_path / "w", file_bytes(tensors, bytes(3)))
    assert words in error.message
    assert len(error.message) < 600


@pytest.mark.parametrize("name", ["", "\0", "../x", "/etc/passwd", "\x1b[31m", "\u202e", "x" * 1_000_000, "[red]"])
def test_an_odd_name_is_only_a_name(tmp_path: Path, name: str):
    (tmp_path / "w").write_bytes(file_bytes({name: entry()}, b"\7"))
    with open_weights(tmp_path / "w") as file:
        assert file.tensors[name].read() == b"\7"


def test_metadata_is_returned_as_it_is(tmp_path: Path):
    metadata = {"note": "\x1b[31m[red]", "long": "v" * 10_000_000}
    (tmp_path / "w").write_bytes(file_bytes({"__metadata__": metadata}))
    with open_weights(tmp_path / "w") as file:
        assert (file.metadata, file.tensors) == (metadata, {})


@pytest.mark.parametrize(("dtype", "shape", "size"), [("F8_E4M3", [3], 3), ("F4", [2, 3], 3), ("BF16", [2], 4)])
def test_dtypes_that_numpy_lacks(tmp_path: Path, dtype: str, shape: list[int], size: int):
    (tmp_path / "w").write_bytes(file_bytes({"w": entry(dtype, shape, 0, size)}, bytes(range(size))))
    with open_weights(tmp_path / "w") as file:
        assert file.tensors["w"].read() == bytes(range(size))


def test_a_huge_tensor_of_nothing(tmp_path: Path):
    (tmp_path / "w").write_bytes(file_bytes({"w": entry("F32", [0, 2**40], 0, 0)}))
    with open_weights(tmp_path / "w") as file:
        assert (file.tensors["w"].shape, file.tensors["w"].read()) == ((0, 2**40), b"")


@pytest.mark.parametrize(
    ("content", "what", "hint"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer", "git lfs pull"),
        (b"<!DOCTYPE html>", "an HTML page", "download again"),
    ],
)
def test_another_kind_of_file_is_named(tmp_path: Path, content: bytes, what: str, hint: str):
    error = refusal(tmp_path / "w.safetensors", content)
    assert f"is {what}, not a safetensors file" in error.message
    assert hint in error.hint


# ---------------------------------------------------------------- what is no file, and what changes


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    for name in ("fifo", "/dev/zero"):
        with pytest.raises(InvalidInputError, match=f"{name} is not a regular file"), open_weights(name):
            pass
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(NotFoundError, match="socket cannot be opened"), open_weights("socket"):
            pass


def test_a_missing_file_and_a_dangling_link(tmp_path: Path):
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("none", "link"):
        with pytest.raises(NotFoundError, match="There is no file"), open_weights(tmp_path / name):
            pass


def test_a_file_that_is_cut_while_it_is_open(tmp_path: Path):
    path = tmp_path / "w"
    path.write_bytes(file_bytes({"w": entry("U8", [5000], 0, 5000)}, bytes(5000)))
    with open_weights(path) as file:
        os.truncate(path, 1000)
        with pytest.raises(InvalidInputError, match=f"{path} became shorter"):
            file.tensors["w"].read()
        with pytest.raises(InvalidInputError, match=f"{path} became shorter"), atomic_output(tmp_path / "o") as output:
            write_safetensors(output, file.tensors.values(), {})
        with pytest.raises(InvalidInputError, match="changed while it was being read"):
            file.require_unchanged()
    assert os.listdir(tmp_path) == ["w"]


# ---------------------------------------------------------------- against the library


@SHARED_FOLDER
@given(data=st.data())
def test_what_the_library_refuses_we_refuse(tmp_path: Path, data: st.DataObject):
    whole = save({"a": torch.arange(3.0), "b": torch.zeros(2, 2, dtype=torch.uint8)}, {"k": "v"})
    content = bytearray(whole)
    end = 8 + int.from_bytes(whole[:8], "little")
    for _ in range(data.draw(st.integers(1, 3))):
        # Any byte of the header, or a character that means something there.
        position = data.draw(st.integers(0, end - 1))
        content[position] = data.draw(st.integers(0, 255) | st.sampled_from(b'0123456789{}[]",:-.eE \\u'))
    if we_accept(tmp_path / "w", bytes(content)):
        assert library_accepts(bytes(content))


STORABLE = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(lambda name: name != "__metadata__")
TENSORS = st.dictionaries(
    NAMES,
    st.tuples(st.lists(st.integers(0, 4), max_size=4), st.sampled_from(STORABLE), st.integers(0, 99)),
    max_size=6,
)


@SHARED_FOLDER
@given(described=TENSORS, metadata=st.dictionaries(NAMES, st.text(st.characters(exclude_categories=["Cs"]))))
def test_what_we_write_the_library_reads(tmp_path: Path, described: dict[str, Any], metadata: dict[str, str]):
    tensors = {
        name: torch.randint(0, 100, shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
        for name, (shape, dtype, seed) in described.items()
    }
    with atomic_output(tmp_path / "w", force=True) as output:
        write_safetensors(output, stored_tensors(tensors), metadata)
    with safe_open(tmp_path / "w", "pt") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        assert (file.metadata() or {}) == metadata
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[n], t) and found[n].dtype == t.dtype for n, t in tensors.items())
    with open_weights(tmp_path / "w") as ours:
        assert ours.metadata == metadata
        for tensor in ours.tensors.values():
            assert tensor.data.offset % max(tensors[tensor.name].element_size(), 1) == 0  # type: ignore[union-attr]


def test_tensors_that_are_not_laid_out_densely_keep_their_values(tmp_path: Path):
    base = torch.arange(24.0).reshape(2, 3, 4)
    tensors = {
        "transposed": base.transpose(0, 2),
        "strided": base[:, ::2],
        "expanded": base[:1].expand(3, 3, 4),
        "flipped": base.flip(0),
        "channels_last": torch.arange(48.0).reshape(1, 3, 4, 4).to(memory_format=torch.channels_last),
        "negated": torch.arange(6.0).to(torch.complex64).conj().imag,
        "slice": base[1],
    }
    assert tensors["negated"].is_neg()
    with atomic_output(tmp_path / "w") as output:
        write_safetensors(output, stored_tensors(tensors), {})
    found = load((tmp_path / "w").read_bytes())
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_copy_from_a_file_is_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_disk: bool):
    monkeypatch.setattr("zoo.core.files.safetensors_writer.on_block_device", lambda _: on_disk)
    generator = np.random.default_rng(0)
    tensors = {f"t{i}": torch.from_numpy(generator.standard_normal(1000 + i)) for i in range(5)}
    save_file(tensors, tmp_path / "source")
    with open_weights(tmp_path / "source") as file, atomic_output(tmp_path / "w") as output:
        kept = [t for t in file.tensors.values() if t.name != "t2"]
        write_safetensors(output, [*kept, StoredTensor("new", "U8", (3,), b"abc")], {})
    found = load((tmp_path / "w").read_bytes())
    assert set(found) == {"t0", "t1", "t3", "t4", "new"}
    assert all(torch.equal(found[name], tensors[name]) for name in found if name != "new")


# ---------------------------------------------------------------- blocks that two files share

BLOCK = 4096


class SharingFileSystem:
    """What the kernel does on XFS and Btrfs when it is asked to share a range (ioctl_ficlonerange(2)), without one."""

    def __init__(self, *, able: bool = True) -> None:
        self.able = able
        self.asked = 0
        self.shared: list[tuple[int, int]] = []

    def ioctl(self, target: int, request: int, argument: Any) -> int:
        assert request == 0x4020940D
        self.asked += 1
        source, offset, length, position = struct.unpack("qQQQ", argument)
        if not self.able:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        if offset % BLOCK or length % BLOCK or position % BLOCK or offset + length > os.fstat(source).st_size:
            raise OSError(errno.EINVAL, "Invalid argument")
        os.pwrite(target, os.pread(source, length, offset), position)
        self.shared.append((position, length))
        return 0


def large_source(path: Path) -> dict[str, torch.Tensor]:
    generator = np.random.default_rng(0)
    sizes = {"a": 1000, "b": 300_002, "c": 78, "d": 700_006, "e": 5}  # even: data stays aligned to 8 bytes
    tensors = {name: torch.from_numpy(generator.standard_normal(n)).float() for name, n in sizes.items()}
    save_file(tensors, path, {"format": "pt"})
    return tensors


def copied_but_for(source: Path, target: Path, name: str) -> None:
    """A copy of which one tensor is another."""
    with open_weights(source) as file, atomic_output(target) as output:
        new = StoredTensor(name, "F32", (2,), b"new data")
        write_safetensors(output, [new if t.name == name else t for t in file.tensors.values()], {"format": "pt"})


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the call")
@pytest.mark.parametrize("replaced", ["a", "b", "c", "d"])
def test_what_is_unchanged_is_shared_where_the_file_system_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: str
):
    tensors = large_source(tmp_path / "source")
    results = {}
    for able in (True, False):
        disk = SharingFileSystem(able=able)
        monkeypatch.setattr("fcntl.ioctl", disk.ioctl)
        copied_but_for(tmp_path / "source", tmp_path / f"{able}", replaced)
        results[able] = (tmp_path / f"{able}").read_bytes()
        if able:
            largest = 4 * max(len(values) for name, values in tensors.items() if name != replaced)
            assert sum(length for _, length in disk.shared) > largest - 2 * BLOCK
        else:
            assert (disk.asked, disk.shared) == (1, [])
    assert results[True] == results[False]  # wherever it was written
    found = load(results[True])
    assert found[replaced].numpy().tobytes() == b"new data"
    assert all(torch.equal(found[name], tensors[name]) for name in tensors if name != replaced)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the call")
def test_little_is_copied_and_not_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    save_file({"a": torch.arange(100_000.0), "b": torch.zeros(3)}, tmp_path / "source")
    disk = SharingFileSystem()
    monkeypatch.setattr("fcntl.ioctl", disk.ioctl)
    copied_but_for(tmp_path / "source", tmp_path / "w", "b")
    assert disk.asked == 0
    assert torch.equal(load((tmp_path / "w").read_bytes())["a"], torch.arange(100_000.0))


# ---------------------------------------------------------------- the writer's own promises


def test_the_bytes_do_not_depend_on_the_hash_seed():
    program = (
        "import hashlib\n"
        "from zoo.core.files.safetensors_writer import layout\n"
        "from zoo.core.files.stored_tensor import StoredTensor\n"
        "names = [f'n{i}' for i in range(20)]\n"
        "tensors = [StoredTensor(n, 'U8', (1,), b'x') for n in names]\n"
        "print(hashlib.sha256(layout(tensors, {n: n for n in set(names)})[0]).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-P", "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == hashlib.sha256().digest_size * 2


def test_metadata_is_sorted_and_data_starts_aligned():
    header, _ = layout([StoredTensor("w", "U8", (1,), b"x")], {"b": "2", "a": "1"})
    assert len(header) % 8 == 0
    assert list(json.loads(header[8:])["__metadata__"]) == ["a", "b"]


@pytest.mark.parametrize("name", ["__metadata__", "\ud800"])
def test_a_name_that_no_reader_takes_is_not_written(name: str):
    with pytest.raises(InvalidInputError, match="cannot hold a tensor called"):
        layout([StoredTensor(name, "U8", (1,), b"x")], {"a": "1"})


def test_a_header_that_no_reader_takes_is_not_written():
    with pytest.raises(InvalidInputError, match="over the limit"):
        layout([], {"a": "x" * MAX_HEADER})


def test_a_dtype_without_a_name_is_refused():
    with pytest.raises(InvalidInputError, match=r"'w' has the dtype torch\.complex128"):
        stored_tensors({"w": torch.zeros(1, dtype=torch.complex128)})

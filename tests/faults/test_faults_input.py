"""Damaged, hostile and odd weight files, one test a row of the fault matrix (A1 to A14), through the real command.

Whatever the file: the exit code, a sentence and a hint on stderr, stdout valid or empty, the old output untouched,
nothing beside it, memory bounded. How each spelling of a fault is told is in tests/files/test_safetensors_file.py.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import deserialize, safe_open

from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.files.open_weights import open_weights

from injection import (
    COPY,
    INPUT,
    MODEL,
    OUT,
    Call,
    Job,
    Outcome,
    adapt_words,
    assert_told,
    can_trace,
    stopped_at,
    without_root,
    zoo_command,
)
from weight_bytes import Tensor, entry, file_bytes, weight_bytes

U8 = b'{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'
needs_strace = pytest.mark.skipif(not can_trace(), reason="needs strace and the right to trace")


def found_by_library(path: Path) -> dict[str, dict[str, Any]]:
    """Every tensor of a file as the library sees it; numpy has no arrays of all its dtypes."""
    return dict(deserialize(path.read_bytes()))


# ---------------------------------------------------------------- A1 to A3: lengths


@pytest.mark.parametrize(
    ("fault", "sizes"),
    [
        (lambda whole: b"", "expected at least 8 bytes, found 0"),
        (lambda whole: whole[:7], "expected at least 8 bytes, found 7"),
        (lambda whole: whole[:1000], "bytes, the file has 992"),
        (lambda whole: whole[:-1], "its tensors end at byte {size}, the file at {size_1}"),
        (lambda whole: whole + b"\0", "its tensors end at byte {size}, the file at {size1}"),
    ],
    ids=["empty", "seven bytes", "cut header", "cut data", "one byte more"],
)
def test_a1_a_cut_or_padded_file(job: Job, sound: Path, fault: Any, sizes: str):
    whole = sound.read_bytes()
    job.source.write_bytes(fault(whole))
    words = sizes.format(size=len(whole), size_1=len(whole) - 1, size1=len(whole) + 1)
    job.assert_refused(job.run(), 4, str(job.source), words, "Download it again")


@pytest.mark.parametrize("length", [2**64 - 1, 100_000_001, 2**63, 1000])
def test_a2_a_header_length_that_cannot_be_is_not_allocated(job: Job, length: int):
    with open(job.source, "wb") as file:
        file.write(struct.pack("<Q", length) + b"{")
        if length == 100_000_001:
            file.truncate(200_000_000)  # sparse: it takes no room
    job.assert_refused(job.run(), 4, str(job.source), f"{length} bytes", peak_mib=60)


def processor_seconds() -> float:
    """Of the processes that ended: how long a run takes on the clock is a matter of what else the machine does."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a3_a_header_of_99_mb_is_refused_at_once(job: Job):
    with open(job.source, "wb") as file:
        file.write(struct.pack("<Q", 99_000_000) + b'{"__metadata__":{')
        file.truncate(100_000_000)
    start = processor_seconds()
    job.assert_refused(job.run(), 4, "its header takes 99000000 bytes, over the limit of 25000000")
    assert processor_seconds() - start < 10


def test_a3_the_largest_header_takes_bounded_time(job: Job, largest_header: Path):
    job.source = largest_header
    start = processor_seconds()
    job.assert_refused(job.run(), 4, f"has no {INPUT}", peak_mib=400)
    assert processor_seconds() - start < 60


def test_a3_a_caller_can_raise_the_limit(tmp_path: Path):
    metadata = {"long": "v" * 26_000_000}
    (tmp_path / "w").write_bytes(file_bytes({"__metadata__": metadata}))
    with open_weights(tmp_path / "w", max_header=27_000_000) as file:
        assert file.metadata == metadata


# ---------------------------------------------------------------- A4, A5, A14: headers


@pytest.mark.parametrize(
    "header",
    [
        b'{"w":' + U8 + b',"w":' + U8 + b"}",
        b'{"w":' + U8 + b',"w":' + U8.replace(b"U8", b"I8") + b"}",
    ],
    ids=["same dtype", "another dtype"],
)
def test_a4_a_name_twice(job: Job, header: bytes):
    job.source.write_bytes(file_bytes(header, b"x"))
    job.assert_refused(job.run(), 4, str(job.source), "duplicate name 'w'")


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"first": entry(end=2, shape=[2]), "second": entry(begin=1, end=3, shape=[2])}, "'second' overlaps 'first'"),
        ({"first": entry(), "second": entry(begin=2, end=3)}, "'second' leaves a gap after 'first'"),
        ({"first": entry(begin=1, end=0)}, "'first' holds -1 bytes"),
        ({"first": entry(begin=-1, end=0)}, "'first' has offsets"),
        ({"first": entry(shape=[1.0])}, "'first' has a shape"),
        ({"first": entry("F32", [2**62, 4], 0, 0)}, "'first' has the shape [4611686018427387904, 4], which overflows"),
    ],
    ids=["overlap", "hole", "reversed", "negative", "float", "overflow"],
)
def test_a5_offsets_and_shapes_that_cannot_be(job: Job, header: dict[str, Any], words: str):
    job.source.write_bytes(file_bytes(header, bytes(3)))
    job.assert_refused(job.run(), 4, str(job.source), words)


def test_a14_a_shape_of_65536_dimensions(job: Job):
    job.source.write_bytes(file_bytes({"w": entry(shape=[1] * 65536)}, b"x"))
    job.assert_refused(job.run(), 4, str(job.source), "'w' has a shape that is not a list of up to 64 sizes")


def test_a14_a_huge_tensor_of_nothing_is_copied(job: Job, tensors: dict[str, Tensor]):
    job.source.write_bytes(weight_bytes({**tensors, "fc.none": ("F16", (0, 2**40), b"")}))
    job.assert_done(job.run())
    assert found_by_library(job.out)["fc.none"]["shape"] == [0, 2**40]


# ---------------------------------------------------------------- A6, A7: names and metadata

HOSTILE = "fc.\x1b[2J\u202e[red]\r\nzoo: error: forged"
ODD_NAMES = ["fc.", "fc.\0", "fc./../../x", HOSTILE, "fc." + "x" * 1_000_000]


@pytest.mark.parametrize("flag", ["--quiet", "--json"])
def test_a6_a_name_is_only_a_name(job: Job, tensors: dict[str, Tensor], flag: str):
    odd = {name: ("U8", (1,), bytes([i])) for i, name in enumerate(ODD_NAMES)}
    job.source.write_bytes(weight_bytes({**tensors, **odd}))
    run = job.run(flag)
    job.assert_done(run)
    assert run.peak_mib < 80
    found = found_by_library(job.out)
    assert {name: found[name]["data"] for name in odd} == {name: data for name, (_, _, data) in odd.items()}
    assert os.listdir(job.folder) == [OUT]


def test_a6_a_hostile_name_is_printed_escaped(job: Job, tensors: dict[str, Tensor]):
    job.source.write_bytes(weight_bytes({**tensors, HOSTILE: ("U8", (1,), b"x")}))
    run = job.run("--num-classes", "0")
    job.assert_done(run)
    assert r"fc.\x1b[2J\u202e[red]\r\nzoo: error: forged: dropped" in run.stdout
    assert all(line.isprintable() for line in run.stdout.splitlines())
    document = json.loads(job.run("--num-classes", "0", "--json").stdout)
    assert HOSTILE in [change["name"] for change in document["changes"]]


@pytest.mark.parametrize("name", ["\x1b[2J\u202e", "__metadata__x", ""])
def test_a6_a_hostile_name_in_an_error(job: Job, name: str):
    job.source.write_bytes(weight_bytes({name: ("U8", (1,), b"x")}))
    run = job.run()
    job.assert_refused(run, 4, f"has no {INPUT}")
    assert all(line.isprintable() for line in run.stderr.splitlines())


def test_a6_a_name_of_a_megabyte_in_an_error(job: Job):
    job.source.write_bytes(weight_bytes({"x" * 1_000_000: ("U8", (1,), b"x")}))
    job.assert_refused(job.run(), 4, f"has no {INPUT}")


def test_a6_a_tensor_with_the_name_of_the_metadata(job: Job):
    job.source.write_bytes(file_bytes({"__metadata__": entry()}, b"x"))
    job.assert_refused(job.run(), 4, str(job.source), "metadata is not a table of strings")


def test_a7_hostile_metadata_is_carried_on_and_not_printed(job: Job, tensors: dict[str, Tensor]):
    metadata = {"format": "pt", "note": "\x1b[31m[red]\u202e\0", "\x1b[2J": "[/]", "long": "v" * 10_000_000}
    job.source.write_bytes(weight_bytes(tensors, metadata))
    run = job.run("--json")
    job.assert_done(run)
    assert json.loads(run.stdout)["status"] == "written"
    assert len(run.stdout) < 2000
    assert run.peak_mib < 128  # 10 MB as bytes, as text, as JSON, and once more on the way out
    with safe_open(job.out, "np") as file:
        assert {key: file.metadata()[key] for key in metadata} == metadata


# ---------------------------------------------------------------- A8, A9: dtypes and values


def test_a8_dtypes_that_numpy_lacks_are_copied_without_torch(job: Job, tensors: dict[str, Tensor]):
    odd: dict[str, Tensor] = {
        "fc.f8": ("F8_E4M3", (3,), b"abc"),
        "fc.f8_scale": ("F8_E8M0", (1,), b"d"),
        "fc.f4": ("F4", (2, 3), b"efg"),
        "fc.f6": ("F6_E3M2", (4,), b"hij"),
        "fc.bf16": ("BF16", (1,), b"kl"),
        "fc.c64": ("C64", (1,), b"mnopqrst"),
    }
    job.source.write_bytes(weight_bytes({**tensors, **odd}))
    job.assert_done(job.run(before="import sys; sys.modules['torch'] = None"))
    found = found_by_library(job.out)
    assert {n: (found[n]["dtype"], bytes(found[n]["data"])) for n in odd} == {n: (d, b) for n, (d, _, b) in odd.items()}


def test_a8_a_bfloat16_input_layer(job: Job, tensors: dict[str, Tensor]):
    # 3 channels of ones become 4 of 3/4, which bfloat16 holds exactly.
    one, three_quarters = b"\x80\x3f", b"\x40\x3f"
    job.source.write_bytes(weight_bytes({**tensors, INPUT: ("BF16", (24, 3, 3, 3), one * 648)}))
    job.assert_done(job.run())
    found = found_by_library(job.out)[INPUT]
    assert (found["dtype"], found["shape"], bytes(found["data"])) == ("BF16", [24, 4, 3, 3], three_quarters * 864)


@pytest.mark.parametrize(("dtype", "size"), [("C64", 8), ("I16", 2)])
def test_a8_an_input_layer_without_ordinary_floats(job: Job, tensors: dict[str, Tensor], dtype: str, size: int):
    job.source.write_bytes(weight_bytes({**tensors, INPUT: (dtype, (24, 3, 3, 3), bytes(648 * size))}))
    job.assert_refused(job.run(), 4, str(job.source), INPUT, dtype)


def test_a8_an_unknown_dtype(job: Job, tensors: dict[str, Tensor]):
    job.source.write_bytes(weight_bytes({**tensors, "fc.odd": ("Q4_K", (1,), b"x")}))
    job.assert_refused(job.run(), 4, str(job.source), "'fc.odd' has the unknown dtype 'Q4_K'")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a9_values_that_are_not_finite_are_told(job: Job, tensors: dict[str, Tensor], value: float):
    weight = np.ones((24, 3, 3, 3), "<f2")
    weight[5, 1, 2, 2] = value
    job.source.write_bytes(weight_bytes({**tensors, INPUT: ("F16", weight.shape, weight.tobytes())}))
    run = job.run()
    assert run.code == 0
    assert INPUT in run.stderr
    assert "NaN or infinite" in run.stderr
    assert run.stderr.startswith("zoo: note: ")
    written = np.frombuffer(found_by_library(job.out)[INPUT]["data"], "<f2").reshape(24, 4, 3, 3)
    assert np.argwhere(~np.isfinite(written)).tolist() == [[5, 1, 2, 2]]


@pytest.mark.parametrize("value", [0.0, 2.0**-24])
def test_a9_zeros_and_denormals_are_values_like_others(job: Job, tensors: dict[str, Tensor], value: float):
    weight = np.full((24, 3, 3, 3), value, "<f2")
    job.source.write_bytes(weight_bytes({**tensors, INPUT: ("F16", weight.shape, weight.tobytes())}))
    job.assert_done(job.run())
    written = np.frombuffer(found_by_library(job.out)[INPUT]["data"], "<f2")
    # Three quarters of the smallest denormal round to it.
    assert (written == np.float16(value)).all()


# ---------------------------------------------------------------- A10: other files


@pytest.mark.parametrize(
    ("content", "what", "advice"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a Git LFS pointer", "git lfs pull"),
        (b"<!DOCTYPE html><title>404</title>", "an HTML page", "download again"),
        (b"\r\n<html>Not found</html>", "an HTML page", "download again"),
        (b"GGUF\3\0\0\0" + bytes(64), "a GGUF file", "safetensors"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "not a sound HDF5 file", "again"),
    ],
    ids=["git lfs", "html", "html after blanks", "gguf", "hdf5"],
)
def test_a10_another_kind_of_file_is_named(job: Job, content: bytes, what: str, advice: str):
    job.source.write_bytes(content)
    job.assert_refused(job.run(), 4, f"{job.source} is {what}", advice)


@pytest.mark.parametrize("kind", ["zip", "pickle"])
def test_a10_a_damaged_torch_file_called_safetensors(
    job: Job, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    if kind == "zip":
        with zipfile.ZipFile(job.source, "w") as archive:
            archive.writestr("archive/data.pkl", b"not a pickle")
    else:
        job.source.write_bytes(b"\x80\x02}q\x00" + bytes(30))
    monkeypatch.chdir(job.folder)
    # In this process: such a file needs torch, which takes seconds to import.
    code = errors.run(app, [str(word) for word in adapt_words(job.source, "--force")])
    job.assert_refused(Outcome(code, *capsys.readouterr(), 0.0), 4, str(job.source))


# ---------------------------------------------------------------- A11, A12: what is no file, or none any more


@needs_strace
def test_a11_a_file_that_is_cut_while_it_is_copied(job: Job, sound: Path):
    shutil.copy(sound, job.source)
    command = zoo_command(*adapt_words(job.source, "--force", out=job.out))
    with stopped_at(Call(COPY, 1), command) as go_on:
        os.truncate(job.source, 200_000)
        run = go_on()
    job.assert_refused(run, 4, f"{job.source} became shorter while it was being read", "Run the command again")


@pytest.fixture
def odd_file(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Something at a path that is no readable file."""
    monkeypatch.chdir(tmp_path)  # a socket's path has to be short
    path = tmp_path / "odd.safetensors"
    match request.param:
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "device":
            return Path("/dev/zero")
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(path.name)
        case "dangling link":
            path.symlink_to("nowhere")
        case "link loop":
            path.symlink_to(path)
        case "unreadable":
            path.write_bytes(b"x")
            path.chmod(0)
        case "missing":
            pass
    return path


@pytest.mark.parametrize(
    ("odd_file", "code", "words"),
    [
        ("fifo", 4, "is not a regular file"),
        ("device", 4, "is not a regular file"),
        ("folder", 5, "holds neither model.safetensors nor pytorch_model.bin"),
        ("socket", 5, "cannot be opened: No such device or address"),
        ("dangling link", 5, "There is no weight file"),
        ("link loop", 5, "There is no weight file"),
        ("missing", 5, "There is no weight file"),
        ("unreadable", 5, "cannot be opened: Permission denied"),
    ],
    indirect=["odd_file"],
)
def test_a12_what_is_no_readable_file_is_refused_at_once(job: Job, odd_file: Path, code: int, words: str):
    job.source = odd_file
    job.assert_refused(job.run(timeout=10, prefix=without_root()), code, str(odd_file), words)


def test_a12_the_same_for_create(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    os.mkfifo(tmp_path / "fifo")
    code = errors.run(app, ["create", MODEL, "--weights", str(tmp_path / "fifo")])
    assert_told(Outcome(code, *capsys.readouterr(), 0.0), 4, f"{tmp_path / 'fifo'} is not a regular file")

"""What a weight file holds, said without reading it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.errors import ExitCode
from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.inspection.statistics import tensor_statistics

from weight_bytes import entry, file_bytes, weight_bytes

TENSORS = {
    "stem.conv.weight": ("F32", (2, 1, 1, 2), np.array([1, 2, 3, 4], "<f4").tobytes()),
    "stem.bn.weight": ("F16", (2,), np.array([0.5, -0.5], "<f2").tobytes()),
    "head.weight": ("F32", (1, 2), np.array([np.nan, np.inf], "<f4").tobytes()),
    "steps": ("I64", (), np.array(7, "<i8").tobytes()),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "some.safetensors"
    path.write_bytes(weight_bytes(TENSORS, {"format": "pt", "origin": '{"from": "here", "n": [1]}'}))
    return path


def inspect(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert errors.run(app, ["inspect", *words]) == ExitCode.DONE
    return capsys.readouterr().out


def document(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    return json.loads(inspect(capsys, *words, "--json"))


def test_totals_dtypes_and_metadata(path: Path, capsys: pytest.CaptureFixture[str]):
    found = document(capsys, str(path))
    assert (found["format"], found["file_bytes"]) == ("safetensors", path.stat().st_size)
    assert (found["tensors"], found["values"], found["bytes"]) == (4, 9, 36)
    assert found["dtypes"] == {
        "F32": {"tensors": 2, "values": 6, "bytes": 24},
        "I64": {"tensors": 1, "values": 1, "bytes": 8},
        "F16": {"tensors": 1, "values": 2, "bytes": 4},
    }
    assert found["metadata"] == {"format": "pt", "origin": {"from": "here", "n": [1]}}
    assert [(t["name"], tuple(t["shape"]), t["bytes"]) for t in found["tensor_list"]] == [
        (name, shape, len(data)) for name, (_, shape, data) in TENSORS.items()
    ]
    lines = inspect(capsys, str(path)).splitlines()
    assert "tensor: stem.conv.weight F32 2x1x1x2 16" in lines
    assert "metadata: origin.from=here" in lines


def test_the_tree_adds_up(path: Path, capsys: pytest.CaptureFixture[str]):
    modules = {
        m["path"]: (m["tensors"], m["values"], m["bytes"]) for m in document(capsys, str(path), "--tree")["modules"]
    }
    assert modules == {"stem": (2, 6, 20), "stem.conv": (1, 4, 16), "stem.bn": (1, 2, 4), "head": (1, 2, 8)}
    assert list(modules) == ["stem", "stem.conv", "stem.bn", "head"]


def test_statistics(path: Path, capsys: pytest.CaptureFixture[str]):
    stats = {t["name"]: t["stats"] for t in document(capsys, str(path), "--stats")["tensor_list"]}
    assert stats["stem.conv.weight"]["mean"] == 2.5
    assert stats["stem.conv.weight"]["std"] == pytest.approx(np.std([1, 2, 3, 4]))
    assert (stats["head.weight"]["num_nan"], stats["head.weight"]["num_infinite"]) == (1, 1)
    assert stats["head.weight"]["mean"] is None
    assert stats["steps"]["maximum"] == 7


@settings(deadline=None)
@given(arrays(np.float32, st.integers(1, 300), elements=st.floats(width=32)))
def test_statistics_are_numpys(values: np.ndarray):
    found = tensor_statistics(StoredTensor("x", "F32", values.shape, values.tobytes()))
    assert found is not None
    finite = values[np.isfinite(values)].astype(np.float64)
    assert (found.num_nan, found.num_infinite) == (np.isnan(values).sum(), np.isinf(values).sum())
    assert found.num_zeros == (values == 0).sum()
    if finite.size:
        scale = np.abs(finite).max()
        assert found.mean == pytest.approx(finite.mean(), rel=1e-9, abs=1e-12 * scale)
        assert found.std == pytest.approx(finite.std(), rel=1e-6, abs=1e-9 * scale)
        assert (found.minimum, found.maximum) == (finite.min(), finite.max())


def test_statistics_of_many_pieces(monkeypatch: pytest.MonkeyPatch):
    values = np.random.default_rng(0).normal(1000, 3, 100_001).astype("<f4")
    whole = StoredTensor.chunks
    # Pieces that end within a value, as computed tensors may give them.
    monkeypatch.setattr(StoredTensor, "chunks", lambda self, _size: whole(self, 1001))
    found = tensor_statistics(StoredTensor("x", "F32", values.shape, values.tobytes()))
    assert found is not None
    assert found.mean == pytest.approx(values.astype(np.float64).mean(), rel=1e-12)
    assert found.std == pytest.approx(values.astype(np.float64).std(), rel=1e-9)


def test_a6_hostile_names_are_shown_harmlessly(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(weight_bytes({"\x1b[31mred\n\u202etxt": ("U8", (1,), b"x")}, {"note": "\x1b]0;title\x07"}))
    text = inspect(capsys, str(path))
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert len([line for line in text.splitlines() if line.startswith("tensor:")]) == 1


def test_a9_values_that_are_not_finite_are_counted(path: Path, capsys: pytest.CaptureFixture[str]):
    assert "num_nan=1 num_infinite=1" in inspect(capsys, str(path), "--stats")


def test_twelve_gigabytes_are_inspected_without_being_read(tmp_path: Path):
    path, tensors, size = tmp_path / "huge.safetensors", {}, 12 << 30
    for number in range(300):
        begin, end = size * number // 300 // 8 * 8, size * (number + 1) // 300 // 8 * 8
        tensors[f"blocks.{number}.weight"] = entry("F32", ((end - begin) // 4,), begin, end)
    end = max(t["data_offsets"][1] for t in tensors.values())
    path.write_bytes(file_bytes(tensors))
    os.truncate(path, path.stat().st_size + end)
    # The peak of this program alone: getrusage counts what the process was before it, too.
    program = (
        "import sys\nfrom zoo.cli.start import main\n"
        "try:\n    main()\nfinally:\n    sys.__stderr__.write(open('/proc/self/status').read())"
    )
    command = [sys.executable, "-P", "-c", program, "inspect", str(path), "--json"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0
    assert json.loads(run.stdout)["bytes"] == end
    peak = next(line.split()[1] for line in run.stderr.splitlines() if line.startswith("VmHWM"))
    assert int(peak) < 60 << 10  # KiB


@pytest.mark.parametrize(("content", "code"), [(b"", 4), (b"<!doctype html>", 4), (b"\x00" * 64, 4)])
def test_what_is_no_weight_file_is_refused(tmp_path: Path, content: bytes, code: int, capsys):
    path = tmp_path / "some"
    path.write_bytes(content)
    assert errors.run(app, ["inspect", str(path)]) == code
    assert capsys.readouterr().out == ""


def test_no_such_file(tmp_path: Path, capsys):
    assert errors.run(app, ["inspect", str(tmp_path / "missing")]) == ExitCode.NOT_FOUND

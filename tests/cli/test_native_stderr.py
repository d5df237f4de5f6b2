"""Under --json every line of stderr is a document, also what libraries in C write to file descriptor 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
from PIL import Image

import zoo
from zoo.cli.native_stderr import NativeStderr

PROGRAM = """
import os, subprocess, sys
from zoo.cli import output
output.prepare_streams()
output.configure(json=JSON)
output.catch_native_stderr()
os.write(2, b"libpng warning: bad \\xff\\n")
os.write(2, b"a line that does not end")
subprocess.run([sys.executable, "-c", "import os; os.write(2, b' here\\\\n' + b'twice\\\\ntwice\\\\n')"])
output.note("zoo's own")
print("from Python", file=sys.stderr)
output.release_native_stderr()
os.write(2, b"{}\\n")
"""


def run(as_json: bool) -> list[str]:
    command = [sys.executable, "-P", "-c", PROGRAM.replace("JSON", str(as_json))]
    return subprocess.run(command, capture_output=True, text=True, check=True, errors="replace").stderr.splitlines()


def test_lines_become_notes_each_once() -> None:
    *lines, last = run(as_json=True)
    notes = [json.loads(line)["note"] for line in lines]
    native = ["libpng warning: bad \\xff", "a line that does not end here", "twice"]
    assert [note for note in notes if note in native] == native
    assert sorted(notes) == sorted([*native, "zoo's own", "from Python"])
    assert last == "{}"


def test_without_json_they_stay_as_they_are() -> None:
    assert run(as_json=False)[0].startswith("libpng warning: bad")


def test_a_flood_neither_blocks_nor_fills_the_report() -> None:
    told: list[str] = []
    before = os.fstat(2).st_ino
    native = NativeStderr(told.append)
    for number in range(5000):
        os.write(2, b"%08d" % number + b"x" * 990 + b"\n")  # more than any pipe holds
    native.close()
    assert os.fstat(2).st_ino == before
    assert told[0].startswith("00000000x")
    assert len(told) == 200


def test_an_export_says_only_documents(tmp_path: Path) -> None:
    """With decoding processes, which have the descriptor too."""
    pytest.importorskip("pydicom")
    from dicom_files import write

    safetensors.torch.save_file(zoo.create_model("test_vit", seed=0).state_dict(), tmp_path / "w.safetensors")
    (tmp_path / "in").mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40)).astype(np.uint8)
        write(tmp_path / "in" / f"{number}.dcm", pixels, WindowCenter=40, WindowWidth=400)
    Image.new("RGB", (50, 40)).save(tmp_path / "in" / "x.png")
    (tmp_path / "in" / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    command = [sys.executable, "-P", "-m", "zoo", "export-features", "test_vit", "in", "--weights", "w.safetensors"]
    command += ["--workers", "2", "--json", "-o", "out"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout)["images"] == 4
    notes = [json.loads(line) for line in done.stderr.splitlines()]
    assert sum("display windows" in note.get("note", "") for note in notes) == 1

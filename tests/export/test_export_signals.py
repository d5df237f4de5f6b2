"""An export that is told to end while a decoder is deep in a library, which nothing can call back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch

import zoo

from processes import started

DATA = Path(__file__).parents[1] / "data"

# What hangs is C code that lets other threads run, in the thread that decodes or in the main one.
PROGRAM = """
import ctypes, sys
from zoo.core.export import prepare
from zoo.core.export import job as export_features

def hang_in_library(*_args, **_options):
    print("decoding", flush=True)
    mutex = ctypes.create_string_buffer(64)
    for _ in range(2):
        ctypes.CDLL(None).pthread_mutex_lock(mutex)  # the second one waits for the first, and no signal ends it

if sys.argv.pop(1) == "thread":
    prepare.read_image = hang_in_library
else:
    export_features.raster_size = hang_in_library
from zoo.cli.start import main
main()
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "resnet10t.safetensors"
    safetensors.torch.save_file(zoo.create_model("resnet10t", seed=0).state_dict(), path)
    return path


@pytest.mark.parametrize("place", ["thread", "main"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_an_export_whose_decoder_hangs(
    weights: Path, tmp_path: Path, place: str, number: signal.Signals, code: int
) -> None:
    words = [place, "export-features", "resnet10t", DATA, "--weights", weights, "-o", tmp_path / "out"]
    if place == "main":
        words += ["--no-resize", "--pool", "avg"]
    command = [sys.executable, "-P", "-c", PROGRAM, *map(str, words)]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "decoding\n"
        process.send_signal(number)
        _, told = process.communicate(timeout=15)
    assert process.returncode == code, told
    assert told.count("Terminated." if number == signal.SIGTERM else "Interrupted.") == 1
    left = os.listdir(tmp_path / "out") if (tmp_path / "out").exists() else []
    assert not [name for name in left if name.startswith(".zoo-")]

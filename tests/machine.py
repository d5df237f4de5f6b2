"""A machine of its own for a test: home, caches and state in one folder, and a Hub that it believes in."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo.cli import errors
from zoo.cli.app import app

from fake_hub import FakeHub, HubFile
from faults.injection import Outcome, run_zoo, zoo_command
from golden import golden
from weight_bytes import Tensor, weight_bytes

MODEL = "test_resnet.r160_in1k"
REPO = "timm/test_resnet.r160_in1k"
FILE = f"{REPO}/model.safetensors"

_REFUSE_NETWORK = """
import os, sys
sys.addaudithook(lambda event, _: os._exit(99) if event.startswith("socket.") else None)
"""
"""Python that ends a run with 99 as soon as anything makes a socket."""


def published_bytes(architecture: str = "test_resnet", *, zero: bool = False) -> bytes:
    """A file of the keys and shapes that the architecture's published weights have, with noise or zeros in it."""
    noise = np.random.default_rng(0).standard_normal(1 << 20).astype("<f4").tobytes()
    tensors: dict[str, Tensor] = {}
    for name, (shape, dtype) in golden("resnet")[architecture]["keys"].items():
        size = int(np.prod(shape)) * (8 if dtype == "int64" else 4)
        data = bytes(size) if zero or dtype == "int64" else (noise * (size // len(noise) + 1))[:size]
        tensors[name] = ("I64" if dtype == "int64" else "F32", tuple(shape), data)
    return weight_bytes(tensors, {"format": "pt"})


class Machine:
    """Runs the real command with caches below `folder`, whose names have a space and a letter outside ASCII."""

    def __init__(self, folder: Path, hub: FakeHub | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.hf_home = folder / "hf höme"
        self.hub_cache = self.hf_home / "hub"
        self.checkpoints = folder / "torch home" / "hub" / "checkpoints"
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "TRANSFORMERS", "ZOO_"))
        }
        self.env = inherited | {
            "HOME": str(folder),
            "HF_HOME": str(self.hf_home),
            "TORCH_HOME": str(self.checkpoints.parents[1]),
            "XDG_STATE_HOME": str(folder / "state"),
            "HF_ENDPOINT": hub.url if hub else "http://127.0.0.1:9",
            "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }

    def zoo(self, *words: object, env: Mapping[str, str] | None = None, before: str = "", **options: Any) -> Outcome:
        """Run `zoo WORDS` to its end."""
        return run_zoo(*words, env=self.env | (env or {}), cwd=self.folder, before=before, **options)

    def zoo_without_network(self, *words: object, **options: Any) -> Outcome:
        """Run `zoo WORDS` where making a socket ends the run with 99."""
        return self.zoo(*words, before=_REFUSE_NETWORK, **options)

    def start(self, *words: object, before: str = "") -> subprocess.Popen[str]:
        """Start `zoo WORDS` and leave it running."""
        return subprocess.Popen(
            zoo_command(*words, before=before), env=self.env, cwd=self.folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def repository(self, repo: str = REPO) -> Path:
        """Where the Hub cache keeps a repository."""
        return self.hub_cache / f"models--{repo.replace('/', '--')}"

    def blobs(self, repo: str = REPO) -> list[str]:
        """The names of the blobs of a repository."""
        return sorted(path.name for path in (self.repository(repo) / "blobs").glob("*"))

    def files(self) -> set[str]:
        """Every path below the folder, links not followed."""
        return {os.path.join(top, name) for top, folders, names in os.walk(self.folder) for name in folders + names}


class MachineHere(Machine):
    """Runs the command in the process of the test, which saves the second that the Hub's client takes to import."""

    def __init__(
        self, folder: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        super().__init__(folder, hub)
        self._monkeypatch, self._capsys = monkeypatch, capsys
        monkeypatch.chdir(folder)
        # Those that options set are restored afterwards.
        for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE", "ZOO_TIMEOUT"):
            monkeypatch.setenv(name, "")
        for name in ("HF_HOME", "TORCH_HOME", "XDG_STATE_HOME", "HF_ENDPOINT", "NO_PROXY"):
            monkeypatch.setenv(name, self.env[name])
        # The library reads these once, at import, so that the surroundings of the test run would reach in.
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(folder / "no-token"))

    def process(self, *words: object, **options: Any) -> Outcome:
        """Run `zoo WORDS` as a process of its own."""
        return super().zoo(*words, **options)

    def zoo(self, *words: object, env: Mapping[str, str] | None = None, **options: Any) -> Outcome:
        """Run `zoo WORDS` here, where no option asks for a process."""
        if options:
            return self.process(*words, env=env, **options)
        with self._monkeypatch.context() as patch:
            for name in ("HF_HUB_OFFLINE", "ZOO_TIMEOUT"):
                patch.setenv(name, "")
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            code = errors.run(app, [str(word) for word in words])
        return Outcome(code, *self._capsys.readouterr(), 0.0)


def hub_of(body: bytes, file: str = FILE) -> FakeHub:
    """A Hub that has one file."""
    return FakeHub(files={file: HubFile(body)})

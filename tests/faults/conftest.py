"""The weight file that the rows damage, and the job that reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from golden import golden
from injection import MODEL, Job
from weight_bytes import Tensor, file_bytes, weight_bytes


@pytest.fixture(scope="session")
def tensors() -> dict[str, Tensor]:
    """The tensors of the model in half precision, with noise in them."""
    noise = np.random.default_rng(0).standard_normal(1 << 20).astype("<f2").tobytes()
    found: dict[str, Tensor] = {}
    for name, (shape, dtype) in golden("resnet")[MODEL]["keys"].items():
        count = int(np.prod(shape))
        if dtype == "int64":
            found[name] = ("I64", tuple(shape), bytes(8 * count))
        else:
            found[name] = ("F16", tuple(shape), (noise * (2 * count // len(noise) + 1))[: 2 * count])
    return found


@pytest.fixture(scope="session")
def sound(tensors: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound file of them, which tests copy before they damage it."""
    path = tmp_path_factory.mktemp("sound") / "sound.safetensors"
    path.write_bytes(weight_bytes(tensors, {"format": "pt"}))
    return path


@pytest.fixture(scope="session")
def largest_header(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound file of a quarter of a million empty tensors, whose header takes nearly all that a header may."""
    names = (f"blocks.{i:06}.attention.projection.weight" for i in range(1 << 18))
    header = ",".join(f'"{name}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}' for name in names)
    assert 24_000_000 < len(header) < 25_000_000
    path = tmp_path_factory.mktemp("largest") / "largest.safetensors"
    path.write_bytes(file_bytes(f"{{{header}}}".encode()))
    return path


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """The source is not there yet."""
    folder = tmp_path / "work"
    folder.mkdir()
    return Job(folder, tmp_path / "source.safetensors")


@pytest.fixture
def sound_job(job: Job, sound: Path) -> Job:
    """The source is the sound file."""
    job.source = sound
    return job

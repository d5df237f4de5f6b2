"""Files of every format with changes that no writer makes: refused in a sentence, or read as everybody else reads them.

Each case follows from its number: `check_case(kind, number)` does one again. A short run is in every test run; the long
one has twenty thousand cases of each kind.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import resource
import signal
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from safetensors import SafetensorError, deserialize

from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.errors import ZooError
from zoo.core.files.open_weights import open_weights
from zoo.core.files.stored_tensor import DTYPE_BITS
from zoo.core.metadata.timm_config import read_timm_config
from zoo.weights_cache.bundle import unbundle
from zoo.weights_cache.lock import read_lock

from faults.changed_documents import bundle_file, config_file, lock_file
from faults.changed_files import case
from faults.changed_weights import WEIGHT_FILES, shards

SECONDS = 5
MEBIBYTES = 192
"""More address space than any of these small files may take, beyond what the process has."""

Tensor = tuple[str, tuple[int, ...], bytes]
Tensors = dict[str, Tensor]
T = TypeVar("T")


class Hang(BaseException):
    """A case took too long; no handler of zoo's catches it."""


@contextmanager
def bounded() -> Iterator[None]:
    """Time and address space for one case; MemoryError or Hang where it wants more."""

    def stop(*_: object) -> None:
        raise Hang

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before, hard = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (MEBIBYTES << 20), hard))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))
        signal.signal(signal.SIGALRM, handler)


def accepted(work: Callable[[], T], codes: tuple[int, ...] = (4, 5)) -> T | None:
    """What `work` gives within the bounds; None where zoo refuses the file. Anything but a ZooError goes on."""
    try:
        with bounded():
            return work()
    except ZooError as error:
        refusal = error
    assert refusal.exit_code in codes, refusal
    assert len(str(refusal)) < 1500
    return None


def read(path: Path) -> Tensors:
    """All that zoo reads of a file."""
    with open_weights(path) as opened:
        found = {name: (one.dtype, one.shape, bytes(one.read())) for name, one in opened.tensors.items()}
        opened.require_unchanged()
        return found


# ---------------------------------------------------------------- what everybody else reads


_DTYPES = {
    getattr(torch, name): dtype
    for name, dtype in (
        ("float16", "F16"), ("bfloat16", "BF16"), ("float32", "F32"), ("float64", "F64"), ("complex64", "C64"),
        ("int8", "I8"), ("int16", "I16"), ("int32", "I32"), ("int64", "I64"), ("bool", "BOOL"),
        ("uint8", "U8"), ("uint16", "U16"), ("uint32", "U32"), ("uint64", "U64"),
        ("float8_e4m3fn", "F8_E4M3"), ("float8_e5m2", "F8_E5M2"),
    )
}  # fmt: skip


def of_the_library(data: bytes) -> Tensors | None:
    try:
        found = deserialize(data)
    except SafetensorError:
        return None
    return {name: (one["dtype"], tuple(one["shape"]), bytes(one["data"])) for name, one in found}


def of_torch(data: bytes) -> list[tuple[str, Tensor]] | None:
    """All tensors that `torch.load` finds without calling anything, with the last part of their path."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(io.BytesIO(data), weights_only=True)
            return list(_tensors_in(content, "", set()))
    except Exception:  # it has many
        return None


def _tensors_in(content: Any, name: str, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, torch.Tensor):
        if content.dtype in _DTYPES and content.layout == torch.strided:
            flat = content.detach().resolve_neg().resolve_conj().contiguous().reshape(-1)
            yield name, (_DTYPES[content.dtype], tuple(content.shape), flat.view(torch.uint8).numpy().tobytes())
    elif isinstance(content, dict | list | tuple) and id(content) not in seen:
        seen.add(id(content))
        pairs = content.items() if isinstance(content, dict) else enumerate(content)
        for key, inner in pairs:
            yield from _tensors_in(inner, str(key), seen)


def of_numpy(data: bytes) -> list[tuple[str, Tensor]] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
    except Exception:  # it has many
        return None
    names = {("f", 2): "F16", ("f", 4): "F32", ("f", 8): "F64", ("b", 1): "BOOL", ("c", 8): "C64"}
    names |= {(kind, size): f"{kind.upper()}{8 * size}" for kind in "iu" for size in (1, 2, 4, 8)}
    return [
        (
            name,
            (
                names.get((array.dtype.kind, array.dtype.itemsize), str(array.dtype)),
                array.shape,
                array.astype(array.dtype.newbyteorder("<")).tobytes(),
            ),
        )
        for name, array in arrays.items()
    ]


# ---------------------------------------------------------------- one case


def check_weights(kind: str, index: int, folder: Path) -> str:
    """How one case ended: "refused", or "read" with or without another reader that reads it too."""
    data = WEIGHT_FILES[kind](case(kind, index))
    path = folder / "case"
    path.write_bytes(data)
    found = accepted(lambda: read(path))
    if kind == "safetensors":
        expected = of_the_library(data)
        if found is None:
            assert expected is None or is_stricter_on_purpose(data), "the library reads it"
            return "refused"
        assert found == expected
        return "compared"
    if found is None:
        return "refused"
    loaded = of_numpy(data) if kind == "npz" else of_torch(data)
    if loaded is None:
        everything = data + inflated(data)
        for dtype, _, values in found.values():
            width = DTYPE_BITS[dtype] // 8
            elements = {values[at : at + width] for at in range(0, len(values), width)}
            assert all(one in everything or one[::-1] in everything for one in elements), "values from elsewhere"
        return "read alone"
    if kind == "npz":
        assert found == {name: array for name, array in loaded if array[0] in DTYPE_BITS}  # else texts, dates and such
        return "compared"
    for name, tensor in found.items():
        # Names lose what wrappers put before them, so the last part of the path has to end with what is left.
        same = [there for key, there in loaded if key.endswith(name)]
        assert tensor in same, f"{name} is {tensor[:2]}, torch has {[there[:2] for there in same]}"
    return "compared"


def inflated(data: bytes) -> bytes:
    """The members of an archive that can be read; what is wrong with the others has many names."""
    found = b""
    with suppress(Exception), zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            with suppress(Exception):
                found += archive.read(info)
    return found


def is_stricter_on_purpose(data: bytes) -> bool:
    """The safetensors files that zoo alone refuses: a name that is there twice, and more axes than arrays have."""
    header = data[8 : 8 + int.from_bytes(data[:8], "little")]
    twice = False

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal twice
        twice = twice or len(dict(found)) < len(found)
        return dict(found)

    entries = json.loads(header, object_pairs_hook=pairs)
    ranks = [len(entry["shape"]) for name, entry in entries.items() if name != "__metadata__"]
    return twice or max(ranks, default=0) > 64


def check_shards(index: int, folder: Path) -> str:
    files = shards(case("shards", index))
    for old in folder.iterdir():
        old.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    found = accepted(lambda: read(folder / "model.safetensors.index.json"))
    if found is None:
        return "refused"
    weight_map = json.loads(files["model.safetensors.index.json"])["weight_map"]
    expected: Tensors = {}
    for file in set(weight_map.values()):
        inside = of_the_library(files[file])
        assert inside is not None
        assert {name for name in weight_map if weight_map[name] == file} == inside.keys()
        expected |= inside
    assert found == expected
    return "compared"


CONTENTS = {hashlib.sha256(data).hexdigest(): data for data in (b"hello", b"x" * 700)}


def check_lock(index: int, folder: Path) -> str:
    path = folder / "case"
    path.write_bytes(lock_file(case("lock", index), CONTENTS))
    lock = accepted(lambda: read_lock(path))
    if lock is None:
        return "refused"
    document = json.loads(path.read_bytes())["weights"]
    assert {name: one._asdict() for name, one in lock.items()} == {
        name: {"revision": "", **entry} for name, entry in document.items()
    }
    for one in lock.values():
        assert ".." not in one.file.split("/")
        assert not one.file.startswith("/")
        assert len(one.sha256) == 64
        assert one.source.startswith(("hf-hub:", "https://", "http://127.0.0.1", "package:"))
        assert "/../" not in f"/{one.source}/"
    return "compared"


def check_bundle(index: int, folder: Path) -> str:
    """Whatever a bundle says, nothing appears outside the caches, and in them nothing of another digest."""
    outside = folder / "bundles"
    outside.mkdir(exist_ok=True)
    path = outside / "case.tar"
    path.write_bytes(bundle_file(case("bundle", index), CONTENTS))
    placed = accepted(lambda: unbundle(path), codes=(4, 5, 6)) or []
    assert os.listdir(outside) == ["case.tar"]
    assert set(os.listdir(folder)) <= {"bundles", "hf", "torch", "state"}
    assert not [path for path in folder.rglob("*.tmp") if not path.name.startswith("verified")]
    for one in placed:
        assert hashlib.sha256(one.path.read_bytes()).hexdigest() in CONTENTS
        assert one.path.resolve().is_relative_to(folder.resolve())
    return "compared" if placed else "refused"


def check_config(index: int, folder: Path) -> str:
    path = folder / "config.json"
    path.write_bytes(config_file(case("config", index)))
    cfg = accepted(lambda: read_timm_config(path))
    if cfg is None:
        return "refused"
    stated = json.loads(path.read_bytes())
    assert {**stated.get("pretrained_cfg", {}), **stated}["architecture"].startswith(
        cfg.architecture
    )  # the rest is a tag
    assert len(cfg.mean) == len(cfg.std) == cfg.input_size[0]
    assert (cfg.file, cfg.url, cfg.hf_hub_id, cfg.state_dict) == ("", "", "", None)
    return "compared"


KINDS: dict[str, Callable[[int, Path], str]] = {
    **{kind: lambda index, folder, kind=kind: check_weights(kind, index, folder) for kind in WEIGHT_FILES},
    "shards": check_shards,
    "lock": check_lock,
    "bundle": check_bundle,
    "config": check_config,
}


def check_case(kind: str, index: int, folder: Path) -> str:
    """One case again, by its number."""
    try:
        return KINDS[kind](index, folder)
    except (Exception, Hang) as error:
        raise AssertionError(f"case {index} of {kind}: {type(error).__name__}: {error}") from error


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that holds the caches too."""
    found = tmp_path / "cases"
    found.mkdir()
    for name, place in (("HF_HOME", "hf"), ("TORCH_HOME", "torch"), ("XDG_STATE_HOME", "state")):
        monkeypatch.setenv(name, str(found / place))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    return found


def run_cases(kind: str, indices: range, folder: Path) -> None:
    ended = Counter(check_case(kind, index, folder) for index in indices)
    # Both ends are reached, so that neither side of the check is idle.
    assert ended["refused"] > len(indices) // 20, ended
    # torch 0.3's tar is none that torch.load reads without calling what is in it.
    assert ended["read alone" if kind == "torch tar" else "compared"] > len(indices) // 40, ended


@pytest.mark.parametrize("kind", KINDS)
def test_some_cases(kind: str, folder: Path):
    run_cases(kind, range(120), folder)


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_many_cases(kind: str, folder: Path):
    run_cases(kind, range(20_000), folder)


# ---------------------------------------------------------------- through the commands


COMMANDS = (
    ("inspect",),
    ("identify",),
    ("check", "test_resnet"),
    ("adapt-weights", "--in-chans", "4", "--input-layer", "conv", "--dry-run", "-o", "out.safetensors"),
    ("convert", "--dtype", "float16", "-o", "converted.safetensors", "--force"),
)


def run_commands(kind: str, indices: range, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes: Counter[int] = Counter()
    for index in indices:
        path = folder / "case"
        path.write_bytes(WEIGHT_FILES[kind](case(kind, index)))
        command, *words = COMMANDS[index % len(COMMANDS)]
        arguments = [words.pop(0), str(path)] if command == "check" else [str(path)]
        with bounded():
            code = errors.run(app, [command, *arguments, *words, "--json"])
        out, said = capsys.readouterr()
        about = f"case {index} of {kind} in {command}: {said}"
        assert code in (0, 4, 5), about
        assert "Traceback" not in said, about
        for line in said.splitlines():
            assert isinstance(json.loads(line), dict), about
        assert isinstance(json.loads(out), dict) if out else code != 0, about
        assert not [name for name in os.listdir(folder) if name.startswith(".zoo-")], about
        codes[int(code)] += 1
    assert codes[4] > 0
    assert len(codes) > 1, codes


@pytest.mark.parametrize("kind", WEIGHT_FILES)
def test_the_commands_on_some_cases(
    kind: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(folder)
    run_commands(kind, range(60), folder, capsys)


@pytest.mark.full
@pytest.mark.parametrize("kind", WEIGHT_FILES)
def test_the_commands_on_many_cases(
    kind: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(folder)
    run_commands(kind, range(2_000), folder, capsys)

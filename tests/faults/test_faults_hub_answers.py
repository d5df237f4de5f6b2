"""Whose word is taken for a name: what the Hub and other hosts may say, and who is sent the token."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from zoo.core.errors import InvalidInputError, NotFoundError
from zoo.weights_cache.hub import hub_lookup, hub_read
from zoo.weights_cache.locate import hub_file

from fake_hub import COMMIT, FakeHub, HubFile
from machine import FILE, MODEL, REPO, MachineHere, hub_of
from weight_bytes import weight_bytes

BODY = weight_bytes({"a": ("U8", (4,), b"1234")})
DIGEST = hashlib.sha256(BODY).hexdigest()
TOKEN = "hf_topsecret"


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with hub_of(BODY) as server:
        yield server


@pytest.fixture
def machine(
    tmp_path: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> MachineHere:
    found = MachineHere(tmp_path / "machine", hub, monkeypatch, capsys)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    return found


def another_host(server: FakeHub) -> str:
    """The server under a name that is not the Hub's."""
    return server.url.replace("127.0.0.1", "localhost")


def fetched(machine: MachineHere, **options: Any) -> None:
    run = machine.zoo("fetch", MODEL, **options)
    assert run.code == 0, run.stderr
    assert Path(run.stdout.rstrip("\n")).read_bytes() == BODY
    assert machine.blobs() == [DIGEST]


def refused(machine: MachineHere, code: int, word: str, *words: object) -> None:
    before = machine.files()
    run = machine.zoo(*(words or ("fetch", MODEL)))
    assert (run.code, run.stdout) == (code, ""), run.stderr
    assert word in run.stderr
    assert "fault in zoo" not in run.stderr
    assert {path for path in machine.files() - before if not path.endswith((".lock", ".locks", "CACHEDIR.TAG"))} <= {
        str(path) for path in (machine.hf_home, machine.hub_cache, machine.hub_cache / ".locks")
    }


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    "commit", [f"{COMMIT}/../../../planted", COMMIT.upper(), COMMIT[:-1], f"{COMMIT}0", "main", "../../planted"]
)
def test_a_commit_is_forty_digits_and_nothing_else(machine: MachineHere, hub: FakeHub, commit: str):
    hub.commit = commit
    refused(machine, 4, "commit that is no hash")


@pytest.mark.parametrize(
    "etag", [f"{DIGEST}/../../../planted", f"{DIGEST}.lock", DIGEST.upper(), DIGEST[:-1], f"../{DIGEST}", "d41d8c-5"]
)
@pytest.mark.parametrize("plain", ["", DIGEST])
def test_an_etag_is_a_hash_and_nothing_else(machine: MachineHere, hub: FakeHub, etag: str, plain: str):
    hub.files[FILE] = HubFile(BODY, etag=etag, plain_etag=plain)
    refused(machine, 4, "ETag that is no hash")


def test_a_server_that_names_no_commit_is_no_hub(machine: MachineHere, hub: FakeHub):
    hub.commit = None
    with pytest.raises(InvalidInputError, match="without a commit"):
        hub_lookup(hub_file(REPO))
    refused(machine, 4, "without a commit")


def test_the_etag_of_the_large_file_counts(machine: MachineHere, hub: FakeHub):
    hub.files[FILE] = HubFile(BODY, plain_etag="the-page-itself-5")
    fetched(machine)


def test_a_weak_etag_names_the_same_file(machine: MachineHere, hub: FakeHub):
    hub.files[FILE] = HubFile(BODY, weak=True)
    fetched(machine)


@pytest.mark.parametrize("status", [401, 404, 503])
def test_the_etag_of_an_error_page_names_nothing(machine: MachineHere, hub: FakeHub, status: int):
    hub.status, hub.error_etag = (status, ""), "page-5"
    refused(machine, 5, f"HTTP {status}")


def test_what_another_host_says_to_the_same_program_is_its_own_affair(machine: MachineHere, hub: FakeHub):
    """The library has one session for the whole program, and other hosts have ETags that are no hashes."""
    hub.files["owner/other/x"] = HubFile(b"", etag="parts-5")
    hub.files[FILE].stall, hub.files[FILE].times = 10, 1
    answers = []

    def ask() -> None:
        from huggingface_hub import get_session

        try:
            assert hub.stalled.wait(30)
            answers.append(get_session().head(f"{another_host(hub)}/owner/other/resolve/main/x").headers["ETag"])
        except Exception as error:
            answers.append(repr(error))
        hub.go_on.set()

    thread = threading.Thread(target=ask)
    thread.start()
    fetched(machine)
    thread.join()
    assert answers == ['"parts-5"']


@pytest.mark.parametrize("etag", ["../../planted", "parts-5"])
def test_a_storage_that_the_hub_sends_to_names_nothing(machine: MachineHere, hub: FakeHub, etag: str):
    with FakeHub(files={"owner/storage/x": HubFile(BODY, etag=etag)}) as storage:
        hub.files[FILE].location = f"{another_host(storage)}/owner/storage/resolve/main/x"
        fetched(machine)


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize("size", [-1, 1 << 45, 1 << 62, 1 << 64, 10**30, "12x"])
def test_a_length_that_no_file_has_is_refused(machine: MachineHere, hub: FakeHub, size: int | str):
    hub.files[FILE].size = size
    refused(machine, 4, "", "inspect", f"hf-hub:{REPO}")


@pytest.mark.parametrize(("more", "allowed"), [(0, True), (-1, False)])
def test_a_file_has_at_most_the_length_that_is_allowed(machine: MachineHere, hub: FakeHub, more: int, allowed: bool):
    from zoo.weights_cache.hub import hub_download

    source = hub_file(REPO, "model.safetensors", max_bytes=len(BODY) + more)
    if allowed:
        assert hub_download(source, progress=False)[0].read_bytes() == BODY
    else:
        with pytest.raises(InvalidInputError, match=f"at most {len(BODY) - 1} bytes, found one of {len(BODY)} bytes"):
            hub_download(source, progress=False)
        assert hub.downloads == 0


def test_a_lookup_tells_what_the_hub_said(machine: MachineHere, hub: FakeHub):
    assert hub_lookup(hub_file(REPO)) == ("model.safetensors", COMMIT, len(BODY), DIGEST)
    hub.files[FILE] = HubFile(BODY, etag="a" * 40)  # a small file, named after git's hash
    assert hub_lookup(hub_file(REPO)).sha256 == ""


# ---------------------------------------------------------------- the token


def test_a_host_in_between_gets_no_token_and_does_not_bring_it_back(machine: MachineHere, hub: FakeHub):
    hub.plain["/back"] = BODY
    with FakeHub(redirects={"/elsewhere": f"{hub.url}/back"}) as other:
        hub.files[FILE].location = f"{another_host(other)}/elsewhere"
        fetched(machine, env={"HF_TOKEN": TOKEN})
        assert other.requests
        assert set(other.authorizations) == {None}
    sent = dict(zip((path for _, path in hub.requests), hub.authorizations, strict=True))
    assert sent["/back"] is None
    assert sent[f"/{REPO}/resolve/main/model.safetensors"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("https://hub.example/storage", f"Bearer {TOKEN}"),
        ("http://hub.example/storage", None),
        ("https://hub.example:8443/storage", None),
        ("https://hub.example.evil/storage", None),
        ("https://storage.example/x?hub.example", None),
    ],
)
def test_a_part_is_asked_for_with_the_token_of_the_hub_alone(
    machine: MachineHere, monkeypatch: pytest.MonkeyPatch, location: str, expected: str | None
):
    """By another name, another port or without encryption it is another host."""
    import huggingface_hub

    sent: list[tuple[str, str | None]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append((str(request.url), request.headers.get("authorization")))
        if request.method == "HEAD" and "/resolve/" in request.url.path:
            named = {"X-Repo-Commit": COMMIT, "X-Linked-Etag": f'"{DIGEST}"', "X-Linked-Size": str(len(BODY))}
            return httpx2.Response(302, headers={**named, "Location": location})
        if request.method == "HEAD":  # the same host again
            named = {"X-Repo-Commit": COMMIT, "ETag": f'"{DIGEST}"', "X-Linked-Size": str(len(BODY))}
            return httpx2.Response(200, headers=named)
        return httpx2.Response(200, content=iter([BODY]))  # as it comes from a socket

    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    huggingface_hub.set_client_factory(lambda: httpx2.Client(transport=httpx2.MockTransport(answer)))
    try:
        part = hub_read(hub_file(REPO), 0, 8)
    finally:
        from huggingface_hub.utils import _http

        huggingface_hub.set_client_factory(_http.default_client_factory)
    assert (part.data, part.size) == (BODY[:8], len(BODY))
    assert sent[0][1] == f"Bearer {TOKEN}"
    assert sent[-1] == (location, expected)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher:x"])
def test_a_redirect_to_what_is_no_web_server_ends(machine: MachineHere, hub: FakeHub, location: str):
    hub.files[FILE].location = location
    with pytest.raises(NotFoundError):
        hub_read(hub_file(REPO), 0, 8)
    run = machine.zoo("fetch", MODEL)
    assert (run.code, run.stdout, machine.blobs()) == (5, "", [])

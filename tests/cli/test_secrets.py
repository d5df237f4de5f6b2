"""Passwords and tokens: never printed, never written, whatever goes wrong on the way to the Hub or to a URL."""

from __future__ import annotations

import hashlib
import json
import os
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zoo.cli import output
from zoo.cli.redaction import redacted
from zoo.core.errors import InvalidInputError
from zoo.weights_cache.lock import parse_lock

from fake_hub import FakeHub, HubFile
from faults.injection import Outcome
from machine import FILE, MODEL, Machine, hub_of, published_bytes

USER, PASSWORD, TOKEN, SIGNATURE = "bob", "s3cret-p\u00e4ss/w0rd", "t0ken-0123456789", "5igned-abc"
ENCODED = "s3cret-p%C3%A4ss%2Fw0rd"
SECRETS = (PASSWORD, ENCODED, json.dumps(PASSWORD)[1:-1], TOKEN, SIGNATURE)
BASIC = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
BODY = published_bytes()
DIGEST = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with hub_of(BODY) as server:
        yield server


@pytest.fixture
def machine(tmp_path: Path, hub: FakeHub) -> Machine:
    found = Machine(tmp_path / "machine", hub)
    found.env |= {"HF_ENDPOINT": with_password(hub.url), "HF_TOKEN": TOKEN}
    return found


def with_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{USER}:{ENCODED}@{rest}"


def assert_secret(machine: Machine, *runs: Outcome) -> None:
    """No secret is in what was printed, nor in any file, its name, or the target of a link."""
    texts = [run.stdout + run.stderr for run in runs]
    for path in map(Path, machine.files()):
        texts.append(os.readlink(path) if path.is_symlink() else str(path))
        if path.is_file():
            texts.append(path.read_bytes().decode("latin-1"))
            texts.append(path.read_bytes().decode("utf-8", "replace"))
    for text in texts:
        for secret in (*SECRETS, BASIC):
            assert secret not in text


# ---------------------------------------------------------------- the Hub


def not_there(hub: FakeHub) -> None:
    hub.files.clear()


def in_trouble(hub: FakeHub) -> None:
    hub.status = (503, "")


def refuses(hub: FakeHub) -> None:
    hub.status = (401, "GatedRepo")


def busy(hub: FakeHub) -> None:
    hub.status = (429, "")


def fails_later(hub: FakeHub) -> None:
    hub.body_status = 500


def strange_name(hub: FakeHub) -> None:
    hub.files[FILE].etag = "../../etc"


def strange_commit(hub: FakeHub) -> None:
    hub.commit = "main"


def damaged(hub: FakeHub) -> None:
    hub.files[FILE].sent = b"x" * len(BODY)


def broken_off(hub: FakeHub) -> None:
    hub.files[FILE].cut = 1000


def in_a_circle(hub: FakeHub) -> None:
    hub.files[FILE].location = f"{with_password(hub.url)}/{FILE.replace('/model', '/resolve/main/model')}"


FAULTS = {fault.__name__: fault for fault in (
    not_there, in_trouble, refuses, busy, fails_later, strange_name, strange_commit, damaged, broken_off, in_a_circle
)}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("flag", ["--verbose", "--json"])
def test_no_fault_of_the_hub_prints_a_secret(machine: Machine, hub: FakeHub, fault: str, flag: str):
    FAULTS[fault](hub)
    run = machine.zoo("fetch", MODEL, flag, env={"ZOO_DEBUG": "1"})
    assert run.code in (4, 5), run.stderr
    # The server has seen it: it is there to be printed.
    assert f"Basic {BASIC}" in hub.authorizations
    assert_secret(machine, run)


def test_a_hub_that_is_not_there(machine: Machine):
    machine.env["HF_ENDPOINT"] = with_password("http://127.0.0.1:9")
    run = machine.zoo("fetch", MODEL, "--verbose")
    assert run.code == 5
    assert "127.0.0.1:9" in run.stderr
    assert_secret(machine, run)


def test_a_hub_that_takes_too_long(machine: Machine, hub: FakeHub):
    hub.files[FILE].stall = 1000
    run = machine.zoo("fetch", MODEL, "--verbose", "--timeout", "1")
    assert run.code == 5
    assert "in time" in run.stderr
    assert_secret(machine, run)


@pytest.mark.parametrize(
    "address",
    [
        "http://bob:s3cret-p#x@127.0.0.1:9",
        "http://bob:s3cret-p/x@127.0.0.1:9",
        "http://bob:s3cret-p?x@h",
        "bob:s3cret-p",
    ],
)
def test_an_address_that_cannot_be_read_is_not_quoted(machine: Machine, address: str):
    machine.env["HF_ENDPOINT"] = address
    run = machine.zoo("fetch", MODEL, "--verbose")
    assert run.code == 2
    assert "HF_ENDPOINT is no address" in run.stderr
    assert "s3cret-p" not in run.stderr


def test_a_token_that_is_no_header(machine: Machine):
    run = machine.zoo(
        "fetch", MODEL, "--verbose", env={"HF_TOKEN": f"{TOKEN}\u00e4", "HF_ENDPOINT": "http://127.0.0.1:9"}
    )
    assert run.code != 0
    assert_secret(machine, run)


def test_a_proxy_that_is_not_there(machine: Machine):
    proxy = with_password("http://127.0.0.1:9")
    surroundings = {"HTTPS_PROXY": proxy, "https_proxy": proxy, "HF_ENDPOINT": "https://hub.invalid", "NO_PROXY": ""}
    runs = [
        machine.zoo("fetch", MODEL, "--verbose", env=surroundings),
        machine.zoo("inspect", f"https://host.invalid/net.pth#sha256={DIGEST}", "--verbose", env=surroundings),
    ]
    assert [run.code for run in runs] == [5, 5]
    assert_secret(machine, *runs)


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
def test_a_proxy_that_cannot_be_read_is_not_quoted(machine: Machine, variable: str):
    surroundings = {variable: "http://bob:s3cret-p/x@127.0.0.1:9", "HF_ENDPOINT": "https://hub.invalid", "NO_PROXY": ""}
    for words in (("fetch", MODEL), ("inspect", f"https://host.invalid/net.pth#sha256={DIGEST}")):
        run = machine.zoo(*words, "--verbose", env=surroundings)
        assert run.code != 0
        assert "s3cret-p" not in run.stderr


def test_a_url_that_cannot_be_read_is_not_quoted(machine: Machine):
    run = machine.zoo("inspect", f"https://bob:s3cret-p/x@host.invalid/net.pth#sha256={DIGEST}", "--verbose")
    assert (run.code, "%XX" in run.stderr) == (4, True)
    assert "s3cret-p" not in run.stderr


def test_what_succeeds_writes_no_secret(machine: Machine, hub: FakeHub):
    config = json.dumps({"architecture": "test_resnet", "num_classes": 1000}).encode()
    git_hash = hashlib.sha1(b"blob %d\0" % len(config) + config, usedforsecurity=False).hexdigest()
    hub.files["owner/net/config.json"] = HubFile(config, etag=git_hash)
    hub.files["owner/net/model.safetensors"] = HubFile(BODY, ranges=True)
    runs = [
        machine.zoo(*words, "--verbose")
        for words in (
            ("inspect", "hf-hub:owner/net", "--tree"),
            ("lock", MODEL, "hf-hub:owner/net", "-o", "zoo.lock"),
            ("fetch", "--locked", "zoo.lock"),
            ("bundle", "--locked", "zoo.lock", "-o", "weights.tar"),
            ("unbundle", "weights.tar"),
            ("info", "hf-hub:owner/net"),
            ("adapt-weights", "hf-hub:owner/net", "--in-chans", 5, "--format", "timm", "-o", "folder"),
            ("adapt-weights", MODEL, "--in-chans", 5, "-o", "adapted.safetensors"),
            ("create", "hf-hub:owner/net", "--pretrained", "-o", "created.safetensors"),
            ("cache", "list"),
        )
    ]
    assert [run.code for run in runs] == [0] * len(runs), [run.stderr for run in runs]
    assert_secret(machine, *runs)


# ---------------------------------------------------------------- URLs


@pytest.mark.parametrize(
    ("query", "fragment", "code"),
    [
        (f"?X-Amz-Signature={SIGNATURE}", f"#sha256={DIGEST}", 0),
        (f"?token={SIGNATURE}&x=1", f"#sha256={'0' * 64}", 4),
        (f"?{SIGNATURE}", "", 2),
        ("", f"#access_token={SIGNATURE}", 2),
    ],
)
def test_the_user_and_the_query_of_a_url_stay_secret(
    machine: Machine, hub: FakeHub, query: str, fragment: str, code: int
):
    hub.plain[f"/net.safetensors{query}"] = BODY
    url = f"{with_password(hub.url)}/net.safetensors{query}{fragment}"
    runs = [
        machine.zoo("inspect", url, "--verbose"),
        machine.zoo("check", "test_resnet", url, "--json"),
        machine.zoo("adapt-weights", url, "--in-chans", 5, "-o", "out.safetensors", "--verbose"),
        machine.zoo("info", url),
    ]
    assert [run.code for run in runs] == [code, code, code, 5], [run.stderr for run in runs]
    assert (f"Basic {BASIC}" in hub.authorizations) is (code != 2)
    assert_secret(machine, *runs)


def test_a_password_does_not_follow_a_redirect(machine: Machine, hub: FakeHub):
    with FakeHub(plain={"/net.safetensors": BODY}) as storage:
        hub.redirects["/net.safetensors"] = f"{storage.url}/net.safetensors"
        run = machine.zoo("inspect", f"{with_password(hub.url)}/net.safetensors#sha256={DIGEST}", "--tree")
        assert run.code == 0, run.stderr
        assert storage.authorizations == [None]


def test_a_lock_with_a_secret_in_it_is_refused():
    entry = {"source": f"https://host/net.pth?token={SIGNATURE}", "file": "net.pth", "size": 1, "sha256": "0" * 64}
    with pytest.raises(InvalidInputError) as caught:
        parse_lock({"zoo_lock": 1, "weights": {"net": entry}}, name="zoo.lock")
    assert SIGNATURE not in str(caught.value)


# ---------------------------------------------------------------- the last line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET https://bob:pw@host/x", "GET https://host/x"),
        ("'https://t0ken@host/x'", "'https://host/x'"),
        ("https:/bob:pw@host/x.pth", "https:/host/x.pth"),
        ("https://bob:p/w@host/x, https://bob:p?w@host", "https://host/x, https://host"),
        ("https://host:80/o/r@v1 http://[::1]:80/r@v1", "https://host:80/o/r@v1 http://[::1]:80/r@v1"),
        ("https://host/x?a=1&b=2, then", "https://host/x?*** then"),
        ('{"url": "https://host/x?a=1"}', '{"url": "https://host/x?***"}'),
        ("https://host/x#token=abc", "https://host/x#***"),
        (f"https://host/x#sha256={DIGEST}", f"https://host/x#sha256={DIGEST}"),
        ("https://host/page#section and https://host/o/r@v1", "https://host/page#section and https://host/o/r@v1"),
        ("hf-hub:owner/repo@v1", "hf-hub:owner/repo@v1"),
        ("{'authorization': 'Bearer abc.def'}", "{'authorization': '***'}"),
        ("hf_abcdefghijklmnopqrstuvwx", "***"),
        ("hf_hub:owner/repo", "hf_hub:owner/repo"),
    ],
)
def test_what_a_text_keeps(text: str, expected: str):
    assert redacted(text) == expected


def test_json_stays_json():
    said = 'a "https://bob:pw@host/x?a=1" b "https://host/?b\\" c\nhttps://host/x?c\n"Bearer abc" https://host/#d=e'
    shown = json.loads(redacted(json.dumps({"text": said})))["text"]
    assert shown == 'a "https://host/x?***" b "https://host/?***\\" c\nhttps://host/x?***\n"***" https://host/#***'


def set_secrets(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Callable[..., str]:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return redacted


@pytest.mark.parametrize(
    "written",
    ["p@ss+w0rd", "p%40ss+w0rd", "bob:p@ss+w0rd", b64encode(b"bob:p@ss+w0rd").decode(), "tok\\n".replace("\\n", "-en")],
)
def test_secrets_of_the_environment_are_found_in_any_form(monkeypatch: pytest.MonkeyPatch, written: str):
    known = set_secrets(monkeypatch, HTTPS_PROXY="bob:p%40ss+w0rd@proxy:3128", HF_TOKEN=" tok-en\n")
    assert known(f"Invalid port: {written!r}") == "Invalid port: '***'"


def test_a_password_that_is_a_key_of_the_error_leaves_json(monkeypatch: pytest.MonkeyPatch, capsys):
    set_secrets(monkeypatch, HF_TOKEN="message", HTTPS_PROXY="http://bob:error@proxy")
    output.configure(json=True)
    output.failure(code=4, name="invalid_input", message="It says: message")
    output.note("an error")
    error, note = map(json.loads, capsys.readouterr().err.splitlines())
    assert (error["error"]["message"], note) == ("It says: ***", {"note": "an ***"})


def test_a_password_that_is_a_word_hides_no_folder_of_a_result(monkeypatch: pytest.MonkeyPatch):
    known = set_secrets(monkeypatch, HF_ENDPOINT="http://bob:models@host")
    path = "/data/models/net.safetensors"
    assert known(path, is_result=True) == path
    assert known("/data/models-old/supermodels") == "/data/***-old/supermodels"

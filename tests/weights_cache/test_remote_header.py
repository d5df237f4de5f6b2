"""Of a file on the Hub only its header is fetched."""

from __future__ import annotations

import json

import pytest

from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.errors import ExitCode, NotFoundError
from zoo.weights_cache.remote_header import remote_header

from fake_hub import FakeHub, HubFile
from weight_bytes import weight_bytes

# A header of 180 KB, more than is asked for at first, and data of 5 MB.
TENSORS = {f"layer{number}.weight": ("U8", (2500,), bytes(2500)) for number in range(2000)}
BODY = weight_bytes(TENSORS, {"format": "pt"})


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture
def hub(monkeypatch):
    with FakeHub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.mark.parametrize("ranges", [True, False])
def test_the_header_is_read_and_the_data_are_not(hub, ranges, capsys, tmp_path):
    hub.files["owner/net/model.safetensors"] = HubFile(BODY, ranges=ranges)
    assert errors.run(app, ["inspect", "hf-hub:owner/net", "--json"]) == ExitCode.DONE
    found = json.loads(capsys.readouterr().out)
    assert found["file_bytes"] == len(BODY)
    assert [tensor["name"] for tensor in found["tensor_list"]] == list(TENSORS)
    assert hub.downloads == 2
    assert not list((tmp_path / "hf").rglob("*.safetensors"))


def test_the_token_stays_with_the_hub(hub):
    with FakeHub(plain={"/storage": BODY}) as storage:
        hub.files["owner/net/model.safetensors"] = HubFile(BODY, location=f"{storage.url}/storage")
        with remote_header("owner/net") as path:
            assert path.stat().st_size == len(BODY)
        assert set(storage.authorizations) == {None}
    assert set(hub.authorizations) == {"Bearer hf_secret"}


def test_offline_no_request_is_made(hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(NotFoundError, match="offline"), remote_header("owner/net"):
        pass
    assert hub.requests == []


@pytest.fixture
def restored(monkeypatch):
    """Commands put their network options into the environment, which goes back to what it was."""
    for name in ("HF_HUB_OFFLINE", "ZOO_TIMEOUT"):
        monkeypatch.setenv(name, "")


@pytest.mark.parametrize("command", ["inspect", "identify"])
def test_the_commands_stay_offline_when_told(hub, restored, command, capsys):
    hub.files["owner/net/model.safetensors"] = HubFile(BODY)
    assert errors.run(app, [command, "hf-hub:owner/net", "--offline"]) == ExitCode.NOT_FOUND
    assert "offline" in capsys.readouterr().err
    assert hub.requests == []


@pytest.mark.parametrize("stalled", [0, 1])
@pytest.mark.parametrize("command", ["inspect", "identify"])
def test_the_commands_give_up_in_time(hub, restored, command, stalled, capsys):
    # The header takes two requests; the time is for both.
    hub.files["owner/net/model.safetensors"] = HubFile(BODY, stall=100 if stalled == 0 else 1 << 16, ranges=False)
    assert errors.run(app, [command, "hf-hub:owner/net", "--timeout", "1"]) == ExitCode.NOT_FOUND
    assert "the time allowed is over" in capsys.readouterr().err
    assert hub.stalled.is_set()


@pytest.mark.parametrize(
    ("files", "code", "sentence"),
    [
        ({}, ExitCode.NOT_FOUND, "404"),
        ({"owner/net/pytorch_model.bin": HubFile(b"x")}, ExitCode.INVALID_INPUT, "no part can be read alone"),
        ({"owner/net/model.safetensors": HubFile(b"<html>" * 99)}, ExitCode.INVALID_INPUT, "HTML"),
        ({"owner/net/model.safetensors": HubFile(BODY[:99])}, ExitCode.INVALID_INPUT, ""),
    ],
)
def test_what_has_no_header(hub, files, code, sentence, capsys):
    hub.files = files
    assert errors.run(app, ["identify", "hf-hub:owner/net"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert sentence in captured.err
    assert "hf_secret" not in captured.err

"""`config.json` of timm's format: read from a file, a folder, the Hub; refused where it is not sound."""

import json
import os

import pytest

from zoo.core.architectures import registry
from zoo.core.errors import ExitCode, InvalidInputError, NotFoundError
from zoo.core.files.json_file import MAX_BYTES
from zoo.core.metadata.timm_config import read_timm_config
from zoo.weights_cache.download import fetch_config

from fake_hub import FakeHub, HubFile

# As timm 1.0 writes it beside resnet34.a1_in1k (shortened), and as timm 0.6 did.
STATED = {
    "tag": "a1_in1k",
    "custom_load": False,
    "input_size": [3, 224, 224],
    "test_input_size": [3, 288, 288],
    "fixed_input_size": False,
    "interpolation": "bicubic",
    "crop_pct": 0.95,
    "test_crop_pct": 1.0,
    "crop_mode": "center",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "num_classes": 1000,
    "pool_size": [7, 7],
    "first_conv": "conv1",
    "classifier": "fc",
    "license": "apache-2.0",
}
CONFIG = {"architecture": "resnet34", "num_classes": 1000, "num_features": 512, "pretrained_cfg": STATED}
OLD = {"architecture": "resnet34", "num_classes": 17, "num_features": 512, **{k: STATED[k] for k in ("mean", "std")}}


def but(**changes):
    """CONFIG with some entries of `pretrained_cfg` changed."""
    return CONFIG | {"pretrained_cfg": STATED | changes}


def test_a_published_config_says_what_the_registry_says():
    expected = registry.get_pretrained_cfg("resnet34.a1_in1k")
    found = read_timm_config(CONFIG)
    sources = {"url", "hf_hub_id", "origin_url", "paper_ids"}
    assert {k: found[k] for k in found if k not in sources} == {k: expected[k] for k in expected if k not in sources}


def test_the_file_and_its_folder_say_the_same(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(CONFIG))
    assert read_timm_config(file) == read_timm_config(tmp_path) == read_timm_config(CONFIG)


def test_the_old_form_has_the_entries_at_the_top():
    cfg = read_timm_config(OLD)
    assert (cfg.architecture, cfg.num_classes, cfg.mean) == ("resnet34", 17, (0.485, 0.456, 0.406))
    assert (cfg.first_conv, cfg.classifier) == ("conv1", "fc")


def test_the_number_of_classes_of_the_model_goes_before_that_of_its_origin():
    assert read_timm_config(CONFIG | {"num_classes": 5}).num_classes == 5


def test_a_model_for_more_channels_gets_a_size_mean_and_std_for_them():
    cfg = read_timm_config(CONFIG | {"model_args": {"in_chans": 4, "drop_rate": 0.1}})
    assert cfg.input_size == (4, 224, 224)
    assert cfg.test_input_size == (4, 288, 288)
    assert cfg.mean == (0.485, 0.456, 0.406, 0.485)
    assert cfg.std == (0.229, 0.224, 0.225, 0.229)
    assert cfg.model_args == (("drop_rate", 0.1),)
    whole = but(input_size=[2, 64, 64], mean=[0.1, 0.2], std=[0.3, 0.4])
    assert read_timm_config(whole).mean == (0.1, 0.2)
    assert read_timm_config(whole).test_input_size == (2, 288, 288)


def test_layers_come_from_the_file_then_from_the_architecture_then_are_unknown():
    assert read_timm_config(but(first_conv="stem.0", classifier="")).first_conv == "stem.0"
    assert read_timm_config(but(classifier="")).classifier is None
    named = {"architecture": "crossvit_9_240", "pretrained_cfg": {}}
    assert read_timm_config(named).first_conv == ("patch_embed.0.proj", "patch_embed.1.proj")
    assert read_timm_config({"architecture": "my_net"}).first_conv is None


def test_where_the_weights_are_is_not_for_the_file_to_say():
    cfg = read_timm_config(but(url="https://evil.example/w", file="/etc/passwd", hf_hub_id="evil/w", package="os:x"))
    assert not cfg.has_weights


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"architecture": 3},
        {"architecture": ""},
        {"architecture": "../resnet34"},
        {"architecture": "resnet34\n"},
        {"architecture": "resnet34", "num_classes": -1},
        {"architecture": "resnet34", "num_classes": True},
        {"architecture": "resnet34", "pretrained_cfg": []},
        {"architecture": "resnet34", "model_args": [1]},
        {"architecture": "resnet34", "model_args": {"in_chans": 0}},
        {"architecture": "resnet34", "model_args": {"in_chans": "3"}},
        {"architecture": "resnet34", "model_args": {"in_chans": 1 << 40}},
        {"architecture": "resnet34", "model_args": {"a b": 1}},
        but(input_size=[224, 224]),
        but(input_size=[3, 224, 224.5]),
        but(input_size=[3, 0, 224]),
        but(mean=[0.5, 0.5]),
        but(mean=0.5),
        but(mean=[0.5, 0.5, float("inf")]),
        but(mean=[0.5] * 5, std=[0.5] * 5),
        but(std=[0.5, 0.0, 0.5]),
        but(std=["1", "1", "1"]),
        but(crop_pct=0),
        but(crop_pct=float("nan")),
        but(crop_pct="0.9"),
        but(first_conv={"a": 1}),
        but(first_conv=["conv1", ""]),
        but(first_conv="conv1..weight"),
        but(classifier="fc\x1b[31m"),
        but(classifier="x" * 2000),
        but(interpolation="bicubic\x1b]0;title\x07"),
        but(fixed_input_size="yes"),
        but(tag="\u202egat"),
    ],
)
def test_what_is_not_sound_is_refused(config):
    with pytest.raises(InvalidInputError, match=r"^owner/net: \w") as refused:
        read_timm_config(config, origin="owner/net")
    assert refused.value.exit_code == ExitCode.INVALID_INPUT
    assert refused.value.path == "owner/net"
    assert refused.value.message.isprintable()


@pytest.mark.parametrize(
    "text",
    [
        b"", b"[]", b"3", b"{", b"\xff\xfe", b'{"architecture": NaN}', b"[" * 100_000, b"9" * 10_000,
        b"{" + b" " * MAX_BYTES + b"}",
    ],
    ids=["empty", "list", "number", "cut", "binary", "NaN", "deep", "long number", "too long"],
)  # fmt: skip
def test_a_file_that_is_no_small_object_is_refused(tmp_path, text):
    file = tmp_path / "config.json"
    file.write_bytes(text)
    with pytest.raises(InvalidInputError, match=r"config\.json") as refused:
        read_timm_config(file)
    assert refused.value.path == str(file)


def test_a_file_that_is_not_there_or_no_file(tmp_path):
    with pytest.raises(NotFoundError, match="No such file"):
        read_timm_config(tmp_path / "config.json")
    with pytest.raises(NotFoundError, match="No such file"):
        read_timm_config(tmp_path)
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(InvalidInputError, match="not a regular file"):
        read_timm_config(tmp_path)


class TestFromTheHub:
    @pytest.fixture(autouse=True)
    def _own_folders(self, tmp_path, monkeypatch):
        for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        # The library reads these once, at import, so that the surroundings of the test run would reach in.
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))

    @pytest.fixture
    def hub(self, monkeypatch):
        with FakeHub(files={"owner/net/config.json": HubFile(json.dumps(CONFIG).encode())}) as server:
            monkeypatch.setenv("HF_ENDPOINT", server.url)
            yield server

    def test_is_downloaded_once(self, hub):
        assert fetch_config("owner/net") == CONFIG
        assert read_timm_config(fetch_config("owner/net"), origin="owner/net").name == "resnet34.a1_in1k"
        assert hub.downloads == 1

    def test_offline_it_comes_from_the_cache_or_not_at_all(self, hub, monkeypatch):
        with pytest.raises(NotFoundError, match="offline"):
            fetch_config("owner/net", offline=True)
        assert not hub.requests
        fetch_config("owner/net")
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        hub.requests.clear()
        assert fetch_config("owner/net") == CONFIG
        assert not hub.requests

    def test_absent(self, hub):
        with pytest.raises(NotFoundError, match="has no repository owner/other"):
            fetch_config("owner/other")
        hub.files["owner/net/model.safetensors"] = hub.files.pop("owner/net/config.json")
        with pytest.raises(NotFoundError, match=r"no config\.json in the Hub repository owner/net"):
            fetch_config("owner/net")

    def test_one_that_is_too_long_is_not_downloaded(self, hub):
        hub.files["owner/net/config.json"] = HubFile(b"{" + b" " * MAX_BYTES + b"}")
        with pytest.raises(InvalidInputError, match=rf"at most {MAX_BYTES} bytes"):
            fetch_config("owner/net")
        assert not hub.downloads

    @pytest.mark.parametrize("body", [b"<html>", b"[1]", b""])
    def test_one_that_is_no_object_is_refused_by_name(self, hub, body):
        hub.files["owner/net/config.json"] = HubFile(body)
        with pytest.raises(InvalidInputError, match=r"config\.json of the Hub repository owner/net"):
            fetch_config("owner/net")

    @pytest.mark.parametrize("repo_id", ["../net", "/etc", "owner/net@../x", ""])
    def test_a_name_that_leads_out_of_the_repository(self, hub, repo_id):
        with pytest.raises(InvalidInputError):
            fetch_config(repo_id)
        assert not hub.requests

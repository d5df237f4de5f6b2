"""Download one file from the Hugging Face Hub through huggingface_hub and its cache, and verify it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from zoo.core.errors import CannotWriteError, InvalidInputError, NotFoundError, UsageError, ZooError
from zoo.core.files.checksum import DamagedFileError, verify, verify_git_blob
from zoo.core.files.user_folders import existing, home_directory, hub_cache
from zoo.weights_cache.hub_layout import MAX_SIZE, held_lock, is_blob_name, is_sha256, quarantine
from zoo.weights_cache.locate import COMMIT, HubFile, public_url
from zoo.weights_cache.time_limit import TimeUp, deadline, time_limit

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

_TIMEOUT = 10.0
_PUBLIC_HUB = "https://huggingface.co"
_ATTEMPTS = 2

Found = TypeVar("Found")


class HubAnswer(NamedTuple):
    """The Hub's metadata of a file, before any download; `sha256` is '' for a small file outside LFS."""

    filename: str
    revision: str
    size: int
    sha256: str


def hub_download(
    source: HubFile, *, progress: bool, fresh: bool = False, timeout: float | None = None
) -> tuple[Path, str | None]:
    """Return the snapshot file of a Hub source and its sha256 (None if the cache does not know it).

    A cached file is returned without a request. A download is stored in huggingface_hub's own cache, which other
    programs share. A damaged download is put aside and tried once more.

    Args:
        source: the file.
        progress: let the library draw a bar on stderr.
        fresh: read the file again to check it, even if an earlier check is remembered.
        timeout: seconds that the whole download may take.

    Raises:
        NotFoundError: the file is refused or absent, the Hub cannot be reached, or the download took too long.
        InvalidInputError: the file does not match the hash it is stored under, or the Hub answers with a name that
            leads out of the cache.
        CannotWriteError: the cache folder cannot be written.
    """
    path = source.cached()
    if path is not None:
        return path, verify_snapshot(source, path, fresh=fresh)
    return _download_verified(source, progress, timeout)


def hub_lookup(source: HubFile, *, timeout: float | None = None) -> HubAnswer:
    """Ask the Hub for the metadata of the first file of a source that it has. Raises as `hub_download`."""
    with _bounded(source, deadline(timeout)):
        return _first_file(source, _lookup_one)


class HubPart(NamedTuple):
    """Some bytes of a file on the Hub, and the length of the whole file."""

    filename: str
    data: bytes
    size: int


def hub_read(source: HubFile, start: int, count: int, *, until: float | None = None) -> HubPart:
    """Read bytes `start` to `start + count` (fewer at the end) of the first file of a source that the Hub has.

    If the server does not support ranges, the file is read from its beginning. `until` is a `deadline`. Raises as
    `hub_download`.
    """
    with _bounded(source, until):
        return _first_file(source, lambda source, filename: _read_part(source, filename, start, count))


def verify_snapshot(source: HubFile, path: Path, *, fresh: bool = False) -> str | None:
    """Check that a snapshot file is in the cache and matches its blob's hash; return its sha256 if known.

    Raises InvalidInputError, and DamagedFileError if the content differs.
    """
    folder = source.folder
    roots = (hub_cache().resolve(), folder.resolve())
    if not any(path.resolve().is_relative_to(root) for root in roots):
        raise InvalidInputError(
            f"The cached file {path} leads out of the cache to {path.resolve()}.",
            hint=f"Delete {folder} and run the command again.",
            path=str(path),
        )
    # Follow one link only: a cache that shares blobs between repositories links the blob to yet another name.
    if not path.is_symlink():
        return None  # a file system without links: the cache holds a copy and no hash
    blob = Path(os.path.normpath(path.parent / os.readlink(path)))
    if not is_blob_name(blob.name):
        raise InvalidInputError(
            f"The cached file {path} links to {blob.name}, which is not named after a hash.",
            hint=f"Delete {folder} and run the command again.",
            path=str(path),
        )
    advice = f"Delete it and run the command again: rm '{blob}'"
    if is_sha256(blob.name):
        return verify(blob, blob.name, advice=advice, fresh=fresh)
    verify_git_blob(blob, blob.name, advice=advice)  # a small file outside LFS
    return None


def _download_verified(source: HubFile, progress: bool, timeout: float | None) -> tuple[Path, str | None]:
    until = deadline(timeout)
    for _ in range(_ATTEMPTS):
        with _bounded(source, until):
            path, announced = _first_file(source, lambda *wanted: _download_one(*wanted, progress=progress))
        try:
            inode = path.stat().st_ino
            digest = verify_snapshot(source, path)
            if digest is None and announced:  # a copy, whose name holds no hash
                digest = verify(path, announced, advice="")
            return path, digest
        except FileNotFoundError:
            pass  # another process found it damaged and put it aside
        except DamagedFileError:
            quarantine(path, inode)
    raise DamagedFileError(
        f"{path.name} of {source} arrived damaged {_ATTEMPTS} times: it does not have the sha256 that {_hub_name()} "
        "announces.",
        hint="Check the proxy on the way, then try again; `zoo cache prune` removes what was put aside.",
        path=str(path),
    )


@contextmanager
def _bounded(source: HubFile, until: float | None) -> Iterator[None]:
    # A lookup needs no cache.
    folder = source.folder if existing(hub_cache) else None
    try:
        with time_limit(until, folder and folder / "blobs"):
            yield
    except TimeUp as error:
        # The locks of this process are released by now.
        lock = folder and held_lock(folder)
        if lock is None:
            raise NotFoundError(
                f"{_hub_name()} did not give {source} in time: {error}.",
                hint="Check the network, or allow more time.",
            ) from None
        raise NotFoundError(
            f"Another process seems to download {source}, and {error}; it holds {lock}.",
            hint=f"Wait for it; if there is none, delete the lock: rm '{lock}'",
            path=str(lock),
        ) from None


def _first_file(source: HubFile, get: Callable[[HubFile, str], Found]) -> Found:
    for filename in source.filenames:
        try:
            return get(source, filename)
        except ZooError:
            raise
        # The HTTP client of huggingface_hub, and with it its exceptions, changed with every major version.
        except Exception as error:
            if not _is_missing_entry(error):
                raise _failure(source, filename, error) from error
    raise NotFoundError(f"There is no {' or '.join(source.filenames)} in {source} (HTTP 404).", hint="Check the name.")


def _lookup_one(source: HubFile, filename: str) -> HubAnswer:
    with _library(progress=False):
        answer = _ask(source, filename)
    if answer.size is None:
        raise InvalidInputError(f"{_hub_name()} does not say how long {filename} of {source} is, as every Hub does.")
    return HubAnswer(filename, answer.commit_hash or "", answer.size, _sha256_in(answer))


def _read_part(source: HubFile, filename: str, start: int, count: int) -> HubPart:
    with _library(progress=False):
        from huggingface_hub import get_session
        from huggingface_hub.utils import build_hf_headers

        answer = _ask(source, filename)
        if answer.size is None:
            raise _no_hub(f"{source} without a length")
        headers = {"Range": f"bytes={start}-{start + count - 1}", "Accept-Encoding": "identity"}
        # The token is for the Hub, not for the storage server that the Hub redirects to.
        if _server(answer.location) == _server(_endpoint()):
            headers |= build_hf_headers()
        with get_session().stream("GET", answer.location, headers=headers, timeout=_timeout()) as response:
            response.raise_for_status()
            begin = start if response.status_code == 206 else 0
            data = b""
            for chunk in response.iter_raw():
                data += chunk
                if begin + len(data) >= start + count:
                    break
    return HubPart(filename, data[start - begin :][:count], answer.size)


def _download_one(source: HubFile, filename: str, *, progress: bool) -> tuple[Path, str]:
    """Return the snapshot file and the sha256 that the Hub announced ('' for a small file outside LFS)."""
    with _library(progress):
        from huggingface_hub import hf_hub_download

        cache = hub_cache()
        # The library retries for a minute without giving a reason, so ask first.
        answer = _ask(source, filename)
        if source.max_bytes is not None and (answer.size is None or answer.size > source.max_bytes):
            size = "of unknown length" if answer.size is None else f"of {answer.size} bytes"
            raise InvalidInputError(
                f"{filename} of {source} should have at most {source.max_bytes} bytes, found one {size}.",
                hint="Check the name of the repository.",
            )
        path = hf_hub_download(
            source.repo_id,
            filename,
            revision=source.revision,
            cache_dir=cache,
            endpoint=_endpoint(),
            etag_timeout=_timeout(),
        )
        return Path(path), _sha256_in(answer)


def _ask(source: HubFile, filename: str) -> HfFileMetadata:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(source.repo_id, filename, revision=source.revision, endpoint=_endpoint())
    answer = get_hf_file_metadata(url, timeout=_timeout(), endpoint=_endpoint())
    if not answer.commit_hash or not answer.etag:
        raise _no_hub(f"{source} without a commit or an ETag")
    if answer.size is not None and not 0 <= answer.size <= MAX_SIZE:
        raise _no_hub(f"{source} with {answer.size} bytes")
    return answer


def _sha256_in(answer: HfFileMetadata) -> str:
    return answer.etag if answer.etag and is_sha256(answer.etag) else ""


def _refuse_strange_names(response: Any) -> None:
    """Refuse a commit or ETag that is not a hash: the library joins them to a path unchecked."""
    if response.request.method != "HEAD" or response.request.url.host != urlsplit(_endpoint()).hostname:
        return
    commit = response.headers.get("X-Repo-Commit")
    etag = response.headers.get("X-Linked-Etag") or response.headers.get("ETag")
    if commit is not None and not COMMIT.fullmatch(commit):
        raise _no_hub("a request with a commit that is no hash")
    if etag is not None and response.status_code < 400 and not is_blob_name(etag.removeprefix("W/").strip('"')):
        raise _no_hub("a request with an ETag that is no hash")


def _no_hub(answer: str) -> InvalidInputError:
    return InvalidInputError(
        f"{_hub_name()} answers for {answer}, as no Hub does.", hint="Check HF_ENDPOINT and the proxy."
    )


def _endpoint() -> str:
    """Return the address of the Hub. Raises UsageError, which does not quote the address: it may hold a password."""
    endpoint = (os.environ.get("HF_ENDPOINT") or _PUBLIC_HUB).rstrip("/")
    with suppress(ValueError):
        parts = urlsplit(endpoint)
        if parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port):
            return endpoint
    raise UsageError(
        "HF_ENDPOINT is no address of a Hub, as https://huggingface.co is one.",
        hint="Write special characters of a user name or password as %XX.",
    )


def _server(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port; http and https count as different servers."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def _hub_name() -> str:
    """Return the endpoint for use in messages, without a password."""
    return public_url(_endpoint())


def _timeout() -> float:
    """Return the seconds to wait for the Hub's answer about a file."""
    try:
        return float(os.environ.get("HF_HUB_ETAG_TIMEOUT") or _TIMEOUT)
    except ValueError:
        return _TIMEOUT


def _status(error: Exception) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _is_missing_entry(error: Exception) -> bool:
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    return _status(error) == 404 and not isinstance(error, RepositoryNotFoundError | RevisionNotFoundError)


def _failure(source: HubFile, filename: str, error: Exception) -> ZooError:
    """Turn an exception of the library into a ZooError, but not its text, which may quote a token."""
    from huggingface_hub.errors import HFValidationError

    wanted = f"{filename} of {source}"
    status = _status(error)
    if isinstance(error, HFValidationError):
        return InvalidInputError(f"{source.repo_id!r} is not a name that a Hub repository can have.")
    if status in (401, 403):
        return NotFoundError(
            f"{_hub_name()} refuses {wanted} (HTTP {status}): it is private, gated, or does not exist.",
            hint="Check the name; for a private or gated one set HF_TOKEN or run `hf auth login`.",
        )
    if status == 404:
        what = f"revision {source.revision} of {source.repo_id}" if source.revision != "main" else source.repo_id
        return NotFoundError(f"{_hub_name()} has no repository {what} (HTTP 404).", hint="Check the name.")
    if status == 429:
        return NotFoundError(
            f"{_hub_name()} does not give {wanted} now: too many requests (HTTP 429).",
            hint="Try again in some minutes; with HF_TOKEN set the limit is higher.",
        )
    if status is not None:
        return NotFoundError(f"{_hub_name()} failed to give {wanted} (HTTP {status}).", hint="Try again later.")
    name = type(error).__name__
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
        return CannotWriteError(
            f"{wanted} could not be stored in {hub_cache()}: {os.strerror(error.errno)}.",
            hint="Free space there, or point HF_HOME at a folder that can be written.",
            path=str(hub_cache()),
        )
    if name == "TooManyRedirects":
        return NotFoundError(f"{_hub_name()} redirects {wanted} in a circle.", hint="Check HF_ENDPOINT and the proxy.")
    if "Timeout" in name:
        return NotFoundError(f"{_hub_name()} did not answer in time for {wanted}.", hint="Check the network.")
    why = "broke off" if name == "OSError" else f"failed ({name})"
    return NotFoundError(f"The download of {wanted} from {_hub_name()} {why}.", hint="Check the network, then retry.")


@contextmanager
def _library(progress: bool) -> Iterator[None]:
    """Silence huggingface_hub on stderr unless a bar is wanted, and refuse names that it would join to a path."""
    _endpoint()  # before the library does, which would quote a bad address
    if "huggingface_hub" not in sys.modules:
        # Its Xet client is native code, which neither a signal nor a time limit can interrupt.
        os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
        # Telemetry would send extra requests.
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        if home_directory() is None and not (os.environ.get("HF_HOME") or os.environ.get("XDG_CACHE_HOME")):
            # Without a home, the library would take `~` for a folder in the working directory and read a token there.
            os.environ.setdefault("HF_TOKEN_PATH", os.devnull)
    from huggingface_hub import get_session

    session = get_session()
    hooks = session.event_hooks
    session.event_hooks = hooks | {"response": [*hooks.get("response", []), _refuse_strange_names]}
    try:
        with _silence(not progress):
            yield
    finally:
        session.event_hooks = hooks


@contextmanager
def _silence(wanted: bool) -> Iterator[None]:
    from huggingface_hub.utils import logging
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if not wanted:
        yield
        return
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    # If this variable is set, the user has decided, and the library warns about any override.
    mute = "HF_HUB_DISABLE_PROGRESS_BARS" not in os.environ and not are_progress_bars_disabled()
    if mute:
        disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if mute:
            enable_progress_bars()

"""One file from the Hugging Face Hub, through huggingface_hub and its cache, and checked as that library does not."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.core.errors import CannotWriteError, InvalidInputError, NotFoundError, ZooError
from zoo.weights_cache.checksum import verify
from zoo.weights_cache.locate import COMMIT, HubFile, hub_cache

_SHA256 = re.compile(r"[0-9a-f]{64}")
_TIMEOUT = 10.0
_PUBLIC_HUB = "https://huggingface.co"


def hub_download(source: HubFile, *, progress: bool) -> tuple[Path, str | None]:
    """The snapshot file of a Hub source and its sha256 (None where the cache does not know it).

    A cached file is returned without a request. What is downloaded lands in huggingface_hub's own cache, which is
    shared with every other program that uses it.

    Raises:
        NotFoundError: refused, absent, or the Hub cannot be reached.
        InvalidInputError: the file does not have the sha256 it is stored under, or the Hub answers with a name that
            leads out of the cache.
        CannotWriteError: the cache folder cannot be written.
    """
    path = source.cached() or _download(source, progress=progress)
    return path, _verify_blob(source, path)


def _download(source: HubFile, *, progress: bool) -> Path:
    for filename in source.filenames:
        try:
            return _download_one(source, filename, progress=progress)
        except ZooError:
            raise
        # huggingface_hub's HTTP client, and so its exceptions, changed with every major version.
        except Exception as error:
            if not _is_missing_entry(error):
                raise _failure(source, filename, error) from error
    raise NotFoundError(f"There is no {' or '.join(source.filenames)} in {source}.", hint="Check the name.")


def _download_one(source: HubFile, filename: str, *, progress: bool) -> Path:
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    with _library_output(progress):
        # The library joins the ETag to a path unchecked and retries for a minute without saying why: ask first.
        url = hf_hub_url(source.repo_id, filename, revision=source.revision, endpoint=_endpoint())
        answer = get_hf_file_metadata(url, timeout=_timeout(), endpoint=_endpoint())
        if not COMMIT.fullmatch(answer.commit_hash or "") or not _is_blob_name(answer.etag or ""):
            raise InvalidInputError(
                f"{_endpoint()} answers for {source} with a commit or an ETag that is no hash, as no Hub does.",
                hint="Check HF_ENDPOINT and the proxy.",
            )
        if source.max_bytes is not None and (answer.size is None or answer.size > source.max_bytes):
            size = "of unknown length" if answer.size is None else f"of {answer.size} bytes"
            raise InvalidInputError(
                f"{filename} of {source} should have at most {source.max_bytes} bytes, found one {size}.",
                hint="Check the name of the repository.",
            )
        return Path(
            hf_hub_download(
                source.repo_id,
                filename,
                revision=source.revision,
                cache_dir=hub_cache(),
                endpoint=_endpoint(),
                etag_timeout=_timeout(),
            )
        )


def _verify_blob(source: HubFile, path: Path) -> str | None:
    """Check that a snapshot file is in the cache and has the content its blob is named after."""
    folder = source.folder
    roots = (hub_cache().resolve(), folder.resolve())
    if not any(path.resolve().is_relative_to(root) for root in roots):
        raise InvalidInputError(
            f"The cached file {path} leads out of the cache to {path.resolve()}.",
            hint=f"Delete {folder} and run the command again.",
            path=str(path),
        )
    # One level only: where blobs are shared between repositories, the blob is itself a link to another name.
    if not path.is_symlink():
        return None  # a file system without links: the cache holds a copy and no hash
    blob = Path(os.path.normpath(path.parent / os.readlink(path)))
    if not _is_blob_name(blob.name):
        raise InvalidInputError(
            f"The cached file {path} links to {blob.name}, which is not named after a hash.",
            hint=f"Delete {folder} and run the command again.",
            path=str(path),
        )
    if not _SHA256.fullmatch(blob.name):
        return None  # named after its git hash: a small file outside LFS
    return verify(blob, blob.name, advice=f"Delete it and run the command again: rm '{blob}'")


def _is_blob_name(name: str) -> bool:
    """Whether this is a sha256 (an LFS file) or a git hash, of the form that a commit has."""
    return bool(_SHA256.fullmatch(name) or COMMIT.fullmatch(name))


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or _PUBLIC_HUB).rstrip("/")


def _timeout() -> float:
    """Seconds to wait for the Hub's answer about a file."""
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
    """The library's exception as one of ours. Its text is left out: it may quote a request header, so a token."""
    from huggingface_hub.errors import HFValidationError

    wanted = f"{filename} of {source}"
    status = _status(error)
    if isinstance(error, HFValidationError):
        return InvalidInputError(f"{source.repo_id!r} is not a name that a Hub repository can have.")
    if status in (401, 403):
        return NotFoundError(
            f"{_endpoint()} refuses {wanted} (HTTP {status}): it is private, gated, or does not exist.",
            hint="Check the name; for a private or gated one set HF_TOKEN or run `hf auth login`.",
        )
    if status == 404:
        what = f"revision {source.revision} of {source.repo_id}" if source.revision != "main" else source.repo_id
        return NotFoundError(f"{_endpoint()} has no repository {what} (HTTP 404).", hint="Check the name.")
    if status is not None:
        return NotFoundError(f"{_endpoint()} failed to give {wanted} (HTTP {status}).", hint="Try again later.")
    name = type(error).__name__
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
        return CannotWriteError(
            f"{wanted} could not be stored in {hub_cache()}: {os.strerror(error.errno)}.",
            hint="Free space there, or point HF_HOME at a folder that can be written.",
            path=str(hub_cache()),
        )
    if "Timeout" in name:
        return NotFoundError(f"{_endpoint()} did not answer in time for {wanted}.", hint="Check the network.")
    why = "broke off" if name == "OSError" else f"failed ({name})"
    return NotFoundError(f"The download of {wanted} from {_endpoint()} {why}.", hint="Check the network, then retry.")


@contextmanager
def _library_output(progress: bool) -> Iterator[None]:
    """Let huggingface_hub draw and log on stderr only where a progress bar is wanted."""
    from huggingface_hub.utils import logging
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if progress:
        yield
        return
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    # With this variable the user has decided, and the library warns whoever tries to.
    mute = "HF_HUB_DISABLE_PROGRESS_BARS" not in os.environ and not are_progress_bars_disabled()
    if mute:
        disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if mute:
            enable_progress_bars()

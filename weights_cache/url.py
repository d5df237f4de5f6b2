"""Download one file from a plain URL into torch.hub's folder."""

from __future__ import annotations

import hashlib
import ssl
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit, urlunsplit

from zoo.core.errors import InvalidInputError, NotFoundError, UsageError, ZooError
from zoo.core.files.atomic_output import OutputFile, atomic_output, cannot_write
from zoo.core.files.checksum import hash_in_name, verify
from zoo.weights_cache.hub_layout import is_sha256
from zoo.weights_cache.locate import UrlFile
from zoo.weights_cache.offline import is_offline
from zoo.weights_cache.time_limit import TimeUp, deadline, default_timeout, time_limit

_TIMEOUT = 10.0
_CHUNK = 1 << 20


def url_download(
    source: UrlFile, *, sha256: str, fresh: bool = False, timeout: float | None = None
) -> tuple[Path, str | None]:
    """Return the file behind a URL and its sha256 (None if no expected hash is known).

    The expected hash is `sha256`, else the one in the file name. An existing file is checked, not fetched again;
    `fresh` reads it even if an earlier check is remembered. `timeout` limits the download, in seconds.

    Raises:
        NotFoundError: the file is refused or absent, the server cannot be reached, or the download took too long.
        InvalidInputError: the hash differs from the expected one, or the scheme is not https. Nothing is replaced.
        CannotWriteError: the folder cannot be written.
    """
    target, expected = source.path, sha256 or hash_in_name(source.filename)
    if source.cached() is None:
        _download(source, target, expected, deadline(timeout))
    if not expected:
        return target, None
    advice = f"Delete it and run the command again: rm '{target}'"
    return target, verify(target, expected, advice=advice, fresh=fresh)


def fetch_url(url: str) -> Path:
    """Return the cached and checked file behind a URL, which must include a checksum.

    The sha256 follows the URL, `https://host/net.pth#sha256=<64 hex digits>`, or its beginning is in the file name, in
    torch.hub's style: `https://host/resnet34-b627a593.pth`.

    Raises:
        UsageError: there is no checksum. Otherwise as `url_download`, and NotFoundError while zoo is offline.
    """
    address, _, fragment = url.partition("#")
    require_safe(address)
    algorithm, _, digest = fragment.lower().partition("=")
    digest = digest if algorithm == "sha256" and is_sha256(digest) else ""
    source = UrlFile(address, digest)
    if not (digest or hash_in_name(source.filename)):
        raise UsageError(
            f"Nothing says what {source} should hold.",
            hint=_repository_hint(address)
            or f"Add its checksum: '{source}#sha256=<64 hex digits>', or download it and name the file.",
        )
    if is_offline() and source.cached() is None:
        raise NotFoundError(
            f"{source} is not on this machine as {source.path}, and zoo was told to stay offline.",
            hint="Run the command once with HF_HUB_OFFLINE=0 and a network.",
        )
    return url_download(source, sha256=digest, timeout=default_timeout())[0]


def _repository_hint(url: str) -> str:
    parts = urlsplit(url)
    owner, _, rest = parts.path.strip("/").partition("/")
    if parts.hostname != "huggingface.co" or not rest:
        return ""
    return f"Name the repository: hf-hub:{owner}/{rest.partition('/')[0]}"


def _download(source: UrlFile, target: Path, expected: str, until: float | None) -> None:
    require_safe(source.url)
    with _bounded(source, until):
        response = _open_url(source)
    with response:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(target, error) from error
        # `force` replaces only a file that another process has written meanwhile, which should be the same.
        with atomic_output(target, force=True) as output:
            with _bounded(source, until):
                digest = _copy(source, response, output)
            if not digest.startswith(expected.lower()):
                raise InvalidInputError(
                    f"{source} should have a sha256 that begins with {expected[:16]}, found {digest[:16]}.",
                    hint="The download is damaged or the file was replaced; try again, or ask its publisher.",
                )


@contextmanager
def _bounded(source: UrlFile, until: float | None) -> Iterator[None]:
    try:
        with time_limit(until, source.path.parent):
            yield
    except TimeUp as error:
        raise NotFoundError(
            f"{source} could not be downloaded in time: {error}.", hint="Check the network, or allow more time."
        ) from None


def _copy(source: UrlFile, response: HTTPResponse, output: OutputFile) -> str:
    """Write the body to disk and return its sha256."""
    digest, size = hashlib.sha256(), 0
    while chunk := _read(source, response):
        digest.update(chunk)
        output.write(chunk)
        size += len(chunk)
    length = response.headers.get("Content-Length", "")
    if length.isdigit() and size != int(length):
        raise NotFoundError(f"{source} broke off after {size} of {length} bytes.", hint="Try again.")
    return digest.hexdigest()


def _open_url(source: UrlFile) -> HTTPResponse:
    try:
        request = _request(source.url)
        response: HTTPResponse = urllib.request.build_opener(SafeRedirect).open(request, timeout=_TIMEOUT)
    except ZooError:
        raise
    except (OSError, HTTPException, ValueError) as error:
        raise _failure(source, error) from error
    return response


def _request(url: str) -> urllib.request.Request:
    """Return the request for a URL. A user and password become a header, which redirects do not pass on."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    address = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
    request = urllib.request.Request(address, headers={"User-Agent": "zoo"})
    if at:
        name, _, password = user.partition(":")
        token = b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    return request


def _read(source: UrlFile, response: HTTPResponse) -> bytes:
    # Kept apart from a failing disk, which raises the same class.
    try:
        # Read what has arrived, not a whole chunk: a slow trickle would keep this call from ever returning.
        return response.read1(_CHUNK)
    except (OSError, HTTPException) as error:
        raise _failure(source, error) from error


def _failure(source: UrlFile, error: Exception) -> ZooError:
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        refused = "refused" if error.code in (401, 403) else "not found" if error.code in (404, 410) else "failed"
        return NotFoundError(f"{source} was {refused} (HTTP {error.code}).", hint="Check the URL, or try again later.")
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        why = "the server did not answer in time"
    elif isinstance(reason, ssl.SSLError):
        why = "the server's certificate could not be verified"
    else:
        why = str(getattr(reason, "strerror", None) or type(reason).__name__)
    return NotFoundError(f"{source} could not be downloaded: {why}.", hint="Check the network, then try again.")


def require_safe(url: str, *, redirected_from: str = "") -> None:
    """Raise InvalidInputError unless a URL is https, because the file becomes a model; allow http on this machine."""
    parts = urlsplit(url)
    try:
        parts.port  # noqa: B018
    except ValueError:  # its text quotes a password that contains a slash
        raise InvalidInputError(
            "A URL of weights has a port that is no number.",
            hint="Write special characters of a user name or password as %XX.",
        ) from None
    local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
    if parts.scheme == "https" or (local and not redirected_from.startswith("https:")):
        return
    raise InvalidInputError(
        f"Weights are downloaded over https only, found a URL with {parts.scheme or 'no scheme'}.",
        hint="Download it first, and name the file.",
    )


class SafeRedirect(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to https, or from this machine to itself."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        require_safe(newurl, redirected_from=req.full_url)
        return super().redirect_request(req, fp, code, msg, headers, newurl)

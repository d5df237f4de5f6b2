"""A Hugging Face Hub on the loopback interface: enough of its protocol for the real client, and its faults."""

from __future__ import annotations

import hashlib
import re
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import NamedTuple

COMMIT = "c0ffee" + "0" * 34
_RESOLVE = re.compile(rf"/(.+)/resolve/(?:main|{COMMIT})/(.+)")


@dataclass
class HubFile:
    """What the server says about a file and does with it; by default the truth.

    `sent` is a body in place of the announced one. The body breaks off after `cut` bytes, or nothing comes after
    `stall` bytes. These three are for all downloads or the first `times`. `later_etag` is said from the second request
    on, `size` in place of the length. `location` redirects to another server. `ranges` answers a request for a part.
    `plain_etag` is the answer's own ETag where it is not the file's, which then stands in X-Linked-Etag alone. A `weak`
    one is said as such.
    """

    body: bytes
    etag: str = ""
    sent: bytes | None = None
    times: int = 1 << 30
    later_etag: str = ""
    size: int | str | None = None
    cut: int | None = None
    stall: int | None = None
    location: str = ""
    ranges: bool = False
    plain_etag: str = ""
    weak: bool = False

    def __post_init__(self) -> None:
        self.etag = self.etag or hashlib.sha256(self.body).hexdigest()


@dataclass
class FakeHub:
    """Serve `files` ("owner/name/file" -> HubFile); any other path is a plain file of `plain` ("/x.pth" -> bytes).

    `requests` records (method, path), `authorizations` the header of each request. `status` answers everything with
    an HTTP status and an X-Error-Code, and with `error_etag`; `body_status` downloads only. `commit` is said in place
    of COMMIT. `stalled` is set when a download has come to where it stalls; it goes on when `go_on` is.
    """

    files: dict[str, HubFile] = field(default_factory=dict)
    plain: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    status: tuple[int, str] | None = None
    error_etag: str = ""
    body_status: int | None = None
    commit: str | None = COMMIT
    requests: list[tuple[str, str]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    stalled: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> FakeHub:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def downloads(self) -> int:
        """How many bodies of Hub files were asked for."""
        return sum(method == "GET" and "/resolve/" in path for method, path in self.requests)


class Reply(NamedTuple):
    """A response; of its body only `sent` bytes come, then the connection ends, or stalls first."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    sent: int | None = None
    stalls: bool = False


def _answer(hub: FakeHub, method: str, path: str, part: str | None) -> Reply:
    if hub.status is not None:
        status, code = hub.status
        headers = {"X-Error-Code": code, "ETag": f'"{hub.error_etag}"' if hub.error_etag else ""}
        return Reply(status, {name: value for name, value in headers.items() if value})
    if path in hub.redirects:
        return Reply(302, {"Location": hub.redirects[path]})
    if path in hub.plain:
        return Reply(200, {}, hub.plain[path])
    found = _RESOLVE.fullmatch(path)
    repo, name = found.groups() if found else ("", "")
    if not any(known.startswith(f"{repo}/") for known in hub.files):
        return Reply(404, {"X-Error-Code": "RepoNotFound"})
    file = hub.files.get(f"{repo}/{name}")
    if file is None:
        return Reply(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": hub.commit})
    reply = _file_reply(hub, file, method)
    if file.ranges and method == "GET" and part and reply.status == 200:
        start, end = map(int, part.removeprefix("bytes=").split("-"))
        return reply._replace(status=206, body=reply.body[start : end + 1])
    return reply


def _file_reply(hub: FakeHub, file: HubFile, method: str) -> Reply:
    size = len(file.body) if file.size is None else file.size
    etag = f'{"W/" if file.weak else ""}"{file.etag}"'
    headers = {"X-Repo-Commit": hub.commit, "ETag": etag, "X-Linked-Size": str(size)}
    if file.plain_etag:
        headers |= {"ETag": f'"{file.plain_etag}"', "X-Linked-Etag": etag}
    if hub.commit is None:
        del headers["X-Repo-Commit"]
    file.etag = file.later_etag or file.etag
    if file.location:
        return Reply(302, {"X-Linked-Etag": etag} | headers | {"Location": file.location})
    if method == "HEAD":
        return Reply(200, headers, file.body)
    if hub.body_status is not None:
        return Reply(hub.body_status, {})
    if file.times <= 0:
        return Reply(200, headers, file.body)
    file.times -= 1
    body = file.body if file.sent is None else file.sent
    return Reply(200, headers, body, file.cut if file.stall is None else file.stall, file.stall is not None)


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Stay silent."""

        def _reply(self) -> None:
            hub.requests.append((self.command, self.path))
            hub.authorizations.append(self.headers.get("Authorization"))
            reply = _answer(hub, self.command, self.path, self.headers.get("Range"))
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            with suppress(ConnectionError):  # the client was killed
                self.wfile.write(reply.body[: reply.sent])
                if reply.stalls:
                    hub.stalled.set()
                    hub.go_on.wait(60)

        do_HEAD = do_GET = _reply  # noqa: N815

    return Handler

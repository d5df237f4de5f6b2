"""A Hugging Face Hub on the loopback interface: enough of its protocol for the real client, and its faults."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

COMMIT = "c0ffee" + "0" * 34


@dataclass
class HubFile:
    """What the server says about a file; by default the truth."""

    body: bytes
    etag: str = ""
    sent: bytes | None = None
    """The body that is sent in place of the announced one."""

    def __post_init__(self) -> None:
        self.etag = self.etag or hashlib.sha256(self.body).hexdigest()


@dataclass
class FakeHub:
    """Serve `files` ("owner/name/file" -> HubFile); any other path is a plain file of `plain` ("/x.pth" -> bytes).

    `requests` records (method, path), `authorizations` the header of each request. `status` answers everything with
    an HTTP status and an X-Error-Code.
    """

    files: dict[str, HubFile] = field(default_factory=dict)
    plain: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    status: tuple[int, str] | None = None
    requests: list[tuple[str, str]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)

    def __enter__(self) -> FakeHub:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
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


Reply = tuple[int, dict[str, str], bytes]


def _answer(hub: FakeHub, path: str) -> Reply:
    repo, resolve, name = path.strip("/").partition("/resolve/main/")
    if hub.status is not None:
        status, code = hub.status
        return status, {"X-Error-Code": code} if code else {}, b""
    if path in hub.redirects:
        return 302, {"Location": hub.redirects[path]}, b""
    if path in hub.plain:
        return 200, {}, hub.plain[path]
    if not resolve or not any(known.startswith(f"{repo}/") for known in hub.files):
        return 404, {"X-Error-Code": "RepoNotFound"}, b""
    file = hub.files.get(f"{repo}/{name}")
    if file is None:
        return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b""
    headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{file.etag}"', "X-Linked-Size": str(len(file.body))}
    return 200, headers, file.body if file.sent is None else file.sent


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Stay silent."""

        def _reply(self, send: Callable[[bytes], object] | None) -> None:
            hub.requests.append((self.command, self.path))
            hub.authorizations.append(self.headers.get("Authorization"))
            status, headers, body = _answer(hub, self.path)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if send is not None:
                send(body)

        def do_HEAD(self) -> None:
            self._reply(None)

        def do_GET(self) -> None:
            self._reply(self.wfile.write)

    return Handler

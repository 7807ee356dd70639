"""A front before an S3 server that behaves as some other server was seen to behave, and passes on all else.

The server behind it must not check signatures of requests that the front changes, which moto does not.
"""

from __future__ import annotations

import http.client
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.patience import HANG
from vmkeep.testing.servers import S3Server

_PATIENCE = 30.0
"""Seconds for which a creator waits for a rival; where one comes, it waits no longer than for that one."""


@dataclass(frozen=True)
class Request:
    """Request of a client."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def creates(self) -> bool:
        """Whether it is to create what is absent, and nothing else."""
        return self.method == "PUT" and self.headers.get("if-none-match") == "*"

    @property
    def deletes(self) -> bool:
        """Whether it removes objects, one or several."""
        return self.method == "DELETE" or (self.method == "POST" and "delete" in urlsplit(self.path).query)

    @property
    def copies(self) -> bool:
        """Whether it makes an object of another one."""
        return "x-amz-copy-source" in self.headers


@dataclass(frozen=True)
class Reply:
    """Answer of a server."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)


def refusal(status: int, code: str, message: str = "no") -> Reply:
    """An error as S3 servers word it."""
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
    return Reply(status, {"Content-Type": "application/xml"}, body)


Behaviour = Callable[[Request, Callable[[Request], Reply]], Reply]
"""Answers a request; may ask the server behind, with this request or another one."""


def refusing(which: Callable[[Request], bool], status: int, code: str, message: str = "no") -> Behaviour:
    """Refuse some requests."""
    return lambda request, ask: refusal(status, code, message) if which(request) else ask(request)


def without_condition(request: Request) -> Request:
    """The same request, which overwrites."""
    return replace(request, headers={name: value for name, value in request.headers.items() if name != "if-none-match"})


def overwriting(request: Request, ask: Callable[[Request], Reply]) -> Reply:
    """Take the condition, and overwrite all the same."""
    return ask(without_condition(request))


def _look(request: Request) -> Request:
    """Ask whether the object is there."""
    left_out = ("if-none-match", "content-length", "content-type")
    headers = {name: value for name, value in request.headers.items() if name not in left_out}
    return replace(request, method="HEAD", body=b"", headers=headers)


class NotAtOnce:
    """Creates what is absent as long as creators come one by one; of several at once it lets all do so.

    Creators of the first key are expected to come one by one, and of all others at once.
    """

    def __init__(self) -> None:
        self._alone = ""
        self._rivals: dict[str, threading.Event] = defaultdict(threading.Event)
        self._came: dict[str, int] = defaultdict(int)
        self._lock = threading.Lock()

    def __call__(self, request: Request, ask: Callable[[Request], Reply]) -> Reply:
        if not request.creates:
            return ask(request)
        with self._lock:
            self._alone = self._alone or request.path
            self._came[request.path] += 1
            if self._came[request.path] > 1:
                self._rivals[request.path].set()
        if ask(_look(request)).status == 200:
            return refusal(412, "PreconditionFailed")
        if request.path != self._alone:
            self._rivals[request.path].wait(_PATIENCE)
        return ask(without_condition(request))


@contextmanager
def front(server: S3Server, behaviour: Behaviour) -> Iterator[S3Server]:
    """Put such a front before a server; everything goes through it."""
    target = urlsplit(server.endpoint).netloc

    def ask(request: Request) -> Reply:
        connection = http.client.HTTPConnection(target, timeout=HANG)
        try:
            connection.request(request.method, request.path, request.body or None, request.headers)
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = behaviour(Request(self.command, self.path, headers, body), ask)
            kept = {name.lower(): value for name, value in reply.headers.items()}
            length = kept.pop("content-length", "0") if self.command == "HEAD" else str(len(reply.body))
            self.send_response(reply.status)
            for name, value in (kept | {"content-length": length}).items():
                if name not in ("connection", "transfer-encoding", "date", "server"):
                    self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    for method in ("GET", "PUT", "HEAD", "DELETE", "POST"):
        setattr(Handler, f"do_{method}", Handler.handle_one)
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield replace(server, endpoint=f"http://127.0.0.1:{listening.server_port}")
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()

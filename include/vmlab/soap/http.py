"""HTTP/1.1 as the lab needs it: keep-alive, chunked and sized bodies, `Expect: 100-continue`, streamed answers.

Replaces `http.server`, because its parsing of headers alone costs more than reading a property. Knows no SOAP.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import BinaryIO, Protocol

MAX_LINE = 65536
MAX_HEADERS = 200
SOAP_BODY_LIMIT = 64 << 20
"""Bytes of one SOAP request that are read at most."""


class BadRequestError(Exception):
    """The peer does not speak HTTP/1.1. The connection is closed."""


class Writer(Protocol):
    """The sink of answers: a TLS socket."""

    def sendall(self, data: bytes, /) -> None:
        """Send all of it."""


class Body:
    """A request's body, which can be read once, without its chunked coding."""

    def __init__(self, source: BinaryIO, headers: dict[str, str], send: Callable[[bytes], None]) -> None:
        self._source = source
        self._chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        try:
            self._left = 0 if self._chunked else int(headers.get("content-length") or 0)
        except ValueError:
            raise BadRequestError("Content-Length is not a number") from None
        self._done = not self._chunked and self._left == 0
        self._continue = send if headers.get("expect", "").lower() == "100-continue" and not self._done else None

    def read(self, size: int = 1 << 62) -> bytes:
        """Up to `size` bytes; empty only at the end."""
        if self._continue is not None:
            self._continue(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._continue = None
        parts: list[bytes] = []
        while size > 0 and not self._done:
            if self._left == 0:
                self._next_chunk()
                continue
            piece = self._source.read(min(size, self._left, 1 << 20))
            if not piece:
                raise BadRequestError("the body ends early")
            parts.append(piece)
            size -= len(piece)
            self._left -= len(piece)
            if self._left == 0:
                self._end_piece()
        return b"".join(parts)

    def skip(self, limit: int) -> None:
        """Read and forget up to `limit` bytes. Reads nothing if the peer waits for leave to send them."""
        while self._continue is None and limit > 0 and (piece := self.read(min(limit, 1 << 20))):
            limit -= len(piece)

    @property
    def finished(self) -> bool:
        """Whether the body was read to its end, so that the next request can be read from this connection."""
        return self._done

    def _next_chunk(self) -> None:
        try:
            self._left = int(self._source.readline(MAX_LINE).split(b";")[0], 16)
        except ValueError:
            raise BadRequestError("bad chunk length") from None
        if self._left == 0:
            while self._source.readline(MAX_LINE).strip():
                pass  # trailers
            self._done = True

    def _end_piece(self) -> None:
        if self._chunked:
            self._source.readline(MAX_LINE)
        else:
            self._done = True


@dataclass(slots=True, kw_only=True)
class HttpRequest:
    """A request. Header names are lower-case, and `target` is still percent-encoded."""

    method: str
    target: str
    headers: dict[str, str]
    body: Body
    client: str


@dataclass(slots=True, kw_only=True)
class HttpResponse:
    """An answer. An iterable `body` needs a `length`; `drop` closes the connection unanswered."""

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    content_type: str = "text/xml; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    drop: bool = False


def read_request(source: BinaryIO, client: str, send: Callable[[bytes], None]) -> HttpRequest | None:
    """The next request of a connection, or None at its end. Raises BadRequestError."""
    line = source.readline(MAX_LINE)
    if not line:
        return None
    words = line.decode("latin-1").split()
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadRequestError("bad request line")
    headers: dict[str, str] = {}
    for _ in range(MAX_HEADERS):
        line = source.readline(MAX_LINE)
        if line in (b"\r\n", b"\n"):
            break
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon:
            raise BadRequestError("bad header line")
        headers[name.strip().lower()] = value.strip()
    else:
        raise BadRequestError("too many headers")
    if words[2] == "HTTP/1.0" and "connection" not in headers:
        headers["connection"] = "close"
    body = Body(source, headers, send)
    return HttpRequest(method=words[0], target=words[1], headers=headers, body=body, client=client)


def send_response(sink: Writer, request: HttpRequest, response: HttpResponse, *, close: bool) -> None:
    """Send status, headers and body; a HEAD request gets the headers of a GET and no body."""
    whole = response.body if isinstance(response.body, bytes) else None
    length = len(whole) if whole is not None and response.length is None else response.length
    lines = [
        f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {length}",
        f"Connection: {'close' if close else 'keep-alive'}",
        *(f"{name}: {value}" for name, value in response.headers.items()),
    ]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    if request.method == "HEAD":
        sink.sendall(head)
    elif whole is not None:
        sink.sendall(head + whole)
    else:
        sink.sendall(head)
        for piece in response.body:
            assert isinstance(piece, bytes)
            sink.sendall(piece)


def plain(status: int, text: str, headers: dict[str, str] | None = None) -> HttpResponse:
    """A short answer of plain text."""
    body = f"{text}\n".encode() if text else b""
    return HttpResponse(status=status, body=body, content_type="text/plain; charset=utf-8", headers=headers or {})

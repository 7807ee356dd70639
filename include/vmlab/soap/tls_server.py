"""The TLS listener: one thread per connection, handshakes off the accept thread, keep-alive, no Nagle delay.

Hands every request to one callable; knows neither SOAP nor the lab.
"""

import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from typing import BinaryIO, cast

from vmlab.soap.certificate import Certificate
from vmlab.soap.http import BadRequestError, HttpRequest, HttpResponse, read_request, send_response

log = logging.getLogger(__name__)

IDLE_SECONDS = 600.0
LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - only if its user asks for it
HANDSHAKE_SECONDS = 10.0
LINGER_SECONDS = 5.0
LINGER_BYTES = 64 << 20
"""The server reads on after a refusal, because a peer that is still sending would lose the answer if it closed."""


class TlsServer:
    """Serves `handler` over TLS. The port is bound at once; `stop` returns when all is closed."""

    def __init__(
        self,
        certificate: Certificate,
        handler: Callable[[HttpRequest], HttpResponse],
        port: int = 0,
        *,
        address: str = LOOPBACK,
    ) -> None:
        self._handler = handler
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate.certificate, certificate.key)
        self._listener = socket.create_server((address, port), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._connections: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._stopping = False
        self._thread = threading.Thread(target=self._accept, name="vmlab-accept", daemon=True)

    def show(self, certificate: Certificate) -> None:
        """Show another certificate from the next connection on. Open connections stay."""
        self._context.load_cert_chain(certificate.certificate, certificate.key)

    def start(self) -> None:
        """Begin to accept connections."""
        self._thread.start()

    def stop(self) -> None:
        """Stop accepting, close every connection."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._guard:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join(5)

    def _accept(self) -> None:
        while not self._stopping:
            try:
                raw, address = self._listener.accept()
            except OSError:
                if not self._stopping:
                    log.exception("accept failed")
                return
            threading.Thread(target=self._serve, args=(raw, address[0]), name="vmlab-http", daemon=True).start()

    def _serve(self, raw: socket.socket, client: str) -> None:
        with self._guard:
            self._connections.add(raw)
        try:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.settimeout(HANDSHAKE_SECONDS)
            with self._context.wrap_socket(raw, server_side=True) as tls:
                with self._guard:
                    self._connections.discard(raw)
                    self._connections.add(tls)
                raw = tls
                tls.settimeout(IDLE_SECONDS)
                with tls.makefile("rb", buffering=65536) as source:
                    self._converse(tls, cast("BinaryIO", source), client)
        except (OSError, BadRequestError) as error:
            log.debug("connection from %s ended: %s", client, error)
        finally:
            with self._guard:
                self._connections.discard(raw)
            raw.close()

    def _converse(self, tls: ssl.SSLSocket, source: BinaryIO, client: str) -> None:
        while not self._stopping:
            request = read_request(source, client, tls.sendall)
            if request is None:
                return
            response = self._handler(request)
            if response.drop:
                return
            close = not request.body.finished or request.headers.get("connection", "").lower() == "close"
            send_response(tls, request, response, close=close)
            if close:
                tls.settimeout(LINGER_SECONDS)
                request.body.skip(LINGER_BYTES)
                return

"""A TCP proxy that loses replies: the server does the work, and the client does not learn of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Lossy:
    """Passes all bytes on to a server and back, but cuts the connection instead of the next ``lose`` replies."""

    def __init__(self, port: int) -> None:
        """Listen on a free port of 127.0.0.1.

        :param port: the server's port on 127.0.0.1.
        """
        self.lose = 0
        """Number of replies that are still to be lost."""
        self.lost = 0
        """Number of replies that were lost so far."""
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                threading.Thread(target=self._pump, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, True), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, replies: bool) -> None:
        with source, sink, suppress(OSError):
            while data := source.recv(1 << 16):
                if replies and self._loses():
                    break
                sink.sendall(data)
            for each in (source, sink):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _loses(self) -> bool:
        with self._lock:
            if not self.lose:
                return False
            self.lose -= 1
            self.lost += 1
            return True

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()


@contextmanager
def lossy(port: int) -> Iterator[Lossy]:
    """Run a proxy that can lose replies, in front of a server on a port of 127.0.0.1."""
    proxy = Lossy(port)
    try:
        yield proxy
    finally:
        proxy.close()

"""A TCP proxy that holds back every request for some time, as a network of that latency would.

Written for HTTP/1.1, where a connection carries one request at a time: what a client sends after an answer (or first of
all) begins a request. Bytes go through pipes inside the kernel, so that the proxy costs little beside what is measured.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import threading
import time
from contextlib import suppress
from typing import Self

_PIPE = 1 << 20


class DelayProxy:
    """Listens on a free port of 127.0.0.1 while it is entered."""

    def __init__(self, port: int, *, seconds: float) -> None:
        """Take the port on 127.0.0.1 to forward to, and how long to hold back each request."""
        self._target = ("127.0.0.1", port)
        self._seconds = seconds
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        """Begin to forward."""
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop listening and cut what is open."""
        for each in (self._listener, *self._connections):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                for each in (client, server):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connections += [client, server]
                answered = threading.Event()
                answered.set()
                for pump in (self._ask, self._answer):
                    threading.Thread(target=pump, args=(client, server, answered), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket, answered: threading.Event) -> None:
        with suppress(OSError, ValueError), _Pipe() as pipe:
            while True:
                select.select([client], [], [])
                if answered.is_set():
                    answered.clear()
                    time.sleep(self._seconds)
                if not pipe.move(client, server):
                    break
        with suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _answer(self, client: socket.socket, server: socket.socket, answered: threading.Event) -> None:
        with suppress(OSError, ValueError), _Pipe() as pipe:
            while True:
                select.select([server], [], [])
                answered.set()
                if not pipe.move(server, client):
                    break
        with suppress(OSError):
            client.shutdown(socket.SHUT_WR)


class _Pipe:
    """Moves bytes from one socket to another without copying them into this process."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe()
        fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, _PIPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._out)
        os.close(self._in)

    def move(self, source: socket.socket, target: socket.socket) -> int:
        """Move what is there, and wait for some if there is nothing; return how much, 0 at the end."""
        count = left = os.splice(source.fileno(), self._in, _PIPE)
        while left:
            left -= os.splice(self._out, target.fileno(), left)
        return count

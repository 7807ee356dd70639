"""Accepts clients, and gives each a thread of its own that shakes hands and serves it.

Whatever a client does, the others go on: a client waits for its own threads alone, its handshake has a deadline, and
the number of clients has a limit. Clients that have not chosen a disk yet are counted apart, because anyone who reaches
a port can be one: if there are too many of these, the oldest is cut off to make room for the newest. The end of the
server ends all of them: requests at work are answered first, if that takes no longer than a few seconds.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from struct import Struct
from threading import Lock, Thread
from typing import Final, Protocol

from vmkeep.lateclass import dataclass
from vmkeep.nbd.channel import GoneError, Line, PlainChannel
from vmkeep.nbd.conversation import Conversation
from vmkeep.nbd.exports import Export, Exports
from vmkeep.nbd.handshake import Agreement, Handshake
from vmkeep.nbd.keys import Keys
from vmkeep.nbd.performing import Performer

MAX_CLIENTS: Final = 32
"""Connections at a time, if nobody says otherwise. nbdcopy opens 4, QEMU one for each disk."""
MAX_HANDSHAKES: Final = 64
"""Most handshakes at a time. One takes milliseconds, so the oldest of this many is a client that says nothing."""
HANDSHAKE_SECONDS: Final = 30.0
_LAST_REPLIES_SECONDS: Final = 5.0
"""How long the end of the server waits for requests that are at work."""
_AFTER_ERROR_SECONDS: Final = 0.2
"""Pause after a connection could not be accepted, e.g. because too many files are open."""
_CREDENTIALS: Final = Struct("iII")


@dataclass(frozen=True, slots=True)
class Client:
    """A connection."""

    number: int
    """Counted from 1."""
    peer: str
    """Where it comes from: an address with a port, or a process of this machine."""


class Watcher(Protocol):
    """Hears what happens at a server. Many threads call it."""

    def opened(self, client: Client, export: Export) -> None:
        """Hear that a client has chosen an export."""

    def closed(self, client: Client, export: Export | None, *, bytes_read: int, why: str) -> None:
        """Hear that a client is gone.

        :param export: the export that it had chosen; ``None``: its handshake failed, or it only looked at the list.
        :param bytes_read: bytes of data that it has read; holes do not count.
        """

    def turned_away(self, peer: str) -> None:
        """Hear that a client was sent away, because there are as many as there may be."""

    def failed(self, export: Export, error: Exception) -> None:
        """Hear that a request failed, for example because a block is damaged. The client got an error."""


class Server:
    """Serves exports on one listening socket."""

    def __init__(
        self,
        exports: Exports,
        listener: socket.socket,
        watcher: Watcher,
        *,
        keys: Keys | None = None,
        max_clients: int = MAX_CLIENTS,
        handshake_seconds: float = HANDSHAKE_SECONDS,
    ) -> None:
        self._exports = exports
        self._listener = listener
        self._watcher = watcher
        self._tls = None
        if keys is not None:
            from vmkeep.nbd.tls import TlsServer  # loads OpenSSL

            self._tls = TlsServer(keys)
        self._max_clients = max_clients
        self._handshake_seconds = handshake_seconds
        self._lock = Lock()
        self._lines: dict[int, tuple[Line, Thread]] = {}
        """The clients that are here, by number."""
        self._shaking: dict[int, Line] = {}
        """Those that have not chosen a disk yet, the oldest first."""
        self._inside: set[int] = set()
        """The numbers of those that have a disk."""
        self._count = 0
        self._closing = False
        self._wake, self._woken = socket.socketpair()
        self._accepting = Thread(target=self._accept, name="nbd-accept", daemon=True)

    def start(self) -> None:
        """Begin to accept clients."""
        self._accepting.start()

    def close(self) -> None:
        """Accept nobody any more, answer the requests that are at work, and end all connections."""
        self._closing = True
        self._wake.send(b"\0")
        self._accepting.join()
        self._cut_all(socket.SHUT_RD)  # no further request arrives
        deadline = time.monotonic() + _LAST_REPLIES_SECONDS
        for thread in self._threads():
            thread.join(max(deadline - time.monotonic(), 0))
        self._cut_all(socket.SHUT_RDWR)  # those that take no reply
        for thread in self._threads():
            thread.join(_LAST_REPLIES_SECONDS)  # a thread that still reads a store ends with the process
        self._wake.close()
        self._woken.close()

    def _threads(self) -> list[Thread]:
        with self._lock:
            return [thread for _line, thread in self._lines.values()]

    def _cut_all(self, how: int) -> None:
        with self._lock:
            for line, _thread in self._lines.values():
                line.cut(how)

    def _accept(self) -> None:
        self._listener.setblocking(False)
        with selectors.DefaultSelector() as ready:
            ready.register(self._listener, selectors.EVENT_READ)
            ready.register(self._woken, selectors.EVENT_READ)
            while not self._closing:
                ready.select()
                try:
                    connected, address = self._listener.accept()
                except BlockingIOError:  # the client is gone already, or the server is to end
                    continue
                except OSError:
                    time.sleep(_AFTER_ERROR_SECONDS)
                    continue
                self._welcome(connected, address)

    def _welcome(self, connected: socket.socket, address: object) -> None:
        connected.setblocking(True)
        peer = _name(connected, address)
        line = Line(connected, deadline=time.monotonic() + self._handshake_seconds)
        with self._lock:
            if not self._full():
                if len(self._shaking) >= MAX_HANDSHAKES:
                    self._shaking.pop(next(iter(self._shaking))).cut()
                self._count += 1
                client = Client(self._count, peer)
                thread = Thread(target=self._serve, args=(client, line), name="nbd-client", daemon=True)
                with suppress(RuntimeError):  # the machine has no room for a thread
                    thread.start()
                    self._lines[client.number] = line, thread
                    self._shaking[client.number] = line
                    return
        line.close()
        self._watcher.turned_away(peer)

    def _full(self) -> bool:
        """Return whether as many clients have a disk as may have one. Call it under the lock."""
        return len(self._inside) >= self._max_clients

    def _let_in(self, client: Client) -> bool:
        """Count a client among those that have a disk, if there is room."""
        with self._lock:
            if self._full():
                return False
            self._shaking.pop(client.number, None)
            self._inside.add(client.number)
            return True

    def _serve(self, client: Client, line: Line) -> None:
        export: Export | None = None
        count, why = 0, "disconnected"
        try:
            agreed = self._shake_hands(line)
            if agreed is not None and not self._let_in(client):
                why = "there are too many clients"
                self._watcher.turned_away(client.peer)
            elif agreed is not None:
                export = agreed.export
                line.relax()
                self._watcher.opened(client, export)
                count, why = self._converse(agreed, line)
        except GoneError as error:  # during the handshake: a conversation raises none
            why = str(error)
        finally:
            with self._lock:
                self._lines.pop(client.number, None)
                self._shaking.pop(client.number, None)
                self._inside.discard(client.number)
            line.close()
            self._watcher.closed(client, export, bytes_read=count, why=why)

    def _shake_hands(self, line: Line) -> Agreement | None:
        start_tls = (lambda tls: lambda: tls.shake_hands(line))(self._tls) if self._tls is not None else None
        return Handshake(PlainChannel(line), self._exports, start_tls).run()

    def _converse(self, agreed: Agreement, line: Line) -> tuple[int, str]:
        performer = Performer(
            agreed.export,
            agreed.channel,
            structured=agreed.structured,
            allocation=agreed.allocation,
            on_failure=self._watcher.failed,
        )
        conversation = Conversation(agreed.channel, performer, cut=line.cut)
        conversation.run()
        with suppress(GoneError):
            agreed.channel.end()
        return performer.bytes_read, conversation.why


@contextmanager
def serving(
    exports: Exports,
    listener: socket.socket,
    watcher: Watcher,
    *,
    keys: Keys | None = None,
    max_clients: int = MAX_CLIENTS,
) -> Iterator[None]:
    """Serve exports in threads of this process while the context lasts.

    :param keys: clients must go over to TLS and know one of these; ``None``: there is no TLS.
    """
    server = Server(exports, listener, watcher, keys=keys, max_clients=max_clients)
    server.start()
    try:
        yield
    finally:
        server.close()


def _name(connected: socket.socket, address: object) -> str:
    """Return words for where a client comes from, and make a dead client's connection end by itself."""
    if connected.family == socket.AF_UNIX:
        credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return f"process {_CREDENTIALS.unpack(credentials)[0]}"
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    assert isinstance(address, tuple)
    return f"{address[0]} port {address[1]}"

"""A connection to a client, as bytes that arrive in full and bytes that leave in full.

A channel has one reader at a time, which its owner sees to. Any thread may send; a message leaves in one piece.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Sequence
from threading import Lock
from typing import Protocol, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview


class GoneError(Exception):
    """The client is gone, broke the protocol beyond repair, or took too long to shake hands."""


class Channel(Protocol):
    """A connection, with TLS or without."""

    def receive(self, view: memoryview) -> None:
        """Fill a buffer.

        :raises GoneError: the connection ended before that.
        """

    def send(self, *parts: Buffer) -> None:
        """Send a message.

        :raises GoneError: the connection ended.
        """

    def stream(self, parts: Iterable[Buffer]) -> None:
        """Send a message whose parts are made while it is sent. Each part may reuse the buffer of the last one."""

    def end(self) -> None:
        """Tell the client, if there is a way to, that nothing follows."""


class Line:
    """A socket whose every wait ends: at a deadline in the handshake, and afterwards when :meth:`cut` is called."""

    def __init__(self, connected: socket.socket, *, deadline: float) -> None:
        """:param deadline: monotonic time by which the handshake must be over."""
        self._socket = connected
        self._deadline: float | None = deadline

    def relax(self) -> None:
        """Wait as long as it takes from now on, because a client may be idle for days."""
        self._deadline = None
        self._socket.settimeout(None)

    def read(self, view: memoryview) -> int:
        """Read some bytes into a buffer. Return their number; 0: the client sends no more."""
        try:
            self._set_timeout()
            return self._socket.recv_into(view)
        except OSError as error:
            raise GoneError(_words(error)) from error

    def write(self, parts: Sequence[Buffer]) -> None:
        """Write buffers, one after the other, in full."""
        left = [memoryview(part) for part in parts if len(part)]
        try:
            while left:
                self._set_timeout()
                sent = self._socket.sendmsg(left)
                while left and sent >= len(left[0]):
                    sent -= len(left.pop(0))
                if sent:
                    left[0] = left[0][sent:]
        except OSError as error:
            raise GoneError(_words(error)) from error

    def cut(self, how: int = socket.SHUT_RDWR) -> None:
        """End the connection in one or both directions. Whoever waits for it is woken."""
        try:
            self._socket.shutdown(how)
        except OSError:  # it has ended already
            pass

    def close(self) -> None:
        """Give the socket back. Nobody may use it any more."""
        self._socket.close()

    def _set_timeout(self) -> None:
        if self._deadline is not None:
            self._socket.settimeout(max(self._deadline - time.monotonic(), 0.001))


class PlainChannel:
    """A connection without TLS."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._sending = Lock()

    def receive(self, view: memoryview) -> None:
        """Fill a buffer."""
        while view:
            if not (count := self._line.read(view)):
                raise GoneError("the client closed the connection")
            view = view[count:]

    def send(self, *parts: Buffer) -> None:
        """Send a message."""
        with self._sending:
            self._line.write(parts)

    def stream(self, parts: Iterable[Buffer]) -> None:
        """Send a message whose parts are made while it is sent."""
        with self._sending:
            for part in parts:
                self._line.write((part,))

    def end(self) -> None:
        """Do nothing, because the end of the connection says it."""


def _words(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "the client took too long to shake hands"
    return error.strerror or str(error)

"""The second phase of a connection: requests and replies, until the client leaves.

The threads of a connection take turns. One of them waits for the next request; when it has it, it lets the next thread
wait, carries the request out, and replies. So a client has as many requests at work as the connection has threads, and
the others wait in its socket. A client that takes no replies stops its own threads only. A new thread is started when
a request arrives and no other thread waits for the next, so a client that sends one request at a time holds two.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Lock, Thread
from typing import Final

from vmkeep.nbd.channel import Channel, GoneError
from vmkeep.nbd.performing import Performer, Scratch
from vmkeep.nbd.requests import NotARequestError, Request, parse_request
from vmkeep.nbd.wire import REQUEST, Command

THREADS: Final = 16
"""Most threads of one connection. QEMU keeps 16 requests in flight."""


class Conversation:
    """The requests of one client."""

    def __init__(self, channel: Channel, performer: Performer, *, cut: Callable[[], None]) -> None:
        """:param cut: ends the connection, so that all threads that wait for it go on."""
        self._channel = channel
        self._cut = cut
        self._performer = performer
        self._turn = Lock()
        self._counting = Lock()
        self._waiting = 0
        self._others: list[Thread] = []
        self._ended = False
        self.why = "disconnected"
        """The reason of the end, for people."""

    def run(self) -> None:
        """Carry out requests until the client leaves, and return when the last reply is out."""
        self._work()
        for thread in self._others:  # none is added any more, because the conversation has ended
            thread.join()

    def _work(self) -> None:
        scratch = Scratch()
        try:
            while (taken := self._next(scratch)) is not None:
                request, failure = taken
                self._performer.perform(request, scratch, failure)
        except GoneError as error:
            self._end(str(error))
            self._cut()

    def _end(self, why: str) -> None:
        """Note the first reason for the end. A thread that still waits for a request hears of it from the socket."""
        if not self._ended:
            self.why, self._ended = why, True

    def _next(self, scratch: Scratch) -> tuple[Request, Exception | None] | None:
        """Wait for this thread's turn and for a request; ``None``: there is none any more."""
        with self._counting:
            self._waiting += 1
        with self._turn:
            try:
                taken = None if self._ended else self._receive(scratch)
                self._ended = self._ended or taken is None
            except (GoneError, NotARequestError) as error:
                self._end(str(error))
                return None
            finally:
                self._make_room()
        return taken

    def _receive(self, scratch: Scratch) -> tuple[Request, Exception | None] | None:
        header = bytearray(REQUEST.size)
        self._channel.receive(memoryview(header))
        request = parse_request(header)
        if request.command == Command.DISCONNECT:
            return None
        failure = self._performer.take_data(request, scratch) if request.command == Command.WRITE else None
        return request, failure

    def _make_room(self) -> None:
        """Start a thread if the next request would find none that waits for it."""
        with self._counting:
            self._waiting -= 1
            if self._waiting or self._ended or len(self._others) == THREADS - 1:
                return
            thread = Thread(target=self._work, name="nbd-requests", daemon=True)
            with suppress(RuntimeError):  # the machine has no room for a thread: the present ones do the work
                thread.start()
                self._others.append(thread)

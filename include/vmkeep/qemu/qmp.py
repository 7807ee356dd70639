"""A client of QEMU's machine protocol (QMP): one JSON document a line, over a socket.

Source of the format: QEMU's documentation, "QEMU Machine Protocol Specification".
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import deque
from typing import Any, Final

from vmkeep.errors import DeadlineError, TransferError

_LONGEST_LINE: Final = 4 << 20
_MOST_EVENTS: Final = 1000
_PIECE: Final = 1 << 16


class Qmp:
    """A connection to one QEMU. Thread-safe; every wait has an end."""

    def __init__(self, connection: socket.socket, *, seconds: float) -> None:
        """Read QEMU's greeting from a connected socket, which its owner closes at the end.

        :param seconds: longest wait for each answer.
        :raises TransferError: QEMU ended, or spoke something else.
        :raises DeadlineError: QEMU did not answer in time.
        """
        self._connection = connection
        self._seconds = seconds
        self._lock = threading.Lock()
        self._rest = bytearray()
        self._events: deque[dict[str, Any]] = deque(maxlen=_MOST_EVENTS)
        if "QMP" not in self._document(time.monotonic() + seconds):
            raise TransferError("QEMU did not greet as its protocol demands")
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: Any) -> Any:
        """Run a command and return its result.

        :raises TransferError: QEMU refused the command, or ended.
        :raises DeadlineError: there was no answer in time. The connection must not be used any more.
        """
        with self._lock:
            end = time.monotonic() + self._seconds
            line = json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n"
            try:
                self._connection.settimeout(self._seconds)
                self._connection.sendall(line)
            except OSError as error:
                raise TransferError(f"QEMU took no command '{command}': {error.strerror or error}") from error
            while True:
                answer = self._document(end)
                if "event" in answer:
                    self._events.append(answer)
                elif "error" in answer:
                    raise TransferError(f"QEMU refused '{command}': {answer['error'].get('desc', 'no reason given')}")
                else:
                    return answer.get("return")

    def events(self) -> list[dict[str, Any]]:
        """Return the events since the last call, oldest first; of too many, the newest."""
        self.execute("query-status")  # because events come before the answer to it
        with self._lock:
            found = list(self._events)
            self._events.clear()
        return found

    def _document(self, end: float) -> dict[str, Any]:
        """Return the next document.

        :param end: monotonic time at which to give up.
        """
        while (stop := self._rest.find(b"\n")) < 0:
            left = end - time.monotonic()
            if left <= 0:
                raise DeadlineError(waiting_for="an answer from QEMU", seconds=self._seconds)
            if len(self._rest) > _LONGEST_LINE:
                raise TransferError(f"QEMU's answer has more than {_LONGEST_LINE} bytes")
            self._connection.settimeout(left)
            try:
                piece = self._connection.recv(_PIECE)
            except TimeoutError:
                continue
            except OSError as error:
                raise TransferError(f"QEMU ended: {error.strerror or error}") from error
            if not piece:
                raise TransferError("QEMU ended")
            self._rest += piece
        line = bytes(self._rest[:stop])
        del self._rest[: stop + 1]
        try:
            document = json.loads(line)
        except ValueError as error:
            raise TransferError("QEMU's answer is no JSON") from error
        if not isinstance(document, dict):
            raise TransferError("QEMU's answer is no JSON object")
        return document

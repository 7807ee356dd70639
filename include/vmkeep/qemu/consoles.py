"""Reads a machine's serial port all the time, keeps its last text, and hands it on."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_KEPT: Final = 1 << 20
"""Bytes of the serial port's output that are kept. A guest may write without an end."""
_PIECE: Final = 1 << 14
_CONTROLS: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[()][0-9A-Za-z]|[=>78cDEHM])|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
)


class SerialConsole:
    """The machine's end of a socket that is its serial port."""

    def __init__(self, connection: socket.socket, on_output: Callable[[bytes], None]) -> None:
        """Begin to read.

        :param on_output: gets all output as it comes, in a thread of its own.
        """
        self._connection = connection
        self._on_output = on_output
        self._kept = bytearray()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._read, name="serial console", daemon=True)
        self._thread.start()

    def text(self) -> str:
        """Return the last output, without the terminal's control sequences."""
        with self._lock:
            kept = bytes(self._kept)
        return plain(kept)

    def send(self, data: bytes) -> None:
        """Type something. What a machine that ended cannot take is lost."""
        with suppress(OSError):
            self._connection.sendall(data)

    def close(self) -> None:
        """Stop reading."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()

    def _read(self) -> None:
        while True:
            try:
                piece = self._connection.recv(_PIECE)
            except OSError:
                return
            if not piece:
                return
            with self._lock:
                self._kept += piece
                del self._kept[:-_KEPT]
            self._on_output(piece)


def plain(output: bytes) -> str:
    """Return a terminal's output as text: one line for each, and no control sequences."""
    text = output.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", text)

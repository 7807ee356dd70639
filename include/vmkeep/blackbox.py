"""Keeps a library's last log lines in memory that outlives the process, because they explain a crash.

The parent makes an anonymous file, and the child maps it and writes it round and round. The library's threads write the
lines. They never wait, because a line needs no system call.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
from typing import Final

_SIZE: Final = 16384
_HEAD: Final = struct.Struct("<Q")
"""Count of bytes written so far, all rounds together."""


class BlackBox:
    """The last lines of one child process."""

    def __init__(self, descriptor: int) -> None:
        """Map a file that :meth:`make` made, in this process or in its parent."""
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, _HEAD.size + _SIZE)
        self._lock = threading.Lock()

    @classmethod
    def make(cls) -> BlackBox:
        """Make an empty black box."""
        descriptor = os.memfd_create("vmkeep-library-lines", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _HEAD.size + _SIZE)
        return cls(descriptor)

    def write(self, text: str) -> None:
        """Add a line, over the oldest ones."""
        data = text.encode()[: _SIZE // 4] + b"\n"
        with self._lock:
            (written,) = _HEAD.unpack_from(self._map)
            at = written % _SIZE
            first = data[: _SIZE - at]
            for place, part in ((at, first), (0, data[len(first) :])):
                self._map[_HEAD.size + place : _HEAD.size + place + len(part)] = part
            _HEAD.pack_into(self._map, 0, written + len(data))

    def lines(self) -> list[str]:
        """Return the lines, oldest first, without a line whose beginning is overwritten."""
        (written,) = _HEAD.unpack_from(self._map)
        at, ring = written % _SIZE, self._map[_HEAD.size :]
        text = ring[:at] if written <= _SIZE else (ring[at:] + ring[:at]).partition(b"\n")[2]
        return text.decode("utf-8", "replace").splitlines()

    def close(self) -> None:
        """Unmap the memory in this process."""
        self._map.close()
        os.close(self.descriptor)

"""One file of an image from a stranger, or a part of a file: read with care, and never beyond its end."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple

from vmkeep.clock import now
from vmkeep.errors import NotFoundError, TransferError, UsageError
from vmkeep.model.extents import Extents, gather

_TICK: Final = 0.011
"""Seconds of a tick of the kernel's clock, by which a file system stamps: at most a hundredth, and a little."""
_COARSE_TICK: Final = 2.1
"""The same for file systems that keep whole seconds only, such as FAT, of which two seconds are a tick."""
_NANOSECONDS: Final = 10**9
_LOOKS: Final = 3
"""Looks at a file that is written to all the time. The end of an import tells of such a writer anyway."""


class FileState(NamedTuple):
    """Values that differ after each write to a file, and after another file has taken its place."""

    device: int
    inode: int
    size: int
    changed: int
    """The time of the last change in nanoseconds since 1970. No program can put it back, unlike the time of writing."""


def settled_state(look: Callable[[], os.stat_result]) -> FileState | None:
    """Return the state of a file from which nothing was read yet. Each later write differs from it.

    Two writes within one tick of the file system's clock bear one time. So this waits for the end of the tick in which
    the file was changed, if that was just now. A clock of a server that differs from this machine's shows no tick.

    :param look: returns the file's status.
    """
    for _ in range(_LOOKS):
        state = file_state(status := look())
        tick = _TICK if status.st_ctime_ns % _NANOSECONDS else _COARSE_TICK
        if state is None or not 0 <= now().timestamp() - status.st_ctime <= tick:
            break
        time.sleep(tick)
    return state


def file_state(status: os.stat_result) -> FileState | None:
    """Return the state of a file; ``None``: it is no plain file but e.g. a block device, whose state tells nothing."""
    if not stat.S_ISREG(status.st_mode):
        return None
    return FileState(status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns)


class ImageFile:
    """A file or a block device, or a part of one, such as a disk in an OVA archive. A context manager.

    Reads are thread-safe. Offsets are relative to the part.
    """

    def __init__(self, path: Path, *, start: int = 0, size: int | None = None, name: str = "") -> None:
        """Open the file, without waiting for the other end of a pipe.

        :param start: where the part begins in the file, in bytes.
        :param size: bytes of the part; ``None``: all that the file has from there on.
        :param name: names the part in errors; empty: the path does.
        :raises NotFoundError: there is no such file, or it cannot be read.
        :raises UsageError: it is neither a file nor a block device, or ends before the part does.
        """
        self.path = path
        self.name = name or str(path)
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise NotFoundError(f"{path}: cannot be read: {why}") from error
        try:
            self.size = self._measured(start, size)
        except BaseException:
            os.close(self._file)
            raise
        self._start = start

    def _measured(self, start: int, size: int | None) -> int:
        status = os.fstat(self._file)
        if stat.S_ISDIR(status.st_mode):
            raise NotFoundError(f"{self.path}: cannot be read: is a folder, not a disk image")
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)):
            raise UsageError(f"{self.path}: is neither a file nor a block device")
        self.identity = (status.st_dev, status.st_ino)
        self.state = settled_state(lambda: os.fstat(self._file))
        """The file's state before anything was read."""
        self._holes = stat.S_ISREG(status.st_mode)
        whole = os.lseek(self._file, 0, os.SEEK_END)
        if start + (size or 0) > whole:
            raise UsageError(
                f"{self.name}: is cut off: it needs {start + (size or 0)} bytes of {self.path}, which has {whole}"
            )
        return whole - start if size is None else size

    def __enter__(self) -> ImageFile:  # noqa: PYI034 - as in images.diskfiles
        """Use as a context manager."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes of the file. The caller bounds the length.

        :raises UsageError: the file ends before; the message names the file and the offset.
        """
        data = bytearray(length)
        self.read_into(offset, memoryview(data))
        return bytes(data)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill a buffer with bytes of the file; see :meth:`read`."""
        if offset < 0 or offset + len(buffer) > self.size:
            raise UsageError(
                f"{self.name}: is damaged or cut off: {len(buffer)} bytes are needed at byte {offset}, and it has "
                f"{self.size} bytes"
            )
        done = 0
        while done < len(buffer):
            try:
                count = os.preadv(self._file, [buffer[done:]], self._start + offset + done)
            except OSError as error:
                raise TransferError(f"{self.name}: cannot read at byte {offset + done}: {error.strerror}") from error
            if not count:
                raise TransferError(f"{self.name}: became shorter while it was read")
            done += count

    def stored(self) -> Extents | None:
        """Return the extents of the file that are no holes; ``None``: the file system does not tell."""
        try:
            return gather(self._stored()) if self._holes else None
        except OSError:
            return None

    def _stored(self) -> Iterator[tuple[int, int]]:
        at, end = self._start, self._start + self.size
        while at < end:
            try:
                start = os.lseek(self._file, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return  # because only a hole is left
                raise
            if start >= end:
                return
            at = min(end, os.lseek(self._file, start, os.SEEK_HOLE))
            if at <= start:
                raise OSError(errno.EINVAL, "no hole is ever reached")
            yield start - self._start, at - self._start

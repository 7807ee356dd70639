"""Reads and writes the bytes of files over SFTP, with many requests under way at once. This module knows no blob keys.

It uses internal calls of paramiko's client, because there are no public ones. It relies on a server that answers in the
order of the requests, as OpenSSH does. With another server a read would time out, but never return wrong bytes.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import paramiko
from paramiko.sftp import CMD_DATA, CMD_EXTENDED, CMD_EXTENDED_REPLY, CMD_READ, CMD_WRITE, int64

from vmkeep.lateclass import dataclass

_REQUEST = 32 << 10
"""Bytes of one request. Every server accepts requests of this size."""
_IN_FLIGHT = 64
"""Number of requests that are under way at the same time."""
_READ_ONLY = 1
"""Flag of a file system (``SSH_FXE_STATVFS_ST_RDONLY``)."""
_PART = 8 << 20
"""Bytes of a file that are read before they are compared."""


def read_parts(channel: Any, handle: bytes, start: int, count: int) -> bytes:
    """Read ``count`` bytes, which the file must have, with many requests under way at once.

    The library's own read-ahead would need several times the processor time.
    """
    asked: deque[tuple[int, int]] = deque()
    data, next_at, done = bytearray(count), 0, 0
    while done < count:
        while next_at < count and len(asked) < _IN_FLIGHT:
            size = min(_REQUEST, count - next_at)
            number = channel._async_request(type(None), CMD_READ, handle, int64(start + next_at), size)  # noqa: SLF001
            asked.append((number, size))
            next_at += size
        number, size = asked.popleft()
        kind, answer = channel._read_response(number)  # noqa: SLF001
        part = answer.get_string() if kind == CMD_DATA else b""
        if len(part) != size:
            raise paramiko.SSHException("the server answered a read with fewer bytes than there are")
        data[done : done + size] = part
        done += size
    return bytes(data)


def read_file(channel: Any, path: str, start: int, length: int | None) -> bytes:
    """Read a file from byte ``start`` on, to its end or up to ``length`` bytes."""
    with channel.open(path, "rb") as file:
        rest = max(0, file.stat().st_size - start)
        count = rest if length is None else min(length, rest)
        return read_parts(channel, file.handle, start, count)


def holds(channel: Any, path: str, data: memoryview) -> bool:
    """Return whether a file has these bytes. Read it a part at a time."""
    if channel.stat(path).st_size != len(data):
        return False
    return all(read_file(channel, path, at, _PART) == data[at : at + _PART] for at in range(0, len(data), _PART))


def write_synced(channel: Any, handle: bytes, data: memoryview) -> None:
    """Write a file's bytes with many requests under way at once, and sync the file. Check every answer.

    The library's own pipelining ignores answers, so it would miss a full disk. It also has no call for the sync.
    """
    asked: deque[int] = deque()
    for at in range(0, len(data), _REQUEST):
        part = bytes(data[at : at + _REQUEST])
        asked.append(channel._async_request(type(None), CMD_WRITE, handle, int64(at), part))  # noqa: SLF001
        if len(asked) == _IN_FLIGHT:
            channel._read_response(asked.popleft())  # noqa: SLF001
    while asked:
        channel._read_response(asked.popleft())  # noqa: SLF001
    channel._request(CMD_EXTENDED, "fsync@openssh.com", handle)  # noqa: SLF001


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSystem:
    """The state of a server's file system."""

    free: int
    """Bytes that can still be written."""
    read_only: bool


def file_system(channel: Any, path: str) -> FileSystem | None:
    """Return the state of the file system below a path; ``None``: the server does not tell it.

    The request is ``statvfs@openssh.com`` (OpenSSH's PROTOCOL, 4.2 to 4.4). Its answer holds the block sizes, then the
    numbers of blocks, then those of files, an id, and flags.
    """
    try:
        kind, answer = channel._request(CMD_EXTENDED, "statvfs@openssh.com", path)  # noqa: SLF001
    except OSError:
        return None
    if kind != CMD_EXTENDED_REPLY:
        return None
    numbers = [answer.get_int64() for _ in range(10)]
    _, unit, _, _, available, files, _, free_files, _, flags = numbers
    free = 0 if files and not free_files else int(unit * available)
    return FileSystem(free=free, read_only=bool(flags & _READ_ONLY))

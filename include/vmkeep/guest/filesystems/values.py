"""Values that several file systems share: names, times, modes, and access control lists."""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from vmkeep.guest.filesystems.volume import Volume
from vmkeep.model.guestfiles import FileKind

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_OF_WINDOWS: Final = datetime(1601, 1, 1, tzinfo=UTC)
_KINDS: Final = {
    stat.S_IFREG: FileKind.FILE,
    stat.S_IFDIR: FileKind.FOLDER,
    stat.S_IFLNK: FileKind.SYMLINK,
    stat.S_IFBLK: FileKind.DEVICE,
    stat.S_IFCHR: FileKind.DEVICE,
    stat.S_IFIFO: FileKind.PIPE,
    stat.S_IFSOCK: FileKind.SOCKET,
}
_ACL_VERSION: Final = 2
"""The version at the head of ``system.posix_acl_access``, as Linux hands it to programs."""
_NO_ID: Final = 0xFFFFFFFF
MOST_OF_ATTRIBUTES: Final = 16 << 20
"""Bytes of all extended attributes of one file. Linux takes 64 KiB of each."""


def posix_name(name: bytes) -> str:
    """Return a name of a POSIX file system. Bytes that are no UTF-8 become Python's surrogates."""
    return name.decode("utf-8", "surrogateescape")


def utf16_name(name: bytes) -> str:
    """Return a name in UTF-16. A surrogate without its half stays one, because Windows allows it in a name."""
    return name.decode("utf-16-le", "surrogatepass")


def moment(seconds: int, nanoseconds: int = 0) -> datetime | None:
    """Return a time in UTC, cut to whole microseconds; ``None``: no calendar has it."""
    try:
        return _EPOCH + timedelta(seconds=seconds, microseconds=nanoseconds // 1000)
    except OverflowError:
        return None


def windows_moment(ticks: int) -> datetime | None:
    """Return the time that a number of 100 ns since 1601 stands for; ``None``: 0, or no calendar has it."""
    if not ticks:
        return None
    try:
        return _EPOCH_OF_WINDOWS + timedelta(microseconds=ticks // 10)
    except OverflowError:
        return None


def dos_moment(date: int, time: int, hundredths: int = 0) -> datetime | None:
    """Return a time of FAT as if it were UTC, because FAT keeps local times of an unknown zone."""
    try:
        base = datetime(
            1980 + (date >> 9), (date >> 5) & 15, date & 31, time >> 11, (time >> 5) & 63, (time & 31) * 2, tzinfo=UTC
        )
    except ValueError:
        return None
    return base + timedelta(milliseconds=hundredths * 10)


def kind_of_mode(mode: int) -> FileKind:
    """Return the kind that the upper bits of a POSIX mode tell."""
    return _KINDS.get(stat.S_IFMT(mode), FileKind.OTHER)


def posix_acl(entries: Iterable[tuple[int, int, int | None]]) -> bytes:
    """Return an access control list in the bytes that Linux takes as an extended attribute.

    :param entries: tag, permissions and the id of a user or group, for each entry.
    """
    packed = (struct.pack("<HHI", tag, perm, _NO_ID if of is None else of) for tag, perm, of in entries)
    return struct.pack("<I", _ACL_VERSION) + b"".join(packed)


def collected(volume: Volume, what: str, attributes: Iterable[tuple[str, bytes]]) -> dict[str, bytes]:
    """Return extended attributes by their names. A stranger may claim any number of them.

    :raises UnsupportedError: they are too large for the memory.
    """
    found: dict[str, bytes] = {}
    size = 0
    for name, value in attributes:
        size += len(name) + len(value)
        if size > MOST_OF_ATTRIBUTES:
            raise volume.refused(f"{what}: its extended attributes take more than {MOST_OF_ATTRIBUTES:,} bytes")
        found[name] = value
    return found

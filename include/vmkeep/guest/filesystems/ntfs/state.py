"""Tells whether an NTFS was unmounted, to whoever lists volumes as to whoever reads its files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from vmkeep.errors import CorruptError
from vmkeep.guest.filesystems.ntfs.boot import read_boot
from vmkeep.guest.filesystems.ntfs.records import (
    DATA,
    VOLUME_INFORMATION,
    VOLUME_NAME,
    Table,
    repair_strides,
)
from vmkeep.guest.filesystems.volume import Volume
from vmkeep.lateclass import dataclass
from vmkeep.model.blockio import RandomDisk

_LOG_FILE: Final = 2
_VOLUME: Final = 3
_DIRTY: Final = 0x1
_RESTART: Final = b"RSTR"
_EMPTIED: Final = b"\xff\xff\xff\xff"
"""Beginning of a log that a mkfs or a repair has filled anew."""
_NO_CLIENT: Final = 0xFFFF
_IS_CLEAN: Final = 0x2
_WAY_OUT: Final = "Boot or restore the machine to see them."


@dataclass(frozen=True, slots=True, kw_only=True)
class NtfsState:
    """The facts that an NTFS keeps about itself."""

    name: bytes
    """In UTF-16; empty: it has none."""
    is_dirty: bool
    """Windows marked it for a check."""
    is_closed: bool
    """An unmount closed its log. Doubt counts as an open one."""

    @property
    def warnings(self) -> Iterator[str]:
        """Sentences about files that may be missing or old."""
        if self.is_dirty:
            yield "Windows marked the file system for a check: files may be missing or wrong."
        if not self.is_closed:
            yield (
                "The log of NTFS was not closed by an unmount, and vmkeep does not replay it: files that were written "
                f"in the last seconds before the backup may be missing or old. {_WAY_OUT}"
            )


def ntfs_state(disk: RandomDisk, *, what: str) -> NtfsState:
    """Return the state of the NTFS on a disk, also if the disk is too short for it.

    :raises CorruptError: there is none, or it contradicts itself.
    """
    volume = Volume(disk, what=what)
    return read_state(volume, Table(volume, read_boot(volume, may_be_cut=True)))


def read_state(volume: Volume, table: Table) -> NtfsState:
    """Return the state of an NTFS by its table.

    :raises CorruptError: it does not tell, or contradicts itself.
    """
    record = table.record(_VOLUME)
    information = record.value(VOLUME_INFORMATION)
    if information is None or len(information) < 12:
        raise volume.damaged("it does not tell its state")
    return NtfsState(
        name=record.value(VOLUME_NAME) or b"",
        is_dirty=bool(struct.unpack_from("<H", information, 10)[0] & _DIRTY),
        is_closed=_log_is_closed(volume, table),
    )


def _log_is_closed(volume: Volume, table: Table) -> bool:
    """Return whether the newer of the log's two restart areas says that all is in its place."""
    log = table.stream(table.record(_LOG_FILE), DATA)
    first = log.read(0, min(log.size, 512))
    if first[:4] == _EMPTIED:
        return True
    newest: tuple[int, bool] | None = None
    for start in _restart_pages(first):
        page = log.read(start, max(0, min(4096, log.size - start)))
        if page[:4] != _RESTART:
            continue
        try:
            found = _restart_area(repair_strides(volume, page, "the log"))
        except CorruptError:  # somebody was writing it
            return False
        if found is not None and (newest is None or found[0] > newest[0]):
            newest = found
    return newest is not None and newest[1]


def _restart_pages(first: bytes) -> tuple[int, ...]:
    if first[:4] != _RESTART:
        return (0, 4096)
    (size,) = struct.unpack_from("<I", first, 16)
    return (0, size if size in (4096, 8192, 16384, 65536) else 4096)


def _restart_area(page: bytes) -> tuple[int, bool] | None:
    (offset,) = struct.unpack_from("<H", page, 24)
    if offset + 16 > len(page):
        return None
    sequence, _, _, in_use, flags = struct.unpack_from("<QHHHH", page, offset)
    return sequence, in_use == _NO_CLIENT or bool(flags & _IS_CLEAN)

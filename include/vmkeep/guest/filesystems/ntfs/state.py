"""Tells whether an NTFS was unmounted."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from vmkeep.guest.filesystems.ntfs.records import DATA, VOLUME_INFORMATION, Table, repair_strides
from vmkeep.guest.filesystems.volume import Volume

_LOG_FILE: Final = 2
_VOLUME: Final = 3
_DIRTY: Final = 0x1
_RESTART: Final = b"RSTR"
_NO_CLIENT: Final = 0xFFFF
_IS_CLEAN: Final = 0x2
_WAY_OUT: Final = "Boot or restore the machine to see them."


def warnings(volume: Volume, table: Table) -> Iterator[str]:
    """Yield sentences about files that may be missing or old."""
    information = table.record(_VOLUME).value(VOLUME_INFORMATION)
    if information is None or len(information) < 12:
        raise volume.damaged("it does not tell its state")
    if struct.unpack_from("<H", information, 10)[0] & _DIRTY:
        yield "Windows marked the file system for a check: files may be missing or wrong."
    if not _log_is_closed(volume, table):
        yield (
            "The log of NTFS was not closed by an unmount, and vmkeep does not replay it: files that were written in "
            f"the last seconds before the backup may be missing or old. {_WAY_OUT}"
        )


def _log_is_closed(volume: Volume, table: Table) -> bool:
    """Return whether the newer of the log's two restart areas says that all is in its place."""
    log = table.stream(table.record(_LOG_FILE), DATA)
    newest: tuple[int, bool] | None = None
    for start in _restart_pages(log.read(0, min(log.size, 512))):
        page = log.read(start, min(4096, log.size - start))
        if page[:4] != _RESTART:
            continue
        found = _restart_area(repair_strides(volume, page, "the log"))
        if found is not None and (newest is None or found[0] > newest[0]):
            newest = found
    return newest is None or newest[1]


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

"""NTFS: its boot sector; the reader of its files tells its name, and whether its log was closed.

The layout is that of Linux's ``fs/ntfs3``.
"""

from __future__ import annotations

from vmkeep.errors import CorruptError
from vmkeep.guest.filesystems import ntfs_state
from vmkeep.guest.volumes.detecting.content import READY, REPLAY, UNCLEAN, Content, Head, is_power_of_two, text


def find_ntfs(head: Head) -> Content | None:
    """Find NTFS."""
    if head.at(3, 8) != b"NTFS    ":
        return None
    sector, (code,) = head.number("<H", 11), head.at(13, 1)
    cluster = sector * code if code <= 128 else sector << min(256 - code, 16)
    if not is_power_of_two(sector, 256, 4096) or not is_power_of_two(cluster, 256, 2 << 20):
        return None
    label, state = "", REPLAY
    try:
        found = ntfs_state(head.disk, what="NTFS")
    except CorruptError:  # who reads its files gets the error; a damaged block comes here, too
        pass
    else:
        label = text(found.name[: len(found.name) & ~1], "utf-16-le")
        state = REPLAY if not found.is_closed else UNCLEAN if found.is_dirty else READY
    uuid = f"{head.number('<Q', 0x48):016X}"
    return Content(kind="ntfs", label=label, uuid=uuid, state=state, size=head.number("<Q", 0x28) * sector)

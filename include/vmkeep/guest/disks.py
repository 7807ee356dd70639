"""Disks of one guest, and a reader for their metadata that has a limit and counts its bytes."""

from __future__ import annotations

from typing import Final

from vmkeep.errors import CorruptError
from vmkeep.lateclass import dataclass
from vmkeep.model.blockio import RandomDisk

MOST_METADATA: Final = 32 << 20
"""Bytes of metadata that are read from one disk. No healthy disk comes near, and a hostile one must not go on."""


class Contradiction(ValueError):
    """A structure on a disk contradicts itself; the message says how. It never leaves the rooms of ``guest``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskInGuest:
    """One of the disks of a guest, with its name for people and scripts."""

    number: int
    """Its place among the disks of the restore point, from 0."""
    label: str
    """The name that vSphere shows, e.g. ``Hard disk 1``; for an image, that of its file."""
    disk: RandomDisk

    @property
    def name(self) -> str:
        """The name in lists and arguments, e.g. ``disk0``."""
        return f"disk{self.number}"


class MetadataReader:
    """Reads small pieces of one disk, and counts them. Not thread-safe."""

    def __init__(self, disk: DiskInGuest, *, most: int = MOST_METADATA) -> None:
        """Read at most ``most`` bytes of a disk."""
        self.disk = disk
        self.bytes_read = 0
        self._most = most

    @property
    def capacity(self) -> int:
        """Size of the disk in bytes."""
        return self.disk.disk.capacity

    def read(self, start: int, length: int) -> bytes:
        """Return some bytes.

        :raises CorruptError: a stored block is damaged, or the disk asks for more than any healthy one.
        :raises Contradiction: the range reaches beyond the disk.
        """
        if start < 0 or length < 0 or start + length > self.capacity:
            raise Contradiction(f"bytes {start} to {start + length} lie beyond the disk of {self.capacity} bytes")
        if self.bytes_read + length > self._most:
            raise CorruptError(f"{self.disk.name} ({self.disk.label}) has more than {self._most} bytes of metadata")
        buffer = bytearray(length)
        self.disk.disk.read_into(start, memoryview(buffer))
        self.bytes_read += length
        return bytes(buffer)

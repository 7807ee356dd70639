"""The values of the list of volumes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import field, replace
from typing import Final

from vmkeep.errors import NotFoundError, UnsupportedError
from vmkeep.guest.lvm import LvmState
from vmkeep.lateclass import dataclass
from vmkeep.model.blockio import RandomDisk

_LISTED: Final = 20
"""Names that an error lists."""
NO_FILES: Final = frozenset({"empty", "swap", "lvm-pv", "raid-member", "gpt", "mbr"})
"""Kinds that have no files of their own. Those in partitions, arrays and logical volumes are in other volumes."""
_LAYERS: Final = frozenset({"luks1", "luks2", "bitlocker", "raid", "bcache", "vdo", "dm-integrity", "unknown"})
"""Kinds in which a physical volume of LVM may lie that nobody sees. An unknown one may be encrypted without a head."""
_FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9+_.-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A disk, a partition, an array or a logical volume of a guest."""

    name: str
    """The name in arguments: ``disk0``, ``disk0p1``, ``vg/lv`` or ``md/name``; unique among the volumes of a guest."""
    size: int
    """Bytes."""
    kind: str
    """A file system such as ``ext4``, or another thing such as ``swap``, ``luks2``, ``lvm-pv`` or ``gpt``; ``empty``:
    all its bytes are zeros; ``unknown``: it has data without a signature that is known."""
    label: str = ""
    uuid: str = ""
    """As Linux's ``blkid`` writes it; a FAT's and an NTFS's is the serial number."""
    state: str
    """``ready``, ``journal needs replay``, ``not unmounted cleanly``, ``encrypted (LUKS2)`` or ``not readable: …``."""
    refusal: str = ""
    """The reason why no files can be read in it, and the way out; empty: files can be read."""
    warnings: tuple[str, ...] = ()
    """Sentences about things that a reader of its files should know first."""
    is_cut: bool = False
    """Whether its file system reaches beyond its end."""
    is_ambiguous: bool = False
    """Whether it may hold another thing beside the one that is shown; a warning names both."""
    disk: RandomDisk | None = field(default=None, compare=False, repr=False)
    """Its bytes; ``None``: they cannot be read."""

    @property
    def has_files(self) -> bool:
        """Whether files can be read in it."""
        return not self.refusal

    @property
    def may_hide_files(self) -> bool:
        """Whether it may have files that cannot be read, because of its kind or of a doubt about that."""
        return self.is_ambiguous or (not self.has_files and self.kind not in NO_FILES)

    @property
    def may_hide_lvm(self) -> bool:
        """Whether a physical volume of LVM may lie in it that cannot be seen, because of its kind or of a doubt."""
        return self.is_ambiguous or self.kind in _LAYERS

    def open(self) -> RandomDisk:
        """Return its bytes as a disk, for a reader of file systems.

        :raises UnsupportedError: no files can be read in it.
        """
        if self.refusal or self.disk is None:
            raise UnsupportedError(f"volume {self.name}: {self.refusal}")
        return self.disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Volumes:
    """All volumes of a guest: disks with their partitions, then arrays, then logical volumes."""

    listed: tuple[Volume, ...]
    lvm: LvmState
    """The parts of LVM on the disks."""

    def __iter__(self) -> Iterator[Volume]:
        """Yield the volumes in order."""
        return iter(self.listed)

    def __len__(self) -> int:
        """Return the number of volumes."""
        return len(self.listed)

    def find(self, name: str) -> Volume:
        """Return the volume of a name.

        :raises NotFoundError: there is none; the message lists the names that there are.
        """
        found = next((volume for volume in self.listed if volume.name == name), None)
        if found is None:
            names = [volume.name for volume in self.listed]
            more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            raise NotFoundError(f"there is no volume {name}; there are {', '.join(names[:_LISTED])}{more}")
        return found


def printable(name: str) -> str:
    """Return a name of a group, a logical volume or an array with ``_`` for each character that none may have.

    A hostile guest could hide line ends, escapes of terminals, or the colon of ``VOLUME:/path`` in it.
    """
    return _FORBIDDEN.sub("_", name)


def unique(volumes: Iterable[Volume]) -> tuple[Volume, ...]:
    """Return volumes whose names differ: a later one of the same name gets a number."""
    seen: set[str] = set()
    kept = []
    for volume in volumes:
        name, number = volume.name, 1
        while name in seen:
            number += 1
            name = f"{volume.name}@{number}"
        seen.add(name)
        kept.append(volume if name == volume.name else replace(volume, name=name))
    return tuple(kept)

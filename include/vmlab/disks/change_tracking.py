"""Changed-block tracking: the stamp file beside a link, and the meaning of a changeId.

A link's file holds the current epoch and, for each 64 KiB block, the epoch of its last
write. ``native/tracking.c`` writes the stamps and describes the layout. Taking a snapshot
freezes the parent's file and gives the child a copy with the next epoch. "Changed since n"
is therefore exactly "stamp greater than n". Epochs can be compared under one uuid only.
A new uuid is taken when tracking is enabled anew, when a disk is extended, and for a
second child of one link (a revert).
"""

import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np

from vmlab.disks.core import DiskError
from vmlab.disks.handle import runs

BLOCK = 65536
_HEADER = struct.Struct("<8sIIQ16sII")
_STAMPS_AT = 4096
_MAGIC = b"VMLABCTK"
_ZEROS = bytes(1 << 20)
_NOT_FOUND = 4
_DAMAGED = 16000


class UnknownChangeIdError(Exception):
    """The changeId belongs to another uuid or to the future, or is no changeId: the caller has to read everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackHeader:
    """The header of a stamp file."""

    capacity: int
    uuid: bytes
    epoch: int
    handed: int
    """The number of children that were made of the link."""

    @property
    def change_id(self) -> str:
        """The cursor of the link as it is now: ``<uuid>/<epoch>``."""
        return f"{vmware_uuid(self.uuid)}/{self.epoch}"

    def pack(self) -> bytes:
        """Return the header's bytes."""
        return _HEADER.pack(_MAGIC, 1, BLOCK, self.capacity, self.uuid, self.epoch, self.handed)


def vmware_uuid(raw: bytes) -> str:
    """Return 16 bytes as VMware writes them: ``52 5f 0a … 8d-3e 1b …``."""
    pairs = [f"{byte:02x}" for byte in raw]
    return " ".join(pairs[:8]) + "-" + " ".join(pairs[8:])


def load_header(path: Path) -> TrackHeader:
    """Read a stamp file's header.

    :raises DiskError: the file is missing (4), or damaged (16000).
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER.size).ljust(_HEADER.size, b"\0")
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise DiskError(_NOT_FOUND, path.name) from None
    magic, version, block, capacity, uuid, epoch, handed = _HEADER.unpack(head)
    if (magic, version, block) != (_MAGIC, 1, BLOCK) or size < _STAMPS_AT + -(-capacity // BLOCK) * 4:
        raise DiskError(_DAMAGED, path.name)
    return TrackHeader(capacity=capacity, uuid=uuid, epoch=epoch, handed=handed)


def create(path: Path, capacity: int) -> TrackHeader:
    """Begin to track: new uuid, epoch 1, nothing changed. An older file is replaced."""
    header = TrackHeader(capacity=capacity, uuid=uuid4().bytes, epoch=1, handed=0)
    beside = path.with_name(path.name + ".tmp")
    size = _STAMPS_AT + -(-capacity // BLOCK) * 4
    with beside.open("wb") as file:
        # Because stamps are written through a map, where filling a hole fails if the disk is full.
        os.posix_fallocate(file.fileno(), 0, size)
        file.write(header.pack())
    beside.replace(path)
    return header


def fork(parent: Path, child: Path) -> None:
    """Give a new child the parent's stamps and the next epoch. A second child gets a new uuid and no stamps."""
    header = load_header(parent)
    if header.handed:
        create(child, header.capacity)
    else:
        _copy(parent, child, _with(header, epoch=header.epoch + 1, handed=0))
    with parent.open("r+b") as file:
        file.write(_with(header, handed=header.handed + 1).pack())


def take_over(child: Path, parent: Path) -> None:
    """Replace the parent's stamps by the child's, which include them. This ends a consolidation."""
    _copy(child, parent, load_header(child))


def changed_areas(path: Path, change_id: str, start: int) -> list[tuple[int, int]]:
    """Return (offset, length) of the areas written after ``change_id``, merged, from byte ``start`` on.

    :raises UnknownChangeIdError: ``change_id`` cannot be compared with these stamps.
    """
    header = load_header(path)
    after = _epoch_of(change_id, header)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        stamps = np.frombuffer(mapped, dtype="<u4", offset=_STAMPS_AT, count=-(-header.capacity // BLOCK))
        areas = list(runs((stamps > after).astype(np.uint8)))
        del stamps
    bounds = ((max(first * BLOCK, start), min(stop * BLOCK, header.capacity)) for first, stop in areas)
    return [(first, stop - first) for first, stop in bounds if stop > first]


def _epoch_of(change_id: str, header: TrackHeader) -> int:
    uuid, slash, number = change_id.rpartition("/")
    if not slash or not number.isdecimal() or not number.isascii():
        raise UnknownChangeIdError(f"{change_id!r} is not a changeId")
    if uuid != vmware_uuid(header.uuid):
        raise UnknownChangeIdError(f"{change_id!r} has another uuid than {header.change_id!r}")
    if int(number) > header.epoch:
        raise UnknownChangeIdError(f"{change_id!r} is later than {header.change_id!r}")
    return int(number)


def _with(header: TrackHeader, *, handed: int, epoch: int | None = None) -> TrackHeader:
    return TrackHeader(
        capacity=header.capacity,
        uuid=header.uuid,
        epoch=header.epoch if epoch is None else epoch,
        handed=handed,
    )


def _copy(source: Path, target: Path, header: TrackHeader) -> None:
    beside = target.with_name(target.name + ".tmp")
    with source.open("rb") as old, beside.open("wb") as new:
        os.posix_fallocate(new.fileno(), 0, os.fstat(old.fileno()).st_size)
        new.write(header.pack())
        old.seek(_STAMPS_AT)
        new.seek(_STAMPS_AT)
        while piece := old.read(len(_ZEROS)):
            if piece == _ZEROS:
                new.seek(len(piece), os.SEEK_CUR)  # they are there already, and a large disk has many
            else:
                new.write(piece)
        new.flush()
        os.fsync(new.fileno())
    beside.replace(target)

"""Opens a file system of the ext family, over its journal if it was not unmounted."""

from __future__ import annotations

from typing import Final

from vmkeep.guest.filesystems.ext.journal import read_journal
from vmkeep.guest.filesystems.ext.journalsuper import MOST_BLOCKS, JournalError
from vmkeep.guest.filesystems.ext.overlay import ReplayedDisk
from vmkeep.guest.filesystems.ext.reader import ExtReader
from vmkeep.guest.filesystems.ext.superblock import Superblock, read_superblock
from vmkeep.guest.filesystems.tree import FileTree
from vmkeep.guest.filesystems.volume import Volume

_WAY_OUT: Final = "Boot or restore the machine to see them."


def open_ext(volume: Volume) -> FileTree[int]:
    """Open a file system of the kind ext2, ext3 or ext4.

    :raises CorruptError: there is none, or it contradicts itself.
    :raises UnsupportedError: it has features that vmkeep cannot read.
    """
    found = read_superblock(volume)
    if not found.needs_recovery:
        return FileTree(ExtReader(volume, found), volume)
    volume, notes = replayed(volume, found)
    reader = ExtReader(volume, read_superblock(volume))
    reader.warnings += notes
    return FileTree(reader, volume)


def replayed(volume: Volume, found: Superblock) -> tuple[Volume, list[str]]:
    """Return the volume after the replay of its journal, and sentences about changes that are not in it."""
    if not found.journal_inode:
        return volume, [
            f"The journal is on another device, and was not replayed: newer files may be missing. {_WAY_OUT}"
        ]
    size = found.block_size
    try:
        places = _places(volume, found)
        replay = read_journal(lambda block: volume.read(places[block], size), block_size=size, blocks=len(places))
    except JournalError as error:
        return volume, [f"The journal {error}; it was not replayed: newer files may be missing. {_WAY_OUT}"]
    beyond = [block for block in replay.copies if block >= found.blocks]
    if beyond:
        raise volume.damaged(f"the journal holds the block {beyond[0]}, which is not on the volume")
    notes = [f"The journal was replayed only in part: {note}. Newer files may be missing." for note in replay.notes]
    disk = ReplayedDisk(volume.disk, replay.copies, places, block_size=size)
    return Volume(disk, what=volume.what), notes


def _places(volume: Volume, found: Superblock) -> list[int]:
    """Return the byte offset of each block of the journal."""
    reader = ExtReader(volume, found)
    inode = reader.inode(found.journal_inode)
    count = inode.size // found.block_size
    if count > MOST_BLOCKS:
        raise JournalError(f"has {count} blocks, and vmkeep replays {MOST_BLOCKS} at most")
    places: list[int] = []
    for run in reader.runs(inode):
        if run.start != len(places) * found.block_size or run.place is None:
            raise volume.damaged("a part of the journal is missing")
        places.extend(range(run.place, run.place + run.length, found.block_size))
        if len(places) >= count:
            break
    if len(places) < count or not count:
        raise volume.damaged("a part of the journal is missing")
    return places

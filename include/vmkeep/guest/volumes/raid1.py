"""Chooses the leg of a mirror that is read: of LVM's ``mirror`` and ``raid1``, and of Linux's software arrays.

All legs should hold the same bytes. One that fell out, or that is being rebuilt, does not; the superblocks of the
others know it. The layout of LVM's is that of ``struct dm_raid_superblock`` (``drivers/md/dm-raid.c``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from vmkeep.guest.volumes.detecting import Member
from vmkeep.lateclass import dataclass
from vmkeep.model.blockio import RandomDisk

_SUPERBLOCK: Final = struct.Struct("<4sIIIQQQQ")
_MAGIC: Final = b"DmRd"
_ALL: Final = (1 << 64) - 1
"""As an offset of a rebuild: there is none, because all is done."""


@dataclass(frozen=True, slots=True)
class LegState:
    """The state of a leg, by its own superblock."""

    position: int
    events: int
    failed: int
    """One bit for each leg that fell out, by this leg's knowledge."""
    is_whole: bool


def read_state(metadata: RandomDisk) -> LegState | None:
    """Read the superblock of a leg; ``None``: the array was never in use.

    :raises CorruptError: a stored block is damaged.
    """
    if metadata.capacity < _SUPERBLOCK.size:
        return None
    raw = bytearray(_SUPERBLOCK.size)
    metadata.read_into(0, memoryview(raw))
    magic, _, _, position, events, failed, recovered, _ = _SUPERBLOCK.unpack(raw)
    if magic != _MAGIC:
        return None
    return LegState(position, events, failed, recovered == _ALL)


def choose_leg(states: Mapping[int, LegState | None]) -> int | None:
    """Return the leg to read, by the states of the legs that are there; ``None``: none of them is up to date.

    :param states: by the number of the leg, from 0; ``None``: the leg has no superblock.
    """
    known = {number: state for number, state in states.items() if state is not None}
    if not known:
        return min(states, default=None)
    newest = max(state.events for state in known.values())
    failed = 0
    for state in known.values():
        if state.events == newest:
            failed |= state.failed
    good = (
        number
        for number, state in sorted(known.items())
        if state.events == newest and state.is_whole and state.position == number and not failed >> number & 1
    )
    return next(good, None)


def choose_member(members: Iterable[Member]) -> Member | None:
    """Return the member of a software array of level 1 that is read; ``None``: none is up to date."""
    found: Sequence[Member] = [member for member in members if member.level == 1]
    newest = max((member.events for member in found), default=0)
    good = (each for each in found if each.events == newest and each.whole and each.role is not None and each.size)
    return next(good, None)

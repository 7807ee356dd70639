"""Notes of damage that was found in packs and index segments. A note stays until its subject is good again or gone.

The notes are ``damage/packs/<id>`` and ``damage/index/<id>``. From them the index knows which frames to avoid. So a
writer stores such a block again, and a reader takes another copy. This module deletes no damaged data, and does not
decide which restore points the damage affects.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeVar

from vmkeep.blobs import BlobInfo, BlobStore, abreast
from vmkeep.clock import now
from vmkeep.errors import BlobNotFoundError, CorruptError
from vmkeep.lateclass import dataclass
from vmkeep.model.job import from_plain, to_plain
from vmkeep.repository.folders import DAMAGE, INDEX
from vmkeep.repository.frames import Framer, Kind

_PACKS = f"{DAMAGE}packs/"
_INDEX = f"{DAMAGE}index/"

N = TypeVar("N")

SETTLES_AFTER: Final = 60.0
"""Seconds after which a note that is replaced is listed with another time, however coarse the store's times are.

Some stores tell whole seconds, and machines that serve one store may differ by some.
"""


class PackState(StrEnum):
    """The extent of a pack's damage."""

    FRAMES = "frames"
    """Some of its frames are damaged; the others are good."""
    BROKEN = "broken"
    """Its header, footer or trailer is damaged. Frames may still be good at the places that the index names."""
    LOST = "lost"
    """The pack is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BadFrame:
    """A frame whose content no longer matches its digest."""

    offset: int
    digest: str
    """The digest of the frame's content, in hex."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackDamage:
    """The damage of one pack."""

    pack: str
    """The pack's id, in hex."""
    state: PackState
    reason: str
    frames: tuple[BadFrame, ...] = ()
    """The damaged frames, as far as the pack's data was read."""
    since: datetime | None = None
    """The time when the damage was first found; ``None``: the note itself is damaged."""

    @property
    def pack_id(self) -> bytes:
        """The pack's id, in bytes."""
        return bytes.fromhex(self.pack)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentDamage:
    """A damaged segment of the index, which look-ups leave out."""

    key: str
    reason: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDamage:
    """All known damage of one repository."""

    packs: dict[bytes, PackDamage]
    """Damage by pack id."""
    segments: dict[str, str]
    """Reason by key, for each segment that look-ups leave out."""

    @property
    def whole_packs(self) -> frozenset[bytes]:
        """Packs to avoid as a whole if another pack has the content."""
        return frozenset(pack for pack, damage in self.packs.items() if damage.state is not PackState.FRAMES)

    @property
    def bad_frames(self) -> frozenset[tuple[bytes, int]]:
        """Frames (pack, offset) to avoid if there is another copy."""
        return frozenset((pack, frame.offset) for pack, damage in self.packs.items() for frame in damage.frames)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """A note that was read."""

    listed: BlobInfo
    since: float
    """Time at which it was listed like this for the first time."""
    settled: bool
    """Whether it was read so long after that time that each later change shows in a listing."""
    note: PackDamage | SegmentDamage


class DamageNotes:
    """The damage notes of one repository. Thread-safe; of two notes about the same thing, the later one counts."""

    def __init__(self, store: BlobStore, framer: Framer, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Read nothing yet.

        :param clock: tells seconds, for the age of what was read.
        """
        self._store = store
        self._framer = framer
        self._clock = clock
        self._read: dict[str, _Read] = {}

    def load(self) -> KnownDamage:
        """Return all known damage. A pack or segment whose note cannot be read counts as damaged."""
        return _known(note for _, note in self._load_all(self._listed()))

    def load_new(self, *, reached: datetime | None = None) -> KnownDamage:
        """Return all known damage, but read only notes that may have changed since this object has read them.

        A writer looks often, and a repository may have a note for each of many packs. A note is read again until one
        reading began so long after the note was put, or was first listed, that each later change of it shows in the
        next listing.

        :param reached: a time that the store's clock had reached before this call; ``None``: none is known.
        """
        listed = self._listed()
        at, before = self._clock(), self._read
        read = {
            blob.key: old for blob in listed if (old := before.get(blob.key)) and old.settled and old.listed == blob
        }
        for blob, note in self._load_all([blob for blob in listed if blob.key not in read]):
            old = before.get(blob.key)
            since = old.since if old is not None and old.listed == blob else at
            is_old = reached is not None and reached - blob.modified >= timedelta(seconds=SETTLES_AFTER)
            read[blob.key] = _Read(listed=blob, since=since, settled=is_old or at - since >= SETTLES_AFTER, note=note)
        self._read = read  # in one step, because other threads look meanwhile
        return _known(one.note for one in read.values())

    def remember(self, damage: PackDamage, *, before: PackDamage | None) -> PackDamage:
        """Note the damage of a pack, unless the same is noted already; return it with the time of its first finding.

        :param before: the damage that is noted already.
        """
        dated = replace(damage, since=(before.since if before else None) or now())
        if dated != before:
            self._store_note(f"{_PACKS}{damage.pack}", dated)
        return dated

    def remember_segment(self, key: str, reason: str) -> None:
        """Note that a segment is damaged, so that look-ups leave it out."""
        note = SegmentDamage(key=key, reason=reason, since=now())
        self._store_note(_INDEX + key.removeprefix(INDEX), note)

    def forget(self, pack: bytes) -> None:
        """Remove the note about a pack that is good again, or that was deleted."""
        self._store.delete(f"{_PACKS}{pack.hex()}")

    def forget_segment(self, key: str) -> None:
        """Remove the note about a segment that is good again, or that was deleted."""
        self._store.delete(_INDEX + key.removeprefix(INDEX))

    def _store_note(self, key: str, note: PackDamage | SegmentDamage) -> None:
        content = json.dumps({"damage": 1, **to_plain(note)}, separators=(",", ":")).encode()
        self._store.replace(key, self._framer.wrap(Kind.NOTE, content, name=key))

    def _listed(self) -> list[BlobInfo]:
        return [
            blob
            for blob in self._store.list(DAMAGE)
            if blob.key.startswith(_INDEX) or _is_id(blob.key.removeprefix(_PACKS))
        ]

    def _load_all(self, listed: list[BlobInfo]) -> list[tuple[BlobInfo, PackDamage | SegmentDamage]]:
        """Return the notes that are there of those that were listed."""
        loaded = zip(listed, abreast(self._store, self._load_any, listed), strict=True)
        return [(blob, note) for blob, note in loaded if note is not None]

    def _load_any(self, blob: BlobInfo) -> PackDamage | SegmentDamage | None:
        return self._load_segment(blob.key) if blob.key.startswith(_INDEX) else self._load_pack(blob.key)

    def _load_pack(self, key: str) -> PackDamage | None:
        name = key.removeprefix(_PACKS)
        unknown = PackDamage(pack=name, state=PackState.BROKEN, reason=f"{key} cannot be read")
        note = self._load(key, PackDamage, unknown)
        return unknown if note is not None and note.pack != name else note

    def _load_segment(self, key: str) -> SegmentDamage | None:
        name = INDEX + key.removeprefix(_INDEX)
        unknown = SegmentDamage(key=name, reason=f"{key} cannot be read")
        note = self._load(key, SegmentDamage, unknown)
        return unknown if note is not None and note.key != name else note

    def _load(self, key: str, kind: type[N], unknown: N) -> N | None:
        try:
            blob = self._store.get(key)
            return from_plain(kind, json.loads(bytes(self._framer.unwrap(Kind.NOTE, blob, name=key))))
        except BlobNotFoundError:
            return None
        except (CorruptError, ValueError):
            return unknown


def _known(notes: Iterable[PackDamage | SegmentDamage]) -> KnownDamage:
    packs: dict[bytes, PackDamage] = {}
    segments: dict[str, str] = {}
    for note in notes:
        if isinstance(note, PackDamage):
            packs[note.pack_id] = note
        else:
            segments[note.key] = note.reason
    return KnownDamage(packs=packs, segments=segments)


def _is_id(name: str) -> bool:
    try:
        return len(bytes.fromhex(name)) == 16
    except ValueError:
        return False

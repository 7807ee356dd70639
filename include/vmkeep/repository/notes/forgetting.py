"""Records of points that a prune or a deletion is about to forget, written before it looks at their pins.

    forgettings/<id>/candidates   a prune has begun to forget; it may delete these points
    forgettings/<id>/takes        the points that it deletes; the process that creates this blob has decided

Both are notes: JSON ``{"points": ["<folder>/<name>", …]}``. The prune puts the candidates, then looks at pins, then
decides. A process that pins a point puts the pin first and then looks at candidates. So at least one of the two sees
the other. If the pinned point is a candidate and its prune has not decided yet, the pinning process decides that the
prune deletes nothing (a veto). If the prune has decided, the pin came too late.

Two prunes see each other in the same way. Each puts its candidates, then reads the records of the others, then the
points. It does not count a point as left if another prune may delete it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta

from vmkeep.blobs import BlobStore, is_there
from vmkeep.errors import BlobNotFoundError, ConflictError, CorruptError
from vmkeep.lateclass import dataclass
from vmkeep.repository.folders import FORGETTINGS, POINTS
from vmkeep.repository.frames import Framer, Kind
from vmkeep.repository.points import blob_of_ref

_CANDIDATES = "candidates"
_TAKES = "takes"
_ID_SIZE = 16
_GIVEN_UP_AFTER = timedelta(hours=1)
"""Age of a record at which anybody may decide for its process. That reads all manifests meanwhile, if a rule of all VMs
is in its plan, which takes minutes for a hundred thousand of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgetting:
    """The record of one prune that forgets points."""

    id: str
    begun_at: datetime
    """The time when the record's newest blob was put, by the store's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """The points that some prunes may delete, by their records."""

    names: frozenset[str]
    unreadable: bool
    """Whether a record cannot be read. Its prune may then delete any point."""

    def __contains__(self, ref: object) -> bool:
        """Return whether one of the prunes may delete the point with a ref."""
        return self.unreadable or (isinstance(ref, str) and _name(ref) in self.names)


class Forgettings:
    """The records of prunes that forget points of one repository. Thread-safe."""

    def __init__(self, store: BlobStore, framer: Framer) -> None:
        self._store = store
        self._framer = framer

    def begin(self, refs: Iterable[str]) -> str:
        """Record the points that may be deleted, and return the record's id. Look at pins only after this."""
        record = secrets.token_hex(_ID_SIZE)
        self._put(f"{FORGETTINGS}{record}/{_CANDIDATES}", refs)
        return record

    def decide(self, record: str, refs: Iterable[str]) -> frozenset[str]:
        """Record which points are deleted, unless that is decided already; return those of ``refs`` to be deleted.

        If the record was removed, nothing may be deleted: its prune stood still for long, and points may have been
        pinned meanwhile.

        :param refs: the points to delete; empty: a veto.
        """
        wanted = list(refs)
        key = f"{FORGETTINGS}{record}/{_TAKES}"
        try:
            self._put(key, wanted)
        except ConflictError:
            decided = self._load(key)
            return frozenset(ref for ref in wanted if _name(ref) in decided)
        if is_there(self._store, f"{FORGETTINGS}{record}/{_CANDIDATES}"):
            return frozenset(wanted)
        self._store.delete(key)  # "end" removes the candidates first, so a removed record is always noticed here
        return frozenset()

    def end(self, record: str) -> None:
        """Remove a record. Only its own prune may do so, after it has decided; or a process that knows it is dead."""
        for stage in (_CANDIDATES, _TAKES):
            self._store.delete(f"{FORGETTINGS}{record}/{stage}")

    def spare(self, ref: str) -> bool:
        """Keep all prunes that have not decided yet from deleting a point; return whether none has decided to.

        First put the note that keeps later prunes from deleting the point, then call this.
        """
        spared = [self._spares(record.id, _name(ref)) for record in self.all()]
        return all(spared)

    def give_up_old(self, record: str) -> None:
        """Decide for processes that have not decided for an hour that they delete nothing.

        A process that died is out of the way then. One that lives finds the decision and begins again, as after a veto.

        :param record: the caller's own record, put just now: its time is that of the store's clock.
        """
        records = self.all()
        time = max((own.begun_at for own in records if own.id == record), default=None)
        for other in records:
            if time is not None and _is_given_up(other, time):
                with suppress(BlobNotFoundError, CorruptError):  # it has ended, or its decision cannot be read
                    self.decide(other.id, ())

    def claims(self, *, besides: str | None = None, time: datetime | None = None) -> Claims:
        """Return the points that prunes may delete. Call this before listing the points.

        :param besides: the id of the caller's own record, which is left out.
        :param time: now, by the store's clock, to leave out the records that :meth:`give_up_old` would decide.
        """
        claimed = [
            self._claimed(record.id, given_up=time is not None and _is_given_up(record, time))
            for record in self.all()
            if record.id != besides
        ]
        return Claims(
            names=frozenset().union(*(names for names in claimed if names is not None)), unreadable=None in claimed
        )

    def all(self) -> list[Forgetting]:
        """Return all records."""
        found: dict[str, datetime] = {}
        for blob in self._store.list(FORGETTINGS):
            record = blob.key.removeprefix(FORGETTINGS).partition("/")[0]
            found[record] = max(blob.modified, found.get(record, blob.modified))
        return [Forgetting(id=record, begun_at=at) for record, at in found.items()]

    def _spares(self, record: str, name: str) -> bool:
        key = f"{FORGETTINGS}{record}/{_CANDIDATES}"
        try:
            if name not in self._load(key):
                return True
        except BlobNotFoundError:
            return True  # its prune has ended
        except CorruptError:
            pass  # any point may be a candidate
        try:
            self.decide(record, ())
            return name not in self._load(f"{FORGETTINGS}{record}/{_TAKES}")
        except BlobNotFoundError:
            return True  # its prune ended just now; the caller sees that the deleted points are gone
        except CorruptError:
            return False

    def _claimed(self, record: str, *, given_up: bool) -> frozenset[str] | None:
        """Return the points that a record's prune may delete; ``None``: the record cannot be read.

        :param given_up: count only what the prune has decided.
        """
        for stage in (_TAKES,) if given_up else (_TAKES, _CANDIDATES):
            try:
                return self._load(f"{FORGETTINGS}{record}/{stage}")
            except BlobNotFoundError:
                continue
            except CorruptError:
                return None
        return frozenset()  # the prune has ended, and the points that it deleted are gone

    def _put(self, key: str, refs: Iterable[str]) -> None:
        content = json.dumps({"points": sorted(map(_name, refs))}, separators=(",", ":")).encode()
        self._store.put(key, self._framer.wrap(Kind.NOTE, content, name=key))

    def _load(self, key: str) -> frozenset[str]:
        content = self._framer.unwrap(Kind.NOTE, self._store.get(key), name=key)
        try:
            return frozenset(json.loads(bytes(content))["points"])
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptError(f"{key} does not parse: {error}") from error


def _name(ref: str) -> str:
    return blob_of_ref(ref).removeprefix(POINTS)


def _is_given_up(record: Forgetting, time: datetime) -> bool:
    """Return whether anybody may decide for a record's process. Also one of the future, which comes from a wrong clock.

    Otherwise such a record would claim its points until that time.
    """
    return abs(time - record.begun_at) > _GIVEN_UP_AFTER

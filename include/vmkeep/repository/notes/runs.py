"""The area of a run, ``runs/<run>/``: its steps leave values here for each other until the restore point is sealed.

The notes are small, can be rewritten, and are removed when the run is over. No restore needs them. Two kinds of blobs
inform maintenance: :mod:`vmkeep.repository.notes.tries` writes and reads :data:`TRIES`, and
:mod:`vmkeep.repository.sealing.handshake` writes and reads :data:`SEALING`. Several processes may work under one name,
so nothing here removes a blob that only its own process may remove.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import unquote

from vmkeep.blobs import BlobStore, confirm_lists, is_there
from vmkeep.clock import Deadline
from vmkeep.errors import BlobNotFoundError, ConflictError, CorruptError, NotFoundError
from vmkeep.model.extents import Extent, Extents
from vmkeep.repository.folders import RUNS
from vmkeep.repository.frames import Framer, Kind, decode_extents, encode_extents
from vmkeep.repository.notes.leases import EXPIRES_AFTER, Lease, is_released
from vmkeep.repository.points import safe_name

BEGUN = "begun"
TRIES = "tries/"
LEASES = "leases/"
SEALING = "sealing/"
ARRAY_HOOKS = "array-hooks"
GUEST_THAWS = "guest-thaws"
OWED_COPIES = "owed-copies"
AGREED_RETENTION = "agreed-retention"
DUTIES = (ARRAY_HOOKS, GUEST_THAWS, OWED_COPIES, AGREED_RETENTION)
"""Areas of no run. Maintenance removes no note in them: it says what is still to be done, or what people agreed on."""
INDEX_STAYS = "index-stays"
"""An area of no run, which says that the store refuses to delete segments of the index. Maintenance removes it."""
_POLL = 0.5


class RunArea:
    """The area of one run: its notes, its leases and its fence."""

    def __init__(self, store: BlobStore, framer: Framer, run: str) -> None:
        self.run = run
        self._store = store
        self._framer = framer
        self._prefix = f"{RUNS}{safe_name(run)}/"
        self._fence = f"{self._prefix}fence"

    def store(self, name: str, data: bytes) -> None:
        """Write a note; replace an older one of that name."""
        key = self._note(name)
        self._store.replace(key, self._framer.wrap(Kind.NOTE, data, name=key))

    def store_once(self, name: str, data: bytes) -> bytes:
        """Write a note unless one of that name exists; return the one that exists then. Of many writers, one wins."""
        key = self._note(name)
        try:
            self._store.put(key, self._framer.wrap(Kind.NOTE, data, name=key))
        except ConflictError:
            return self.load(name)
        return data

    def load(self, name: str) -> bytes:
        """Return a note.

        :raises NotFoundError: there is no note of that name.
        :raises CorruptError: the note is damaged.
        """
        key = self._note(name)
        try:
            blob = self._store.get(key)
        except BlobNotFoundError as error:
            raise NotFoundError(f"run {self.run}: has no '{name}'") from error
        try:
            return bytes(self._framer.unwrap(Kind.NOTE, blob, name=key))
        except CorruptError as error:
            raise CorruptError(f"run {self.run}: '{name}' is damaged: {error}") from error

    def discard(self, name: str) -> None:
        """Remove a note, if it is there."""
        self._store.delete(self._note(name))

    def has(self, name: str) -> bool:
        """Return whether there is a note of that name, also if it cannot be read. Looks for it by its name."""
        return is_there(self._store, self._note(name))

    def names(self) -> list[str]:
        """Return the names of all notes."""
        prefix = f"{self._prefix}notes/"
        return [unquote(blob.key[len(prefix) :]) for blob in self._store.list(prefix)]

    def store_extents(self, name: str, extents: Sequence[Extent]) -> None:
        """Write a list of extents as a note."""
        self.store(name, encode_extents(extents))

    def load_extents(self, name: str) -> Extents:
        """Return a list of extents."""
        return decode_extents(self.load(name))

    def open_lease(self, name: str, *, removed: bool = False) -> Lease:
        """Return the lease of one copy, as a context manager. An earlier holder of the lease stops.

        :param removed: whether the lease's blob is removed at the end, instead of saying that it was given back.
        """
        key = f"{self._prefix}{LEASES}{safe_name(name)}"
        return Lease(self._store, self._framer, key=key, fence=self._fence, removed=removed)

    def fence(self) -> None:
        """Tell every copy of this run, now and later, to stop."""
        blob = self._framer.wrap(Kind.NOTE, b"fenced", name=self._fence)
        with suppress(ConflictError):  # the fence stands already; encryption gives it other bytes each time
            self._store.put(self._fence, blob)

    @property
    def fenced(self) -> bool:
        """Return whether the fence stands."""
        return is_there(self._store, self._fence)

    def await_copies(self, deadline: Deadline) -> int:
        """Wait until no copy of this run can be at work; return the number of leases. Call :meth:`fence` first.

        :raises DeadlineError: a copy still renews its lease.
        """
        seen: dict[str, tuple[bytes, float]] = {}
        while True:
            leases = self._leases()
            clock = time.monotonic()
            for key, blob in leases.items():
                if key not in seen or seen[key][0] != blob:
                    seen[key] = (blob, clock)
            if all(self._over(key, blob) or clock - seen[key][1] >= EXPIRES_AFTER for key, blob in leases.items()):
                return len(leases)
            deadline.pause(_POLL)

    def has_live_lease(self) -> bool:
        """Return whether a copy of this run is at work. Watch a silent lease until it expires, if need be.

        A lease that is given back meanwhile is no sign of life.
        """
        first = self._held()
        expires = time.monotonic() + EXPIRES_AFTER
        held = first
        while first.keys() & held.keys():
            if any(held.get(key, blob) != blob for key, blob in first.items()):
                return True
            if time.monotonic() >= expires:
                return False
            time.sleep(_POLL)
            held = self._held()
        return False

    def _held(self) -> dict[str, bytes]:
        """Return the leases that were not given back."""
        return {key: blob for key, blob in self._leases().items() if not self._over(key, blob)}

    def _leases(self) -> dict[str, bytes]:
        confirm_lists(self._store)  # a lease that is missing in a list looks like a dead run
        leases: dict[str, bytes] = {}
        for info in self._store.list(f"{self._prefix}{LEASES}"):
            try:
                leases[info.key] = self._store.get(info.key)
            except BlobNotFoundError:
                continue
        return leases

    def _over(self, key: str, blob: bytes) -> bool:
        try:
            return is_released(self._framer, key, blob)
        except CorruptError:
            return False

    def restart(self) -> None:
        """Remove the notes of an earlier try. Its copies that still run find their lease gone and stop.

        Two kinds of blobs stay because they hold off sweeps: the beginnings of tries, and the intents to seal. A step
        of the earlier try may still be at work with blocks that it found then.
        """
        confirm_lists(self._store)  # a note that stays would be taken for one of the new try
        self.end()

    def end(self) -> None:
        """Remove what the steps of this run have left for each other. Call it once none of them can be at work.

        Blobs that hold off sweeps stay, as in :meth:`restart`: a try that has sealed its point has removed its own.
        """
        kept = tuple(f"{self._prefix}{name}" for name in (TRIES, SEALING))
        for info in list(self._store.list(self._prefix)):
            if not info.key.startswith(kept) and info.key != f"{self._prefix}{BEGUN}":
                self._store.delete(info.key)

    def _note(self, name: str) -> str:
        return f"{self._prefix}notes/{safe_name(name)}"

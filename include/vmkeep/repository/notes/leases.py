"""Leases and the fence, by which a clean-up learns that no copy of a run is at work any more.

A copy holds a lease: a small blob that one of its threads rewrites every two seconds. A process that cleans up first
puts the fence. Then it waits until every lease was given back, or has not changed for fifteen seconds. It measures them
on its own monotonic clock, so no clocks are compared. A copy looks for the fence at each renewal. It stops when the
fence stands, or when another process has taken its lease.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from contextlib import nullcontext, suppress
from types import TracebackType
from typing import Self

from vmkeep.blobs import BlobStore, is_there
from vmkeep.errors import BlobNotFoundError, CorruptError, FencedError, VmKeepError
from vmkeep.repository.frames import Framer, Kind

RENEWED_EVERY = 2.0
"""Seconds between two renewals of a lease."""
EXPIRES_AFTER = 15.0
"""Seconds without a change after which a lease's holder counts as dead."""
_GIVES_UP_AFTER = 10.0
"""Seconds without a successful renewal after which a holder stops, well before others may take it for dead."""


class Lease:
    """The lease of one copy, held while the context manager is open."""

    def __init__(
        self,
        store: BlobStore,
        framer: Framer,
        *,
        key: str,
        fence: str,
        every: float = RENEWED_EVERY,
        removed: bool = False,
    ) -> None:
        self._store = store
        self._framer = framer
        self._key = key
        self._fence = fence
        self._every = every
        self._removed = removed
        self._owner = secrets.token_hex(8)
        self._beat = 0
        self._stop = threading.Event()
        self._lost: str | None = None
        self._ours = True
        self.is_taken_over = False
        """Another process has taken the lease, so that everything under it is that one's."""
        self._renewed_at = 0.0
        self._failure = ""
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def __enter__(self) -> Self:
        """Take the lease, also from another holder, which then stops.

        :raises FencedError: the run is being cleaned up.
        """
        self._renewed_at = time.monotonic()
        self._write("held")
        if self._fenced():  # look only after the lease is put, because a clean-up puts the fence before it lists leases
            self._store.delete(self._key)
            raise FencedError("this run is being cleaned up; start a new one")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the lease back, so that nobody has to wait for it to expire."""
        self._stop.set()
        self._thread.join()
        if self._removed:
            with nullcontext() if error is None else suppress(VmKeepError):
                self._store.delete(self._key)
        elif self._ours:
            with suppress(VmKeepError):  # else the lease expires; a clean-up has to wait, but the copied data is good
                if self._is_still_ours():  # because it may have been taken since the last renewal
                    self._write("released")

    def check(self) -> None:
        """Return if this copy may go on.

        :raises FencedError: the copy must stop; the message holds the reason.
        """
        if self._lost is None and (since := time.monotonic() - self._renewed_at) > _GIVES_UP_AFTER:
            why = f": {self._failure}" if self._failure else ""
            self._lost = f"the lease of this copy could not be renewed for {since:.0f} s{why}"
        if self._lost is not None:
            raise FencedError(self._lost)

    def _run(self) -> None:
        while self._lost is None and not self._stop.wait(self._every):
            asked_at = time.monotonic()
            try:
                self._renew()
                self._renewed_at, self._failure = asked_at, ""
            except CorruptError as error:
                self._lost = f"the lease of this copy is damaged: {error}"
            except VmKeepError as error:
                self._failure = str(error)  # "check" goes by the time since the last success, because calls may hang

    def _renew(self) -> None:
        if self._fenced():
            self._lost = "this run is being cleaned up"
            return
        if self._is_still_ours():
            self._write("held")

    def _is_still_ours(self) -> bool:
        try:
            owner = _fields(self._framer, self._key, self._store.get(self._key)).get("owner")
        except BlobNotFoundError:
            owner = None
        if owner != self._owner:
            self._ours, self.is_taken_over = False, owner is not None
            self._lost = "another try of this copy has taken over" if owner else "this run was cleaned up"
        return self._ours

    def _write(self, state: str) -> None:
        self._beat += 1
        fields = {"owner": self._owner, "beat": self._beat, "state": state}
        self._store.replace(self._key, self._framer.wrap(Kind.NOTE, json.dumps(fields).encode(), name=self._key))

    def _fenced(self) -> bool:
        return is_there(self._store, self._fence)


def is_held(store: BlobStore, framer: Framer, key: str) -> bool:
    """Return whether a lease is there and was not given back. A lease that cannot be read counts as held."""
    try:
        return not is_released(framer, key, store.get(key))
    except BlobNotFoundError:
        return False
    except CorruptError:
        return True


def is_released(framer: Framer, key: str, blob: bytes) -> bool:
    """Return whether a lease's blob says that its holder gave it back."""
    return _fields(framer, key, blob).get("state") == "released"


def _fields(framer: Framer, key: str, blob: bytes) -> dict[str, object]:
    try:
        fields = json.loads(bytes(framer.unwrap(Kind.NOTE, blob, name=key)))
    except ValueError as error:
        raise CorruptError(f"lease does not parse: {error}") from error
    if not isinstance(fields, dict):
        raise CorruptError("lease does not parse")
    return fields

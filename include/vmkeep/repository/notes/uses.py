"""Uses of restore points: while a process reads a point for long, nobody deletes the point.

    uses/<vm>/<point>/<random>   put again every minute while the process reads

The note is JSON ``{"point": <ref>, "doing": …, "host": …, "process": …, "since": …}``. It counts for ten minutes after
it was last put, by the store's clock. So the use of a process that died ends by itself, and no clocks of two machines
are compared. As with a pin, the use is put first, and then the prunes that have not decided yet are vetoed; see
:mod:`vmkeep.repository.notes.forgetting`. This is repeated each minute, so that a process which stood still for long
learns whether its point was given up meanwhile.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Final, Self

from vmkeep.blobs import BlobInfo, BlobStore, abreast, is_there
from vmkeep.clock import now
from vmkeep.errors import BlobNotFoundError, CorruptError, NotFoundError, VmKeepError
from vmkeep.lateclass import dataclass
from vmkeep.model.job import from_json, to_json
from vmkeep.repository.folders import POINTS, USES
from vmkeep.repository.frames import Framer, Kind
from vmkeep.repository.notes.forgetting import Forgettings
from vmkeep.repository.points import blob_of_ref

RENEWED_EVERY: Final = 60.0
"""Seconds between two renewals of a use."""
COUNTS_FOR: Final = timedelta(minutes=10)
"""Time after its last renewal for which a use keeps its point."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A process that reads a restore point for long."""

    point: str
    """The point's ref."""
    doing: str
    """The work it does with the point, e.g. ``serving``."""
    host: str
    """Name of the machine on which it runs."""
    process: int
    since: datetime | None
    """The time when it began; ``None``: the note cannot be read."""

    def __str__(self) -> str:
        """Return it in words, e.g. ``serving on proxy1 (process 4711)``."""
        return f"{self.doing} on {self.host} (process {self.process})"


class PointUses:
    """The uses of one repository's restore points. Thread-safe."""

    def __init__(self, store: BlobStore, framer: Framer) -> None:
        self._store = store
        self._framer = framer
        self._forgettings = Forgettings(store, framer)

    def open(self, ref: str, *, doing: str) -> OpenUse:
        """Return a use of a point by this process, as a context manager.

        :param ref: a full ref.
        :param doing: what the process does with it, for people, e.g. ``serving``.
        """
        use = Use(point=ref, doing=doing, host=socket.gethostname(), process=os.getpid(), since=now())
        return OpenUse(self._store, self._framer, self._forgettings, use)

    def all(self, *, time: datetime) -> Mapping[str, tuple[Use, ...]]:
        """Return the uses that count, by the blob key of their point's manifest.

        :param time: now, by the store's clock. Our own clock is good enough to show uses to people.
        """
        return self._load_all(USES, time)

    def of(self, ref: str, *, time: datetime) -> tuple[Use, ...]:
        """Return the uses of one point that count; see :meth:`all`."""
        return self._load_all(f"{USES}{_name(ref)}/", time).get(blob_of_ref(ref), ())

    def forget(self, ref: str) -> None:
        """Remove the uses of a point that is gone."""
        for blob in list(self._store.list(f"{USES}{_name(ref)}/")):
            self._store.delete(blob.key)

    def remove_dead(self, *, time: datetime) -> None:
        """Remove the notes of processes that died. The note of a process that only stood still comes back.

        :param time: now, by the store's clock.
        """
        for blob in list(self._store.list(USES)):
            if abs(time - blob.modified) >= 2 * COUNTS_FOR:
                self._store.delete(blob.key)

    def _load_all(self, prefix: str, time: datetime) -> dict[str, tuple[Use, ...]]:
        # A note of the future, which comes from a wrong clock, counts no more: a living process writes it anew.
        blobs = [blob for blob in self._store.list(prefix) if abs(time - blob.modified) < COUNTS_FOR]
        uses: defaultdict[str, tuple[Use, ...]] = defaultdict(tuple)
        for blob, use in zip(blobs, abreast(self._store, self._load, blobs), strict=True):
            if use is not None:
                uses[_manifest(blob)] += (use,)
        return dict(uses)

    def _load(self, blob: BlobInfo) -> Use | None:
        try:
            content = self._framer.unwrap(Kind.NOTE, self._store.get(blob.key), name=blob.key)
            return from_json(Use, bytes(content))
        except BlobNotFoundError:
            return None  # the use has ended just now
        except (CorruptError, ValueError):
            return Use(point="", doing="something that cannot be read", host="a machine", process=0, since=None)


class OpenUse:
    """The use of a point by this process, while the context manager is open."""

    def __init__(self, store: BlobStore, framer: Framer, forgettings: Forgettings, use: Use) -> None:
        self._store = store
        self._framer = framer
        self._forgettings = forgettings
        self._use = use
        self._key = f"{USES}{_name(use.point)}/{secrets.token_hex(8)}"
        self._stop = threading.Event()
        self._gone = False
        self._warned = False
        self._thread = threading.Thread(target=self._run, name="use", daemon=True)

    def __enter__(self) -> Self:
        """Keep the point from now on.

        If the store takes no note, or a prune has decided to delete the point, the use begins all the same, with a
        warning, because the point can still be read.

        :raises NotFoundError: there is no such point.
        """
        self._renew()
        self.check()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the use, so that nobody has to wait for it to end by itself."""
        self._stop.set()
        self._thread.join()
        self._remove()

    def check(self) -> None:
        """Return if the point is there, as far as the last renewal tells. Costs nothing.

        :raises NotFoundError: the point was deleted.
        """
        if self._gone:
            raise NotFoundError(
                f"restore point {self._use.point} is not there (any more): see 'vmkeep point list'; "
                "what is still read of it may be missing soon"
            )

    def _run(self) -> None:
        while not self._gone and not self._stop.wait(RENEWED_EVERY):
            try:
                self._renew()
            except VmKeepError as error:
                self._warn(f"could not be noted as in use: {error}")

    def _renew(self) -> None:
        """Put the note, then look for prunes and for the point."""
        try:
            self._store.replace(self._key, self._framer.wrap(Kind.NOTE, to_json(self._use), name=self._key))
            if not self._forgettings.spare(self._use.point):
                self._warn("is deleted soon, because a prune has decided so")
        except VmKeepError as error:
            self._warn(f"is not kept while it is in use, because the store takes no note: {error}")
        if not is_there(self._store, blob_of_ref(self._use.point)):
            self._gone = True
            self._remove()

    def _remove(self) -> None:
        try:
            self._store.delete(self._key)
        except VmKeepError as error:
            log.debug("%s: %s", self._key, error)  # it ends by itself

    def _warn(self, why: str) -> None:
        if not self._warned:
            self._warned = True
            log.warning("restore point %s %s", self._use.point, why)


def used_words(uses: Iterable[Use]) -> str:
    """Return some uses of a point in words, e.g. ``in use: serving on proxy1 (process 4711)``."""
    return f"in use: {', '.join(dict.fromkeys(map(str, uses)))}"


def _manifest(blob: BlobInfo) -> str:
    return POINTS + blob.key.removeprefix(USES).rpartition("/")[0]


def _name(ref: str) -> str:
    return blob_of_ref(ref).removeprefix(POINTS)

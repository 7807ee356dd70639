"""Permits: at most N at a time of something that runs on several machines share, such as the NFC sessions of a host.

    runs/permits-<digest>/slots/<number>/<turn>   a holder took the slot: JSON with the holder's name and sign of life
    runs/permits-<digest>/waiting/<place>-<owner> a party waits, and comes again within minutes
    runs/permits-<digest>/asked                   its age is that of the last look at what is free

Nobody holds a lock. A limit of N has N slots. Whoever holds the highest turn of a slot holds the slot, as long as it
shows a sign of life. To take a slot that is free, a party creates the next turn; of several parties one creates it.
The number of a turn never falls, because a blob is deleted only below a higher one. So a party that was stopped between
its look and its take finds a higher turn afterwards, and withdraws.

A copy's permit ends with the copy's lease. The permit of a run whose tasks run one after the other ends when it is
given back, or hours after the last sign of life in the run's area. Ages are differences between stamps of the store's
clock. Free slots go to those who have waited longest: a place in the queue is a time, and later than every place before
it, so that a party whose clock is wrong gets in front of nobody.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from blake3 import blake3

from vmkeep.blobs import BlobInfo, BlobStore, abreast, is_remote
from vmkeep.clock import now
from vmkeep.errors import BlobNotFoundError, ConflictError, CorruptError, DeadlineError, LimitReachedError, VmKeepError
from vmkeep.model.limits import Holder, Limit, Usage
from vmkeep.model.wording import counted
from vmkeep.repository.folders import RUNS
from vmkeep.repository.frames import Framer, Kind
from vmkeep.repository.notes.leases import is_held
from vmkeep.repository.notes.runs import LEASES
from vmkeep.repository.points import safe_name

LEASE_LASTS: Final = timedelta(seconds=60)
"""Age at which a lease that is not renewed keeps no permit. Its holder has stopped long before. A file system in a
network may show an old age for some seconds."""
RUN_LASTS: Final = timedelta(hours=6)
"""Time after a run's last sign of life for which its permits stay. ``snapshot_sweep`` ends a dead run much earlier."""
COMES_AGAIN: Final = timedelta(minutes=5)
"""A party that waits asks again at least this often."""
GIVES_UP_AFTER: Final = timedelta(days=1)
"""A party that finds no room for so long stops asking."""
_WAITING_LASTS: Final = COMES_AGAIN + timedelta(minutes=1)
_FIRST_WAIT: Final = 15.0
"""Seconds after which the first ones in the queue ask again. Those behind ask less often, because each question costs
the start of a task."""
PREFIX: Final = "permits-"
"""The beginning of the name of each limit's area."""
_SLOT: Final = re.compile(r"slots/([0-9]+)/([0-9]+)")
_STAMP: Final = "%Y%m%dT%H%M%S%f"

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Turn:
    """The highest turn of one slot."""

    number: int
    turn: int
    blob: BlobInfo
    fields: dict[str, Any]


class Permits:
    """The permits of one limit. Any number of processes may use them at the same time."""

    def __init__(self, store: BlobStore, framer: Framer, limit: Limit) -> None:
        self._store = store
        self._framer = framer
        self._limit = limit
        self._prefix = f"{RUNS}{PREFIX}{_digest(limit.key)}/"

    def take(self, holder: Holder, *, room: int | None = None) -> None:
        """Take a permit, or stand in the queue. An owner that holds a permit already keeps that one.

        :param room: number of parties that may get a permit now, by another limit; ``None``: any number.
        :raises LimitReachedError: no permit is free, or others have waited longer for it. Ask again.
        :raises DeadlineError: this party has asked for a day. It leaves the queue.
        """
        blobs = list(self._store.list(self._prefix))
        turns = self._turns(blobs)
        ticket, since = self._ticket_of(holder, blobs)
        if any(_is_own(turn, holder) and self._take_slot(turn.number, turns, holder) for turn in turns):
            return self._store.delete(ticket)
        at = None
        held = self._held(turns, at)
        if self._tickets(blobs) or not self._free(held)[:room]:
            self._queue(ticket, holder, since)
            blobs = list(self._store.list(self._prefix))
            at = next((blob.modified for blob in blobs if blob.key == ticket), None)
            turns = self._turns(blobs)
            held = self._held(turns, at)
        ahead = self._ahead(blobs, ticket, at) if at is not None else 0
        free = self._free(held)[:room]
        if len(free) > ahead and any(self._take_slot(number, turns, holder) for number in free):
            return self._store.delete(ticket)
        if at is None:  # others were faster; from now on this party has its place in the queue
            self._queue(ticket, holder, since)
        self._require_patience(ticket, since)
        raise self._reached(held, ahead, room, since)

    def room(self) -> int:
        """Return how many permits are free, and not waited for."""
        blobs = list(self._store.list(self._prefix))
        free = len(self._free(self._held(self._turns(blobs), None)))
        if free > len(self._tickets(blobs)):
            return free - len(self._tickets(blobs))
        blobs, at = self._look()
        waiting = self._tickets(blobs) if at is None else [one for one in self._tickets(blobs) if _is_waiting(one, at)]
        return max(0, len(self._free(self._held(self._turns(blobs), at))) - len(waiting))

    def _look(self) -> tuple[list[BlobInfo], datetime | None]:
        """Return the notes of this limit and the store's time, by which dead holders and parties are told.

        :returns: the time is ``None`` if the store does not show it.
        """
        asked = f"{self._prefix}asked"
        self._store.replace(asked, self._wrap(asked, {}))
        blobs = list(self._store.list(self._prefix))
        return blobs, next((blob.modified for blob in blobs if blob.key == asked), None)

    def give_back(self, owner: str) -> None:
        """Give back an owner's permit, and leave the queue. It is no error if the owner holds no permit."""
        blobs = list(self._store.list(self._prefix))
        for turn in self._turns(blobs):
            if turn.fields.get("owner") == owner:
                self._store.replace(turn.blob.key, self._wrap(turn.blob.key, {**turn.fields, "over": True}))
        for blob in self._tickets(blobs):
            if blob.key.endswith(f"-{_digest(owner)}"):
                self._store.delete(blob.key)

    def is_held(self, at: datetime) -> bool:
        """Return whether somebody holds a permit who may still be at work. Writes nothing.

        :param at: now, by the store's clock.
        """
        return bool(self._held(self._turns(list(self._store.list(self._prefix))), at))

    def usage(self) -> Usage:
        """Return the work that holds permits, and the work that waits."""
        try:
            blobs, at = self._look()
        except VmKeepError:  # whoever may only read is shown holders of whom nobody can tell whether they are dead
            blobs, at = list(self._store.list(self._prefix)), None
        held = self._held(self._turns(blobs), at)
        asking = [blob for blob in self._tickets(blobs) if at is None or _is_waiting(blob, at)]
        tickets = [(blob, self._load(blob.key)) for blob in asking]
        return Usage(
            limit=self._limit,
            holders=tuple(_what(turn.fields) for turn in held),
            waiting=tuple(_what(fields) for _, fields in tickets),
            since=tuple(_time_of(fields) or blob.modified for blob, fields in tickets),
            runs=tuple(
                str(turn.fields["run"]) for turn in held if "run" in turn.fields and not turn.fields.get("lease")
            ),
        )

    def _turns(self, blobs: Iterable[BlobInfo]) -> list[_Turn]:
        """Return the highest turn of each slot that was ever taken."""
        highest: dict[int, tuple[int, BlobInfo]] = {}
        for blob in blobs:
            if named := _SLOT.fullmatch(blob.key.removeprefix(self._prefix)):
                number, turn = int(named[1]), int(named[2])
                highest[number] = max(highest.get(number, (0, blob)), (turn, blob), key=lambda pair: pair[0])
        found = sorted(highest.items())
        loaded = self._each(self._load, [blob.key for _, (_, blob) in found])
        return [_Turn(number, turn, blob, fields) for (number, (turn, blob)), fields in zip(found, loaded, strict=True)]

    def _held(self, turns: list[_Turn], at: datetime | None) -> list[_Turn]:
        """Return the turns whose holders have not given them back, and may still be at work.

        :param at: now, by the store's clock; ``None``: not known, so that nothing counts as expired.
        """
        alive = self._each(lambda turn: self._is_alive(turn, at), turns)
        return [turn for turn, is_alive in zip(turns, alive, strict=True) if is_alive]

    def _free(self, held: list[_Turn]) -> list[int]:
        """Return the numbers of the slots that may be taken now."""
        taken = {turn.number for turn in held}
        left = max(0, self._limit.most - len(taken))
        return [number for number in range(self._limit.most) if number not in taken][:left]

    def _each(self, call: Callable[[T], R], items: Sequence[T]) -> Iterable[R]:
        """Call for each item, several at a time where each call is a round trip."""
        return abreast(self._store, call, items) if is_remote(self._store) else map(call, items)

    def _is_alive(self, turn: _Turn, at: datetime | None) -> bool:
        if turn.fields.get("over"):
            return False
        area = f"{RUNS}{safe_name(str(turn.fields.get('run')))}/"
        lease = turn.fields.get("lease")
        if lease is None:
            return at is None or at - self._last_sign(turn, area, at) < RUN_LASTS
        key = f"{area}{LEASES}{safe_name(str(lease))}"
        if not is_held(self._store, self._framer, key):
            return False
        if at is None:
            return True
        stamps = [blob.modified for blob in self._store.list(f"{area}{LEASES}") if blob.key == key]
        return bool(stamps) and at - stamps[0] < LEASE_LASTS

    def _last_sign(self, turn: _Turn, area: str, at: datetime) -> datetime:
        if at - turn.blob.modified < RUN_LASTS:
            return turn.blob.modified
        return max([turn.blob.modified, *(blob.modified for blob in self._store.list(area))])

    def _take_slot(self, number: int, turns: list[_Turn], holder: Holder) -> bool:
        """Try to take a slot that was free a moment ago; return whether it is the holder's now."""
        last = max((turn.turn for turn in turns if turn.number == number), default=0)
        slot = f"{self._prefix}slots/{number}/"
        key = f"{slot}{last + 1:012d}"
        fields = {"owner": holder.owner, "run": holder.run, "what": holder.what, "lease": holder.lease}
        try:
            self._store.put(key, self._wrap(key, {**fields, "limit": asdict(self._limit)}))
        except ConflictError:
            return False
        others = [blob.key for blob in self._store.list(slot) if blob.key != key]
        if any(other > key for other in others):
            self._store.delete(key)  # it came late, because later turns have come and gone meanwhile
            return False
        for other in others:
            self._store.delete(other)
        return True

    def _queue(self, ticket: str, holder: Holder, since: datetime) -> None:
        """Say that a party waits, since when, and with which limit it asks, because that may have changed since."""
        fields = {"what": holder.what, "since": since.isoformat(), "limit": asdict(self._limit)}
        self._store.replace(ticket, self._wrap(ticket, fields))

    def _ticket_of(self, holder: Holder, blobs: Iterable[BlobInfo]) -> tuple[str, datetime]:
        """Return the key of a party's place in the queue, and the time since when the party asks, by its clock.

        It is the place that it has, or a new one at the end.
        """
        end, at, tickets = f"-{_digest(holder.owner)}", now(), self._tickets(blobs)
        for ticket in tickets:
            if ticket.key.endswith(end):
                return ticket.key, _time_of(self._load(ticket.key)) or at
        last = max((place for ticket in tickets if (place := _place(ticket.key))), default=at)
        place = at if last < at else last + timedelta(microseconds=1)
        return f"{self._prefix}waiting/{place.strftime(_STAMP)}{end}", at

    def _require_patience(self, ticket: str, since: datetime) -> None:
        if now() - since >= GIVES_UP_AFTER:
            self._store.delete(ticket)
            raise DeadlineError(waiting_for=self._limit.name, seconds=GIVES_UP_AFTER.total_seconds())

    def _tickets(self, blobs: Iterable[BlobInfo]) -> list[BlobInfo]:
        return [blob for blob in blobs if blob.key.startswith(f"{self._prefix}waiting/")]

    def _ahead(self, blobs: Iterable[BlobInfo], ticket: str, at: datetime) -> int:
        """Return how many others have waited longer and still wait.

        A party may find no worker for a time. Its ticket stays for a day, so that it finds its place again, and gives
        up in time. Meanwhile nobody waits for it.
        """
        ahead = 0
        for blob in self._tickets(blobs):
            if at - blob.modified >= GIVES_UP_AFTER:
                self._store.delete(blob.key)
            elif blob.key < ticket and _is_waiting(blob, at):
                ahead += 1
        return ahead

    def _reached(self, held: list[_Turn], ahead: int, room: int | None, since: datetime) -> LimitReachedError:
        holders = [_what(turn.fields) for turn in held]
        pause = min(_FIRST_WAIT * (1 + ahead // self._limit.most), COMES_AGAIN.total_seconds())
        used = f"{len(held)} of {self._limit.most} are in use"
        used += "" if room is None or room > 0 else ", and the work that it is for could not begin now"
        by = f" ({', '.join(holders)})" if holders else ""
        queue = f", and {counted(ahead, 'other')} asked before" if ahead else ""
        more = f"it has waited since {since:%H:%M} UTC; '{self._limit.setting}' in the limits sets their number"
        return LimitReachedError(f"waits for {self._limit.name}: {used}{by}{queue}; {more}", again_after=pause)

    def _wrap(self, key: str, fields: dict[str, Any]) -> bytes:
        return self._framer.wrap(Kind.NOTE, json.dumps(fields).encode(), name=key)

    def _load(self, key: str) -> dict[str, Any]:
        """Return the fields of a blob. One that cannot be read has none, and so counts as held until it is old."""
        with suppress(BlobNotFoundError, CorruptError, ValueError):
            fields = json.loads(bytes(self._framer.unwrap(Kind.NOTE, self._store.get(key), name=key)))
            if isinstance(fields, dict):
                return fields
        return {}


def _digest(text: str) -> str:
    return blake3(text.encode()).hexdigest()[:32]


def _is_waiting(ticket: BlobInfo, at: datetime) -> bool:
    """Return whether a party still asks. One that is dead asks no more."""
    return at - ticket.modified < _WAITING_LASTS


def _place(ticket: str) -> datetime | None:
    """Return the place in the queue that a ticket's key names; ``None``: somebody else has put the blob there."""
    with suppress(ValueError):
        return datetime.strptime(ticket.rpartition("/")[2].partition("-")[0], _STAMP).replace(tzinfo=UTC)
    return None


def _time_of(fields: dict[str, Any]) -> datetime | None:
    """Return the time since when a party asks; ``None``: its ticket is damaged, or of an older program."""
    with suppress(ValueError):
        time = datetime.fromisoformat(str(fields.get("since")))
        return time if time.tzinfo else None
    return None


def _what(fields: dict[str, Any]) -> str:
    return str(fields.get("what") or "work that is not known, because its note is damaged")


def _is_own(turn: _Turn, holder: Holder) -> bool:
    return turn.fields.get("owner") == holder.owner and not turn.fields.get("over")

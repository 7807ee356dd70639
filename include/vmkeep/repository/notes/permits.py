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

from datetime import datetime

from vmkeep.blobs import BlobInfo, BlobStore
from vmkeep.errors import LimitReachedError, VmKeepError
from vmkeep.model.limits import Holder, Limit, Usage
from vmkeep.model.wording import counted
from vmkeep.repository.frames import Framer
from vmkeep.repository.notes.permitarea import PermitArea, work_of
from vmkeep.repository.notes.permitqueue import Queue, time_of
from vmkeep.repository.notes.permitslots import Slots, Turn


class Permits:
    """The permits of one limit. Any number of processes may use them at the same time."""

    def __init__(self, store: BlobStore, framer: Framer, limit: Limit) -> None:
        self._limit = limit
        self._area = PermitArea(store, framer, limit)
        self._slots = Slots(self._area, limit)
        self._queue = Queue(self._area, limit)

    def take(self, holder: Holder, *, room: int | None = None) -> None:
        """Take a permit, or stand in the queue. An owner that holds a permit already keeps that one.

        :param room: number of parties that may get a permit now, by another limit; ``None``: any number.
        :raises LimitReachedError: no permit is free, or others have waited longer for it. Ask again.
        :raises DeadlineError: this party has asked for a day. It leaves the queue.
        """
        blobs = self._area.list()
        turns = self._slots.turns(blobs)
        ticket, since = self._queue.place_of(holder, blobs)
        if any(turn.is_of(holder.owner) and self._slots.take(turn.slot, turns, holder) for turn in turns):
            return self._area.delete(ticket)
        at = None
        held = self._slots.held(turns, at)
        if self._queue.tickets(blobs) or not self._slots.free(held)[:room]:
            self._queue.stand(ticket, holder, since)
            blobs = self._area.list()
            at = next((blob.modified for blob in blobs if blob.key == ticket), None)
            turns = self._slots.turns(blobs)
            held = self._slots.held(turns, at)
        ahead = self._queue.ahead(blobs, ticket, at) if at is not None else 0
        free = self._slots.free(held)[:room]
        if len(free) > ahead and any(self._slots.take(slot, turns, holder) for slot in free):
            return self._area.delete(ticket)
        if at is None:  # others were faster; from now on this party has its place in the queue
            self._queue.stand(ticket, holder, since)
        self._queue.require_patience(ticket, since)
        raise self._reached(held, ahead, room, since)

    def room(self) -> int:
        """Return how many permits are free, and not waited for."""
        blobs = self._area.list()
        free = len(self._slots.free(self._slots.held(self._slots.turns(blobs), None)))
        if free > len(self._queue.tickets(blobs)):
            return free - len(self._queue.tickets(blobs))
        blobs, at = self._look()
        free = len(self._slots.free(self._slots.held(self._slots.turns(blobs), at)))
        return max(0, free - len(self._queue.asking(blobs, at)))

    def give_back(self, owner: str) -> None:
        """Give back an owner's permit, and leave the queue. It is no error if the owner holds no permit."""
        blobs = self._area.list()
        for turn in self._slots.turns(blobs):
            if turn.fields.get("owner") == owner:
                self._slots.give_back(turn)
        self._queue.leave(owner, blobs)

    def is_held(self, at: datetime) -> bool:
        """Return whether somebody holds a permit who may still be at work. Writes nothing.

        :param at: now, by the store's clock.
        """
        return bool(self._slots.held(self._slots.turns(self._area.list()), at))

    def usage(self) -> Usage:
        """Return the work that holds permits, and the work that waits."""
        try:
            blobs, at = self._look()
        except VmKeepError:  # whoever may only read is shown holders of whom nobody can tell whether they are dead
            blobs, at = self._area.list(), None
        held = self._slots.held(self._slots.turns(blobs), at)
        asking = self._queue.asking(blobs, at)
        loaded = self._area.each(self._area.load, [blob.key for blob in asking])
        tickets = list(zip(asking, loaded, strict=True))
        return Usage(
            limit=self._limit,
            holders=tuple(work_of(turn.fields) for turn in held),
            waiting=tuple(work_of(fields) for _, fields in tickets),
            since=tuple(time_of(fields) or blob.modified for blob, fields in tickets),
            runs=tuple(
                str(turn.fields["run"]) for turn in held if "run" in turn.fields and not turn.fields.get("lease")
            ),
        )

    def _look(self) -> tuple[list[BlobInfo], datetime | None]:
        """Return the notes of this limit and the store's time, by which dead holders and parties are told.

        :returns: the time is ``None`` if the store does not show it.
        """
        asked = f"{self._area.prefix}asked"
        self._area.replace(asked, {})
        blobs = self._area.list()
        return blobs, next((blob.modified for blob in blobs if blob.key == asked), None)

    def _reached(self, held: list[Turn], ahead: int, room: int | None, since: datetime) -> LimitReachedError:
        holders = [work_of(turn.fields) for turn in held]
        used = f"{len(held)} of {self._limit.most} are in use"
        used += "" if room is None or room > 0 else ", and the work that it is for could not begin now"
        by = f" ({', '.join(holders)})" if holders else ""
        queue = f", and {counted(ahead, 'other')} asked before" if ahead else ""
        more = f"it has waited since {since:%H:%M} UTC; '{self._limit.setting}' in the limits sets their number"
        why = f"waits for {self._limit.name}: {used}{by}{queue}; {more}"
        return LimitReachedError(why, again_after=self._queue.pause(ahead))

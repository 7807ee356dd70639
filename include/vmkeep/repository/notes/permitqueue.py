"""The queue of one limit: a ticket for each party that found no permit free."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from vmkeep.blobs import BlobInfo
from vmkeep.clock import now
from vmkeep.errors import DeadlineError
from vmkeep.model.limits import Holder, Limit
from vmkeep.repository.notes.permitarea import PermitArea, digest

COMES_AGAIN: Final = timedelta(minutes=5)
"""A party that waits asks again at least this often."""
GIVES_UP_AFTER: Final = timedelta(days=1)
"""A party that finds no room for so long stops asking."""
_WAITING_LASTS: Final = COMES_AGAIN + timedelta(minutes=1)
_FIRST_WAIT: Final = 15.0
"""Seconds after which the first ones in the queue ask again. Those behind ask less often, because each question costs
the start of a task."""
_STAMP: Final = "%Y%m%dT%H%M%S%f"


class Queue:
    """Finds, gives and takes the tickets of one limit."""

    def __init__(self, area: PermitArea, limit: Limit) -> None:
        self._area = area
        self._limit = limit

    def tickets(self, blobs: Iterable[BlobInfo]) -> list[BlobInfo]:
        """Return the tickets among the notes of the limit, the oldest first; some of them of the dead."""
        return [blob for blob in blobs if blob.key.startswith(f"{self._area.prefix}waiting/")]

    def asking(self, blobs: Iterable[BlobInfo], at: datetime | None) -> list[BlobInfo]:
        """Return the tickets of those who still ask. One that is dead asks no more.

        :param at: now, by the store's clock; ``None``: not known, so that everybody counts.
        """
        return [ticket for ticket in self.tickets(blobs) if at is None or abs(at - ticket.modified) < _WAITING_LASTS]

    def place_of(self, holder: Holder, blobs: Iterable[BlobInfo]) -> tuple[str, datetime]:
        """Return the key of a party's ticket, and the time since when the party asks, by its clock.

        It is the ticket that the party has, or a new one at the end. A time of the future, which comes from a clock
        that was ahead, counts as now, so that the party gives up in time.
        """
        end, at, tickets = f"-{digest(holder.owner)}", now(), self.tickets(blobs)
        for ticket in tickets:
            if ticket.key.endswith(end):
                return ticket.key, min(time_of(self._area.load(ticket.key)) or at, at)
        last = max((place for ticket in tickets if (place := _place(ticket.key))), default=at)
        place = at if last < at else last + timedelta(microseconds=1)
        return f"{self._area.prefix}waiting/{place.strftime(_STAMP)}{end}", at

    def stand(self, ticket: str, holder: Holder, since: datetime) -> None:
        """Say that a party waits, since when, and with which limit it asks, because that may have changed since."""
        fields = {"what": holder.what, "since": since.isoformat(), "limit": asdict(self._limit)}
        self._area.replace(ticket, fields)

    def leave(self, owner: str, blobs: Iterable[BlobInfo]) -> None:
        """Delete an owner's ticket, if there is one."""
        for blob in self.tickets(blobs):
            if blob.key.endswith(f"-{digest(owner)}"):
                self._area.delete(blob.key)

    def ahead(self, blobs: Iterable[BlobInfo], ticket: str, at: datetime) -> int:
        """Return how many others have waited longer and still wait.

        A party may find no worker for a time. Its ticket stays for a day, so that it finds its place again, and gives
        up in time. Meanwhile nobody waits for it.
        """
        for blob in self.tickets(blobs):
            if abs(at - blob.modified) >= GIVES_UP_AFTER:  # also of the future, which comes from a wrong clock
                self._area.delete(blob.key)
        return sum(blob.key < ticket for blob in self.asking(blobs, at))

    def require_patience(self, ticket: str, since: datetime) -> None:
        """Return if a party has not asked for too long.

        :raises DeadlineError: it has. Its ticket is gone.
        """
        if now() - since >= GIVES_UP_AFTER:
            self._area.delete(ticket)
            raise DeadlineError(waiting_for=self._limit.name, seconds=GIVES_UP_AFTER.total_seconds())

    def pause(self, ahead: int) -> float:
        """Return the seconds after which a party asks again that has some others in front of it."""
        return min(_FIRST_WAIT * (1 + ahead // self._limit.most), COMES_AGAIN.total_seconds())


def time_of(fields: dict[str, Any]) -> datetime | None:
    """Return the time since when a party asks; ``None``: its ticket is damaged, or of an older program."""
    with suppress(ValueError):
        time = datetime.fromisoformat(str(fields.get("since")))
        return time if time.tzinfo else None
    return None


def _place(ticket: str) -> datetime | None:
    """Return the place in the queue that a ticket's key names; ``None``: somebody else has put the blob there."""
    with suppress(ValueError):
        return datetime.strptime(ticket.rpartition("/")[2].partition("-")[0], _STAMP).replace(tzinfo=UTC)
    return None

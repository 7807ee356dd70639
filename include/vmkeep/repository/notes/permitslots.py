"""The slots of one limit, and their turns: whoever holds the highest turn of a slot holds the slot."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Final

from vmkeep.blobs import BlobInfo
from vmkeep.errors import ConflictError
from vmkeep.lateclass import dataclass
from vmkeep.model.limits import Holder, Limit
from vmkeep.repository.folders import RUNS
from vmkeep.repository.notes.leases import is_held
from vmkeep.repository.notes.permitarea import PermitArea
from vmkeep.repository.notes.runs import LEASES
from vmkeep.repository.points import safe_name

LEASE_LASTS: Final = timedelta(seconds=60)
"""Age at which a lease that is not renewed keeps no permit. Its holder has stopped long before. A file system in a
network may show an old age for some seconds."""
RUN_LASTS: Final = timedelta(hours=6)
"""Time after a run's last sign of life for which its permits stay. ``snapshot_sweep`` ends a dead run much earlier."""
_SLOT: Final = re.compile(r"slots/([0-9]+)/([0-9]+)")


@dataclass(frozen=True, slots=True)
class Turn:
    """The highest turn of one slot."""

    slot: int
    number: int
    blob: BlobInfo
    fields: dict[str, Any]

    def is_of(self, owner: str) -> bool:
        """Return whether an owner has taken the turn, and not given it back."""
        return self.fields.get("owner") == owner and not self.fields.get("over")


class Slots:
    """Finds the turns of one limit's slots, and takes the next ones."""

    def __init__(self, area: PermitArea, limit: Limit) -> None:
        self._area = area
        self._limit = limit

    def turns(self, blobs: Iterable[BlobInfo]) -> list[Turn]:
        """Return the highest turn of each slot that was ever taken.

        :param blobs: the notes of the limit.
        """
        highest: dict[int, tuple[int, BlobInfo]] = {}
        for blob in blobs:
            if named := _SLOT.fullmatch(blob.key.removeprefix(self._area.prefix)):
                slot, number = int(named[1]), int(named[2])
                highest[slot] = max(highest.get(slot, (0, blob)), (number, blob), key=lambda pair: pair[0])
        found = sorted(highest.items())
        loaded = self._area.each(self._area.load, [blob.key for _, (_, blob) in found])
        return [Turn(slot, number, blob, fields) for (slot, (number, blob)), fields in zip(found, loaded, strict=True)]

    def held(self, turns: list[Turn], at: datetime | None) -> list[Turn]:
        """Return the turns whose holders have not given them back, and may still be at work.

        :param at: now, by the store's clock; ``None``: not known, so that nothing counts as expired.
        """
        alive = self._area.each(lambda turn: self._is_alive(turn, at), turns)
        return [turn for turn, is_alive in zip(turns, alive, strict=True) if is_alive]

    def free(self, held: list[Turn]) -> list[int]:
        """Return the slots that may be taken now."""
        taken = {turn.slot for turn in held}
        left = max(0, self._limit.most - len(taken))
        return [slot for slot in range(self._limit.most) if slot not in taken][:left]

    def take(self, slot: int, turns: list[Turn], holder: Holder) -> bool:
        """Try to take a slot that was free a moment ago; return whether it is the holder's now."""
        last = max((turn.number for turn in turns if turn.slot == slot), default=0)
        folder = f"slots/{slot}/"
        key = f"{self._area.prefix}{folder}{last + 1:012d}"
        fields = {"owner": holder.owner, "run": holder.run, "what": holder.what, "lease": holder.lease}
        try:
            self._area.create(key, {**fields, "limit": asdict(self._limit)})
        except ConflictError:
            return False
        others = [blob.key for blob in self._area.list(folder) if blob.key != key]
        if any(other > key for other in others):
            self._area.delete(key)  # it came late, because later turns have come and gone meanwhile
            return False
        for other in others:
            self._area.delete(other)
        return True

    def give_back(self, turn: Turn) -> None:
        """Say that a turn is over."""
        self._area.replace(turn.blob.key, {**turn.fields, "over": True})

    def _is_alive(self, turn: Turn, at: datetime | None) -> bool:
        if turn.fields.get("over"):
            return False
        run = f"{RUNS}{safe_name(str(turn.fields.get('run')))}/"
        lease = turn.fields.get("lease")
        if lease is None:
            return at is None or self._silence(turn, run, at) < RUN_LASTS
        store, key = self._area.store, f"{run}{LEASES}{safe_name(str(lease))}"
        if not is_held(store, self._area.framer, key):
            return False
        if at is None:
            return True
        stamps = [blob.modified for blob in store.list(f"{run}{LEASES}") if blob.key == key]
        return bool(stamps) and abs(at - stamps[0]) < LEASE_LASTS

    def _silence(self, turn: Turn, run: str, at: datetime) -> timedelta:
        """Return the time since a run's last sign of life, or an earlier one if that is young enough.

        Each difference counts in both directions. A sign of the future, which comes from a wrong clock, would keep the
        permit until that time.
        """
        silence = abs(at - turn.blob.modified)
        if silence < RUN_LASTS:
            return silence
        return min([silence, *(abs(at - blob.modified) for blob in self._area.store.list(run))])

"""The marks of restore points as values: pins (legal holds), known damage, suspicion, and trust that ends one."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from vmkeep.lateclass import dataclass
from vmkeep.model.extents import Extent


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A hold on one restore point. While it lasts, no retention rule removes the point."""

    reason: str
    by: str
    since: datetime | None
    """The time when the pin was set; ``None``: the pin's blob is damaged, so only its existence is known."""
    until: datetime | None = None
    """The time at which the pin ends by itself; ``None``: it ends when somebody takes it off."""

    def holds(self, at: datetime) -> bool:
        """Return whether the pin still holds at a time."""
        return self.until is None or at < self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A part of a restore point that cannot be read any more."""

    name: str
    """A disk's label, or the name of a file that is kept with the point."""
    extents: tuple[Extent, ...] = ()
    """The lost byte ranges; empty: all of the disk or file is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """The known loss of one restore point. The rest of the point can be restored."""

    reason: str
    since: datetime | None
    """The time when the damage was marked; ``None``: the mark's blob is itself damaged."""
    lost: tuple[Lost, ...] = ()
    """The lost parts; empty: they are not known, so everything may be lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """A doubt about one restore point: all of it can be read, but it may not be what the VM had on its disks."""

    reason: str
    since: datetime | None
    """The time when the point was marked; ``None``: the mark's blob is damaged."""
    disks: tuple[str, ...] = ()
    """Labels of the disks in doubt; empty: they are not known, so that all are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The end of a suspicion: somebody has looked at the point and found it right. A later suspicion counts again."""

    reason: str
    by: str
    since: datetime | None
    """The time when the suspicion was taken off; ``None``: the mark's blob is damaged."""
    disks: tuple[str, ...] = ()
    """Labels of the disks that were in doubt; empty: all were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """All marks of one restore point."""

    pin: Pin | None = None
    damage: Damage | None = None
    suspicion: Suspicion | None = None
    trust: Trust | None = None

    @property
    def good(self) -> bool:
        """Whether nothing is known against the point, so that other points may be deleted beside it."""
        return self.damage is None and self.suspicion is None


def is_later(trust: Trust | None, suspicion: Suspicion) -> bool:
    """Return whether a suspicion was taken off after it arose. A mark that cannot be read ends no suspicion."""
    if trust is None or trust.since is None or suspicion.since is None:
        return False
    return trust.since >= suspicion.since


def joined(ours: Suspicion | None, theirs: Suspicion) -> Suspicion:
    """Return a suspicion of the disks that either one names."""
    if ours is None:
        return theirs
    all_disks = not ours.disks or not theirs.disks
    return replace(theirs, disks=() if all_disks else tuple(dict.fromkeys((*ours.disks, *theirs.disks))))

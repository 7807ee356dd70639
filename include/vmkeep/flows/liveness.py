"""Tells whether another run is still at work, as far as this repository can tell."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from vmkeep.errors import CorruptError, NotFoundError
from vmkeep.flows.leftover_ages import GIVEN_UP
from vmkeep.flows.restore_ledger import RunLedger
from vmkeep.repository import Repository, RunArea
from vmkeep.vsphere.claims import VmClaim

YOUNG = timedelta(minutes=10)
"""Age below which a run counts as alive, because it holds no lease between its beginning and its first copy."""
LEASE = "restore"
"""Name of the lease that a restore in one process holds from its plan to its end."""

HasEnded = Callable[[str], bool | None]
"""Takes the words by which an owner named itself; returns whether it has ended, ``None`` if it is not known here."""


def nobody_knows(_owner: str) -> bool | None:
    """Answer ``None`` for every owner, because the command line knows none."""
    return None


def is_young(since: datetime, now: datetime) -> bool:
    """Return whether a run has only just begun, by vCenter's clock.

    The difference counts in both directions, so that a clock that was put back does not keep a run young for long.
    """
    return abs(now - since) < YOUNG


def owner_of(area: RunArea) -> str | None:
    """Return the words by which the owner of a run named itself; empty: the command line; ``None``: they are lost."""
    try:
        return area.load("owner").decode()
    except (NotFoundError, CorruptError):
        return None


def owner_has_ended(area: RunArea, has_ended: HasEnded) -> bool | None:
    """Return whether the owner of a run has ended; ``None``: it is not known, or no readable note names an owner."""
    owner = owner_of(area)
    return has_ended(owner) if owner else None


def run_is_alive(
    area: RunArea,
    since: datetime,
    *,
    now: datetime,
    has_ended: HasEnded = nobody_knows,
    given_up: timedelta = GIVEN_UP,
) -> bool:
    """Tell whether the run that left a trace on a VM may still be at work, as far as this repository can tell.

    A run that names an owner counts as alive while nobody here knows the owner, because its copies may wait: for room
    within a limit, for a proxy, or for a retry. It holds no lease then.

    :param since: the time of the trace.
    :param now: the time by the same clock.
    :param given_up: age from which a silent run of an unknown owner is dead.
    """
    if area.fenced:
        return False
    if (ended := owner_has_ended(area, has_ended)) is not None:
        return not ended
    return is_young(since, now) or area.has_live_lease() or (abs(now - since) < given_up and _has_owner(area))


def _has_owner(area: RunArea) -> bool:
    """Return whether a run names an owner, so that another program could tell whether it has ended."""
    try:
        return bool(area.load("owner"))
    except NotFoundError:
        return False
    except CorruptError:
        return True


def restore_is_alive(
    repository: Repository, claim: VmClaim, *, now: datetime, has_ended: HasEnded, given_up: timedelta = GIVEN_UP
) -> bool:
    """Tell whether the restore that has marked a VM may still be at work, as far as this repository can tell.

    :param now: the time by vCenter's clock.
    :param given_up: the age from which a silent run of an unknown owner is dead.
    """
    if claim.repository != repository.id:
        return True  # because only the repository of that run knows more
    area = repository.run(claim.run)
    if area.fenced or has_finished(repository, claim):
        return False
    try:
        owner = area.load("owner").decode()
    except NotFoundError:
        return claim.age(now) < given_up  # without notes: maintenance removes those of a run that is long over
    except CorruptError:
        return claim.age(now) < given_up or area.has_live_lease()
    ended = has_ended(owner) if owner else None
    if ended is not None:
        return not ended
    return area.has_live_lease() or (bool(owner) and claim.age(now) < given_up)


def has_finished(repository: Repository, claim: VmClaim) -> bool:
    """Return whether a restore has ended well, so that its mark came back when the VM was put back to a snapshot."""
    return claim.repository == repository.id and RunLedger(repository, claim.run).finished() is not None

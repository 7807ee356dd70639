"""The ground of a sweep's steps: the repository, the vCenter, the traces on its VMs, and the sweep's wishes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Self

from vmkeep.errors import DeadlineError, VmKeepError
from vmkeep.flows.connect import open_vsphere
from vmkeep.flows.leftover_ages import FOREIGN_AGE, GIVEN_UP
from vmkeep.flows.liveness import HasEnded, nobody_knows
from vmkeep.flows.sweep_report import Finding, State
from vmkeep.lateclass import dataclass
from vmkeep.model.guest import Logins, no_logins
from vmkeep.model.site import Site
from vmkeep.repository import Repository, open_site_repository
from vmkeep.vsphere import traces
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.traces import VmTraces


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepWishes:
    """The wishes of whoever starts a sweep."""

    dry_run: bool = False
    given_up: timedelta = GIVEN_UP
    """Age from which a silent run counts as dead, though nobody knows whether it has ended."""
    foreign_age: timedelta = FOREIGN_AGE
    """Age from which a snapshot of somebody else is reported."""
    has_ended: HasEnded = nobody_knows
    """Tells whether the owner of a run has ended; ``None``: the owner is not known."""
    logins: Logins = no_logins
    """Returns the guest's user for the command that thaws it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """One look at a vCenter, with all that is needed to judge and repair."""

    site: Site
    repository: Repository
    session: Session
    wishes: SweepWishes
    vms: tuple[VmTraces, ...]
    now: datetime
    """The time by vCenter's clock."""

    def looked_again(self) -> Self:
        """Return the ground as it is now, because repairs and runs have changed it since the last look."""
        return replace(self, vms=traces.list_traces(self.session), now=self.session.server_time())

    def repaired(self, finding: Finding, repair: Callable[[], str]) -> Finding:
        """Carry out the repair of a finding, unless the sweep is to change nothing. Return the finding with its state.

        A failure is part of the finding, because it must not keep others from being repaired.

        :param repair: carries it out; returns more about it in words, or nothing.
        """
        if self.wishes.dry_run:
            return replace(finding, state=State.DEAD)
        try:
            return replace(finding, state=State.REPAIRED, detail=repair())
        except DeadlineError as error:
            return replace(finding, state=State.UNDER_WAY, detail=str(error))
        except VmKeepError as error:
            return replace(finding, state=State.FAILED, detail=str(error))


@contextmanager
def open_ground(site: Site, wishes: SweepWishes) -> Iterator[Ground]:
    """Open a site's repository and vCenter, and look at all VMs."""
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        yield Ground(
            site=site,
            repository=repository,
            session=session,
            wishes=wishes,
            vms=traces.list_traces(session),
            now=session.server_time(),
        )

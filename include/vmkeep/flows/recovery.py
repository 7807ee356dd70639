"""Carries out a recovery plan: group after group, some VMs of a group at the same time, and reports what was reached.

A run has an id. A second call with the same id goes on with everything that is not done: VMs that are healthy are left
alone, VMs that are not healthy are probed again, and all others are restored. The points stay those of the first call.

A drill restores to an isolated network, with new identities, and removes its VMs at its end: only VMs that carry its
mark.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from threading import Lock

from vmkeep.clock import now
from vmkeep.errors import CancelledError, ConflictError, FencedError, NotFoundError, VmKeepError
from vmkeep.flows.complete_runs import Bars
from vmkeep.flows.connect import open_vsphere
from vmkeep.flows.recovery_journal import Journal, RecoveryOrder
from vmkeep.flows.recovery_order import (
    RecoveryWishes,
    make_order,
    mark_of,
    numbered,
    plan_of,
    plan_vms,
    require_logins,
    require_none_refused,
)
from vmkeep.flows.recovery_records import find_order, report_of
from vmkeep.flows.recovery_vm import NumberedVm, RecoveryWork, outcome_so_far, recover_vm
from vmkeep.flows.side_by_side import SideBySide
from vmkeep.flows.stopping import Stop
from vmkeep.model.guest import Logins, no_logins
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.recovery import OnFailure, RecoveryGroup, RecoveryReport, VmOutcome
from vmkeep.repository import Repository, open_site_repository
from vmkeep.repository.unlock import share_keys
from vmkeep.vsphere.drills import list_drill_vms, remove_drill_vm

__all__ = ["RecoveryTalk", "RecoveryWishes", "remove_drill", "run_recovery"]

log = logging.getLogger(__name__)

_LEASE = "recovery"
"""Name of the lease that a run holds from its order to its report."""
Approve = Callable[[RecoveryGroup, int], bool]
"""Takes a group and the number of its VMs; returns whether it may begin."""


def _approve_all(_group: RecoveryGroup, _vms: int) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryTalk:
    """The ways in which a run talks to the person or program that started it."""

    bars: Bars
    announce: Callable[[str], None]
    """Takes warnings."""
    tell: Callable[[VmOutcome, str], None]
    """Takes the outcome of each VM as it ends, and its number in words."""
    approve: Approve = _approve_all
    """Asks a person whether a group may begin."""


def run_recovery(
    site: Site,
    wishes: RecoveryWishes,
    *,
    talk: RecoveryTalk,
    logins: Logins = no_logins,
    stop: Stop | None = None,
) -> RecoveryReport:
    """Carry out a plan, or go on with a run of it, and return its report, which is kept in the repository.

    :param logins: returns the guests' user for commands in them.
    :raises PlanError: the plan has faults, or does not fit the repository.
    :raises ConflictError: vSphere refuses some VMs, and nothing was changed; or the run is at work elsewhere.
    """
    share_keys()
    with open_site_repository(site) as repository:
        area = repository.run(f"recovery-{wishes.run}")
        if area.has_live_lease():
            raise ConflictError(f"run {wishes.run} is at work elsewhere: wait for it, or stop it, then try again")
        order = make_order(site, repository, wishes)
        vms = numbered(order, plan_of(order))
        require_logins(vms, logins)
        planned = plan_vms(site, repository, order, vms, lambda _vm: None)
        if not wishes.despite_refusals:
            require_none_refused(planned)
        order = Journal(repository, wishes.run).begin(order)
        with area.open_lease(_LEASE) as lease:
            run = _Run(site, repository, order, talk, logins, stop or Stop(), lease.check)
            return run.carried_out(keep=wishes.keep)


class _Run:
    def __init__(
        self,
        site: Site,
        repository: Repository,
        order: RecoveryOrder,
        talk: RecoveryTalk,
        logins: Logins,
        stop: Stop,
        require_alone: Callable[[], None],
    ) -> None:
        self._require_alone = require_alone
        self._lock = Lock()
        self._site = site
        self._repository = repository
        self._order = order
        self._plan = plan_of(order)
        self._vms = numbered(order, self._plan)
        self._talk = talk
        self._stop = stop
        self._mark = mark_of(repository, order)
        self._journal = Journal(repository, order.run)
        self._ended = 0
        self._halted = ""
        self._notes: list[str] = []
        self._work = RecoveryWork(
            site=site, run=order.run, drill=self._mark, logins=logins, stop=stop, bars=talk.bars, announce=talk.announce
        )

    def carried_out(self, *, keep: bool) -> RecoveryReport:
        """Carry the run out, and return its report. The VMs of a drill are removed, also if it is interrupted."""
        with ExitStack() as at_end:
            if self._mark and not keep:
                at_end.callback(self._remove_drill)
            for group in self._plan.groups:
                self._restore_group(group)
        report = report_of(self._repository, self._order, ended=now(), halted=self._halted, notes=self._notes)
        self._journal.finish(report)
        return report

    def _restore_group(self, group: RecoveryGroup) -> None:
        vms = [one for one in self._vms if one.group.name == group.name]
        left = [one for one in vms if not outcome_so_far(self._journal, one).succeeded]
        self._ended += len(vms) - len(left)
        if self._halted or not left:
            return
        if group.approval and not self._talk.approve(group, len(left)):
            self._halt(f"nobody approved group {group.name}")
            return
        stops = group.on_failure is OnFailure.STOP
        works = SideBySide(left, self._recover, go_on=lambda done: done.succeeded or not stops)
        outcomes = works.run(group.at_once, self._stop)
        self._stop.check()
        failed = [outcome.new_name for outcome in outcomes if not outcome.succeeded]
        if failed and group.on_failure is not OnFailure.CONTINUE:
            self._halt(f"group {group.name} says so when a VM fails, and {', '.join(failed)} failed")
        elif group.boot_delay and group is not self._plan.groups[-1]:
            self._stop.wait(group.boot_delay)

    def _recover(self, one: NumberedVm) -> VmOutcome:
        try:
            self._require_alone()
            outcome = recover_vm(self._work, one)
        except CancelledError:
            return outcome_so_far(self._journal, one)
        except FencedError as error:
            self._talk.announce(f"another process goes on with this run: {error}")
            self._stop.ask()
            return outcome_so_far(self._journal, one)
        except VmKeepError as error:  # the repository itself does not answer
            outcome = replace(outcome_so_far(self._journal, one), error=str(error))
        with self._lock:
            self._ended += 1
            self._talk.tell(outcome, f"{self._ended} of {len(self._vms)}")
        return outcome

    def _halt(self, why: str) -> None:
        self._halted = f"not begun, because {why}"
        self._notes.append(f"the run stopped early, because {why}")
        self._talk.announce(self._notes[-1])

    def _remove_drill(self) -> None:
        """Remove the VMs of this drill. One that cannot be removed keeps no other."""
        problems = _remove_vms(self._site, self._mark)
        for problem in problems:
            self._notes.append(problem)
            self._talk.announce(problem)
        if problems:
            return
        for one in self._vms:
            outcome = self._journal.outcome(one.number)
            if outcome is not None and outcome.moref is not None:
                self._journal.record(one.number, replace(outcome, removed=True))


def remove_drill(site: Site, run: str) -> tuple[VmRef, ...]:
    """Remove the VMs that a drill has left. Return those that were removed.

    :raises NotFoundError: there is no such run, or it is no drill.
    :raises ConflictError: the drill is at work.
    """
    with open_site_repository(site) as repository:
        order = find_order(repository, run)
        if not order.drill:
            raise NotFoundError(f"run {run} is no drill: its VMs are there to stay")
        if repository.run(f"recovery-{run}").has_live_lease():
            raise ConflictError(f"drill {run} is at work, and removes its VMs itself: wait for it, or stop it")
        mark = mark_of(repository, order)
    with open_vsphere(site) as session:
        refs = list_drill_vms(session, mark)
        for ref in refs:
            remove_drill_vm(session, ref.moref, mark)
    return refs


def _remove_vms(site: Site, mark: str) -> tuple[str, ...]:
    """Remove the VMs that carry the mark of a drill. Return a sentence for each that could not be removed."""
    problems = []
    try:
        with open_vsphere(site) as session:
            for ref in list_drill_vms(session, mark):
                try:
                    remove_drill_vm(session, ref.moref, mark)
                except VmKeepError as error:
                    problems.append(f"VM {ref} of the drill is not removed: {error}")
    except VmKeepError as error:
        problems.append(f"the VMs of the drill are not removed: {error}")
    return tuple(problems)

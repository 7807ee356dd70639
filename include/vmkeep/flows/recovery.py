"""Carries out a recovery plan: group after group, some VMs of a group at the same time, and reports what was reached.

A run has an id. A second call with the same id goes on with everything that is not done: VMs that are healthy and run
are left alone, VMs that are not healthy are probed again, and all others are restored, also those that somebody has
removed. The points stay those of the first call.

A drill restores to an isolated network, with new identities, and removes its VMs at its end
(:mod:`vmkeep.flows.drill_removal`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from threading import Lock

from vmkeep.clock import now
from vmkeep.errors import CancelledError, ConflictError, FencedError, VmKeepError
from vmkeep.flows.complete_runs import Bars
from vmkeep.flows.drill_removal import remove_drill, remove_vms_of
from vmkeep.flows.recovery_journal import LEASE, Journal, RecoveryOrder, area_of
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
from vmkeep.flows.recovery_outcomes import NumberedVm, note_lost, outcome_so_far
from vmkeep.flows.recovery_records import report_of
from vmkeep.flows.recovery_vm import RecoveryWork, recover_vm
from vmkeep.flows.side_by_side import SideBySide
from vmkeep.flows.stopping import Stop
from vmkeep.lateclass import dataclass
from vmkeep.model.guest import Logins, no_logins
from vmkeep.model.site import Site
from vmkeep.recovery import OnFailure, RecoveryGroup, RecoveryReport, VmOutcome
from vmkeep.repository import Repository, open_site_repository
from vmkeep.repository.unlock import share_keys

__all__ = ["RecoveryTalk", "RecoveryWishes", "remove_drill", "run_recovery"]

log = logging.getLogger(__name__)

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
    tell_wait: Callable[[str], None] = log.info
    """Takes for each VM that is not healthy at once what is waited for, and for how long."""
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
        area = repository.run(area_of(wishes.run))
        if area.has_live_lease():
            raise ConflictError(f"run {wishes.run} is at work elsewhere: wait for it, or stop it, then try again")
        with area.open_lease(LEASE) as lease:  # before the planning, which takes minutes, so that no second one begins
            order = make_order(site, repository, wishes)
            vms = numbered(order, plan_of(order))
            require_logins(vms, logins)
            planned = plan_vms(site, repository, order, vms, lambda _vm: None)
            if not wishes.despite_refusals:
                require_none_refused(planned)
            lease.check()
            order = Journal(repository, wishes.run).begin(order)
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
            site=site,
            run=order.run,
            drill=self._mark,
            not_after=order.not_after,
            logins=logins,
            stop=stop,
            bars=talk.bars,
            announce=talk.announce,
            tell_wait=talk.tell_wait,
            require_alone=require_alone,
        )

    def carried_out(self, *, keep: bool) -> RecoveryReport:
        """Carry the run out, and return its report. The VMs of a drill are removed, also if it is interrupted.

        A process that has lost the run's lease leaves the VMs and the journal alone, because another may go on with
        them.
        """
        with ExitStack() as at_end:
            if self._mark and not keep:
                at_end.callback(self._remove_drill)
            self._require_alone()
            note_lost(self._site, self._journal, self._vms)
            for group in self._plan.groups:
                self._restore_group(group)
        self._require_alone()
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
        except Exception as error:  # the repository itself does not answer, or something that nobody expected
            if not isinstance(error, VmKeepError):
                log.exception("VM %s", one.vm.vm_name)
            outcome = replace(outcome_so_far(self._journal, one), error=str(error) or type(error).__name__)
        with self._lock:
            self._ended += 1
            self._talk.tell(outcome, f"{self._ended} of {len(self._vms)}")
        return outcome

    def _halt(self, why: str) -> None:
        self._halted = f"not begun, because {why}"
        self._note(f"the run stopped early, because {why}")

    def _note(self, line: str) -> None:
        """Keep a line for the report, and tell it at once."""
        self._notes.append(line)
        self._talk.announce(line)

    def _remove_drill(self) -> None:
        """Remove the VMs of this drill. One that cannot be removed keeps no other."""
        try:
            self._require_alone()
            removal = remove_vms_of(self._site, self._repository, self._order)
        except VmKeepError as error:
            self._note(f"the VMs of the drill are not removed: {error}")
            return
        for line in (*removal.strangers, *(str(error) for error in removal.failures)):
            self._note(line)

"""Restores one VM of a recovery and finds out whether it works. A call after a dead one goes on where that stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from vmkeep.clock import now
from vmkeep.errors import CancelledError, VmKeepError
from vmkeep.flows import restore
from vmkeep.flows.check_values import Checked
from vmkeep.flows.complete_runs import Bars, carry_out
from vmkeep.flows.connect import one_log_in, open_vsphere
from vmkeep.flows.proving import try_to_record
from vmkeep.flows.recovery_journal import Journal
from vmkeep.flows.recovery_older import step_back, stepped_back_line
from vmkeep.flows.recovery_outcomes import NumberedVm, note_lost, outcome_so_far
from vmkeep.flows.recovery_probes import probe_vm
from vmkeep.flows.recovery_requests import request_for
from vmkeep.flows.restore_ledger import Outcome, PlanLedger, RunLedger
from vmkeep.flows.restore_values import Restored
from vmkeep.flows.stopping import Stop
from vmkeep.lateclass import dataclass
from vmkeep.model.guest import Logins
from vmkeep.model.proofs import PICTURE, ProofKind, ProofResult, VmProof
from vmkeep.model.site import Site
from vmkeep.recovery import DAMAGED, ChosenVm, VmOutcome, VmState
from vmkeep.repository import Repository, open_site_repository
from vmkeep.vsphere import machines
from vmkeep.vsphere.screenshots import take_screenshot
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryWork:
    """Everything that the VMs of one run have in common."""

    site: Site
    run: str
    drill: str
    """The mark of the drill; empty: it is a disaster."""
    not_after: datetime | None
    """No point that is younger is restored."""
    logins: Logins
    stop: Stop
    bars: Bars
    announce: Callable[[str], None]
    tell_wait: Callable[[str], None]
    require_alone: Callable[[], None]
    """Returns if this process still has the run's lease. Else it raises, and nothing more goes to the journal."""


def run_of_try(run: str, number: int, tried: int) -> str:
    """Return the run of one try to restore the VM with a number. Each try has its own."""
    return f"{run}-vm{number}-{tried}"


def recover_vm(work: RecoveryWork, one: NumberedVm) -> VmOutcome:
    """Restore a VM and probe it. Whatever is wrong with it is its outcome, so that other VMs go on.

    :raises CancelledError: somebody has asked to stop. The outcome so far is recorded.
    :raises FencedError: this process has lost the run's lease.
    """
    with open_site_repository(work.site) as repository, one_log_in(work.site):
        note_lost(work.site, Journal(repository, work.run), [one])
        recovery = _Recovery(work, one, repository)
        return recovery.outcome if recovery.outcome.succeeded else recovery.go_on()


class _Recovery:
    def __init__(self, work: RecoveryWork, one: NumberedVm, repository: Repository) -> None:
        self._work = work
        self._one = one
        self._repository = repository
        self._journal = Journal(repository, work.run)
        self.outcome = outcome_so_far(self._journal, one)
        self._gone = False
        """Whether somebody has removed the VM that the last try restored."""

    def go_on(self) -> VmOutcome:
        try:
            if self._is_there() or self._restore():
                self._probe()
        except CancelledError:
            raise
        except Exception as error:
            if not isinstance(error, VmKeepError):
                log.exception("VM %s", self._one.vm.vm_name)
            restored = self.outcome.state in (VmState.RESTORED, VmState.UNHEALTHY)
            state = VmState.UNHEALTHY if restored else VmState.FAILED
            self._record(state=state, error=str(error) or type(error).__name__)
        return self.outcome

    def _is_there(self) -> bool:
        """Return whether the VM was restored before, and nobody has removed it since."""
        if self.outcome.state not in (VmState.RESTORED, VmState.UNHEALTHY):
            return False
        with open_vsphere(self._work.site) as session:
            if machines.is_there(session, self.outcome.moref or ""):
                return True
        self._gone = True
        self._announce("somebody has removed the restored VM, so that it is restored again")
        return False

    def _record(self, **changes: Any) -> None:
        self._work.require_alone()
        self.outcome = replace(self.outcome, **changes)
        self._journal.record(self._one.number, self.outcome)

    def _restore(self) -> bool:
        """Restore the VM. Return whether it is on, if it should be."""
        done = self._done_before() if self.outcome.tries and not self._gone else None
        if done is None:
            done = self._restore_or_step_back()
        self._record(
            state=VmState.RESTORED,
            moref=done.vm.moref,
            restored_at=now(),
            bytes_written=done.bytes_written,
            warnings=done.warnings,
            error="",
        )
        as_wished = done.powered_on or not self.outcome.should_run
        if not as_wished:
            why = "; ".join(done.warnings) or "no reason is known"
            self._record(state=VmState.UNHEALTHY, error=f"it was left off: {why}")
        return as_wished

    def _restore_or_step_back(self) -> Restored:
        """Restore the VM, from an older point if its own turns out damaged, because a late VM is better than none."""
        while True:
            try:
                return self._restore_anew()
            except DAMAGED as error:
                older = step_back(
                    self._work.site, self._repository, self._one.group, self._vm, not_after=self._work.not_after
                )
                if older is None:
                    raise
                line = stepped_back_line(self._vm, older, error)
                self._announce(line)
                self._record(
                    point=older.point, taken_at=older.taken_at, stepped_back=(*self.outcome.stepped_back, line)
                )

    @property
    def _vm(self) -> ChosenVm:
        """The VM with the point that counts now."""
        return replace(self._one.vm, point=self.outcome.point, taken_at=self.outcome.taken_at)

    def _restore_anew(self) -> Restored:
        if self.outcome.tries and RunLedger(self._repository, self._run).outcome() is None:
            # The process of the last try is dead, because this one has the lease of the whole run.
            restore.clean_up(self._work.site, self._run)
        self._record(state=VmState.BEGUN, tries=self.outcome.tries + 1, began=now(), error="")
        work, one = self._work, self._one
        request = request_for(self._repository, one.group, self._vm, run=self._run, drill=work.drill)
        plan = restore.plan_restore(work.site, request)
        self._record(should_run=plan.power_on)
        self._journal.record_plan(one.number, plan)
        return carry_out(work.site, plan, bars=work.bars, announce=self._announce, stop=work.stop)

    def _done_before(self) -> Restored | None:
        """Return the result of the last try, if it handed the VM over before its process died.

        A VM that it had only half made is removed before the restore is planned anew.
        """
        ledger = RunLedger(self._repository, self._run)
        if (finished := ledger.finished()) is not None:
            return finished
        plan = self._journal.plan(self._one.number)
        if plan is None or plan.request.run != self._run or ledger.outcome() is not Outcome.HANDED_OVER:
            return None
        target = PlanLedger(self._repository, plan).target()
        return None if target is None else restore.finish_restore(self._work.site, plan, target, ())

    def _probe(self) -> None:
        """Find out whether the VM works. A VM that stays off, as it should, is not probed, and nothing is proved."""
        self._record(state=VmState.RESTORED, error="")
        work = self._work
        if not self.outcome.should_run:
            self._record(state=VmState.OFF)
            return
        with open_vsphere(work.site) as session:
            probes = probe_vm(
                session, self.outcome.moref or "", self._one.group.probes, logins=work.logins, stop=work.stop,
                tell=lambda waiting: work.tell_wait(f"VM {self.outcome.new_name} runs; waiting for {waiting}"),
            )  # fmt: skip
            picture = self._take_picture(session)
        if failed := [probe for probe in probes if not probe.succeeded]:
            told = "; ".join(f"{probe.probe}: {probe.told}" for probe in failed)
            self._record(state=VmState.UNHEALTHY, probes=probes, error=f"it is not healthy: {told}")
            self._keep_proof(ProofResult.FAILED, f"it was restored, and is not healthy: {told}", picture)
            return
        self._record(state=VmState.HEALTHY, healthy_at=now(), probes=probes)
        self._prove()
        told = ", ".join(probe.probe for probe in probes)
        self._keep_proof(ProofResult.PASSED, f"it was restored and started, and is healthy: {told}", picture)

    def _take_picture(self, session: Session) -> bytes:
        """Keep a picture of the console as evidence. Without one, the VM is as good, and a warning says why."""
        try:
            data = take_screenshot(session, self.outcome.moref or "")
        except VmKeepError as error:
            line = f"there is no picture of the console: {error}"
            self._record(picture="", warnings=(*self.outcome.warnings, line))
            return b""
        self._work.require_alone()
        self._record(picture=self._journal.record_picture(self._one.number, data))
        return data

    def _prove(self) -> None:
        outcome = self.outcome
        self._journal.prove(
            VmProof(
                vm_key=outcome.vm_key,
                vm_name=outcome.vm_name,
                point=outcome.point,
                taken_at=outcome.taken_at,
                at=outcome.healthy_at or now(),
                run=self._work.run,
                drill=bool(self._work.drill),
                probes=tuple(probe.probe for probe in outcome.probes),
            )
        )

    def _keep_proof(self, result: ProofResult, text: str, picture: bytes) -> None:
        """Keep the outcome with the point, too. The journal of the run has it in any case."""
        outcome = self.outcome
        details = {
            "drill": bool(self._work.drill),
            "vm": outcome.new_name,
            "probes": [probe.probe for probe in outcome.probes],
        }
        kept = {PICTURE: picture} if picture else {}
        checked = Checked(kind=ProofKind.RESTORE, result=result, text=text, details=details, files=kept)
        try_to_record(self._repository, outcome.point, checked, by="", run=self._work.run)

    @property
    def _run(self) -> str:
        """The run of the VM's present restore."""
        return run_of_try(self._work.run, self._one.number, self.outcome.tries)

    def _announce(self, text: str) -> None:
        self._work.announce(f"{self._one.vm.new_name}: {text}")

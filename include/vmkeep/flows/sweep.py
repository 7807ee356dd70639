"""Finds what dead runs left on a vCenter, repairs what is surely ours, and reports the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from vmkeep.errors import VmKeepError
from vmkeep.flows import array_hooks, attach_moves, guest_thaws, limits, liveness, restore
from vmkeep.flows.attached_disks import sweep_attached
from vmkeep.flows.drill_leftovers import report_drills
from vmkeep.flows.half_written import has_to_stay, kept_words
from vmkeep.flows.held_vms import sweep_held
from vmkeep.flows.leftover_ages import GIVEN_UP
from vmkeep.flows.leftovers import report_foreign, report_hidden, report_undo, sweep_snapshots
from vmkeep.flows.restore_ledger import Outcome, RunLedger
from vmkeep.flows.suspension import sweep_suspended
from vmkeep.flows.sweep_ground import Ground, SweepWishes, open_ground
from vmkeep.flows.sweep_report import Finding, Kind, State, SweepReport, worst_first
from vmkeep.flows.unmerged_disks import sweep_unmerged
from vmkeep.model.site import Site
from vmkeep.repository.unlock import share_keys

__all__ = ["Finding", "Kind", "State", "SweepReport", "SweepWishes", "merged", "run_sweep"]


def run_sweep(site: Site, wishes: SweepWishes) -> SweepReport:
    """Sweep a vCenter for one repository. A failure at one finding does not keep others from being repaired.

    The order counts: VMs that serve nobody come first, and a disk leaves the proxy before its snapshot is removed.
    vCenter is looked at again for the last steps, because a hold ends only after the snapshot of its run.
    """
    share_keys()
    with open_ground(site, wishes) as ground:
        found = [*sweep_suspended(ground), *_sweep_frozen(ground), *sweep_attached(ground), *sweep_snapshots(ground)]
        found += [*_sweep_hooks(ground), *_sweep_restores(ground), *report_foreign(ground), *report_undo(ground)]
        found += [*report_drills(ground), *report_hidden(ground)]
        if not wishes.dry_run:
            ground = ground.looked_again()
        held = sweep_held(ground)
        if any(finding.state is State.REPAIRED for finding in held):
            ground = ground.looked_again()
        found += [*held, *sweep_unmerged(ground), *_sweep_permits(ground)]
        return SweepReport(findings=worst_first(found))


def merged(reports: Iterable[SweepReport]) -> SweepReport:
    """Return one report of several sweeps."""
    return SweepReport(findings=worst_first(finding for report in reports for finding in report.findings))


def _sweep_frozen(ground: Ground) -> Iterator[Finding]:
    """Thaw the guests that dead runs have left frozen."""
    for left in guest_thaws.find_left(ground.site, has_ended=ground.wishes.has_ended):
        note = left.note
        age = (ground.now - note.since).total_seconds()
        finding = Finding(kind=Kind.FROZEN, state=State.IN_USE, vm=note.vm, run=note.run, age_seconds=age)

        def thaw(left: guest_thaws.LeftThaw = left) -> str:
            if (problem := guest_thaws.thaw_dead(ground.site, left, ground.wishes.logins)) is not None:
                raise problem
            return ""

        yield finding if left.alive else ground.repaired(finding, thaw)


def _sweep_permits(ground: Ground) -> Iterator[Finding]:
    """Give back the permits of runs that have ended and have no snapshot any more. Others expire by themselves."""
    repository = ground.repository
    holding = {run for usage in repository.usages() for run in usage.runs}
    over = {run for run in sorted(holding) if limits.holder_is_over(repository, run, ground.wishes.has_ended)}
    if not over:
        return
    now = ground.looked_again()  # because a run may have taken its snapshot since the last look
    for run in sorted(over - {snapshot.run for one in now.vms for snapshot in one.snapshots}):

        def give_back(run: str = run) -> str:
            limits.give_back(repository, run)
            return ""

        yield ground.repaired(Finding(kind=Kind.PERMITS, state=State.DEAD, vm=None, run=run), give_back)


def _sweep_hooks(ground: Ground) -> Iterator[Finding]:
    """Call the proxy's array hook for the end of each dead run for which it was called before."""
    wishes = ground.wishes
    for left in array_hooks.sweep(ground.site, has_ended=wishes.has_ended, dry_run=wishes.dry_run):
        state = State.IN_USE if left.alive else State.FAILED if left.problem else State.REPAIRED
        yield Finding(
            kind=Kind.HOOK,
            state=state if left.alive or left.called or left.problem else State.DEAD,
            vm=left.note.vm,
            run=left.note.facts.run,
            age_seconds=(ground.now - left.note.since).total_seconds(),
            detail=str(left.problem or ""),
        )


def _sweep_restores(ground: Ground) -> Iterator[Finding]:
    """Remove the VMs that dead restores have half made, and take the marks off those that they were writing over."""
    ended: dict[str, VmKeepError | None] = {}
    for one in ground.vms:
        if one.claimed is None:
            continue
        claim = one.claimed.claim
        finding = Finding(
            kind=Kind.RESTORE, state=State.IN_USE, vm=one.vm, run=claim.run,
            age_seconds=claim.age(ground.now).total_seconds(),
            detail=f"{'made' if claim.made else 'written over'} by the restore",
        )  # fmt: skip
        if claim.repository != ground.repository.id and claim.age(ground.now) >= GIVEN_UP:
            yield replace(finding, state=State.LEFT, detail="only the sweep of its repository knows more")
            continue
        if liveness.restore_is_alive(
            ground.repository, claim, now=ground.now, has_ended=ground.wishes.has_ended, given_up=ground.wishes.given_up
        ):
            yield finding
            continue
        if claim.keep and has_to_stay(ground.repository, claim.run):
            yield replace(finding, state=State.LEFT, detail=kept_words(claim))
            continue

        def end(run: str = claim.run, made: bool = claim.made, off: bool = one.claimed.off) -> str:
            if run not in ended:
                ended[run] = _ended(ground, run)
            if (problem := ended[run]) is not None:
                raise problem
            kept = attach_moves.kept_files(ground.repository, run)
            files = f"; the disks {', '.join(kept)} stay, because a VM has or had them" if kept else ""
            return _end_of(ground, run, made=made, off=off) + files

        yield ground.repaired(finding, end)


def _end_of(ground: Ground, run: str, *, made: bool, off: bool) -> str:
    """Return the words about the VM of a dead restore that was ended.

    :param made: the restore made the VM, and did not write over one that was there.
    :param off: the VM was off.
    """
    ledger = RunLedger(ground.repository, run)
    if ledger.outcome() is Outcome.HANDED_OVER:
        return "it stays, because all its disks were written, without the mark"
    if made and off:
        return "removed, because it was half made"
    if made or ledger.may_have_written():
        return "it stays, partly written, without the mark"
    return "it stays, because none of its disks was written, without the mark"


def _ended(ground: Ground, run: str) -> VmKeepError | None:
    """End a dead restore with all of its VMs. Return the error, if that fails."""
    try:
        restore.clean_up(ground.site, run)
    except VmKeepError as error:
        return error
    return None

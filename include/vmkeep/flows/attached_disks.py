"""Detaches the disks that copies by HotAdd left on this proxy when they died."""

from __future__ import annotations

from dataclasses import replace

from vmkeep.flows.leftovers import Fate, RunSnapshot, judged_on
from vmkeep.flows.sweep_ground import Ground
from vmkeep.flows.sweep_report import Finding, Kind, State
from vmkeep.proxy import read_uuids
from vmkeep.vsphere import attached
from vmkeep.vsphere.attached import AttachedDisk


def sweep_attached(ground: Ground) -> tuple[Finding, ...]:
    """Detach the disks of dead runs from this proxy. Call this before their snapshots are removed.

    A disk is surely ours only if its VM has the snapshot of a dead run, and of no other run. Any other disk is
    reported, because another program may use the same proxy, or a person may have attached the disk.

    The snapshots are looked at after the disks, because a run may have begun since the look of the ground, which does
    not know the snapshot that this run reads.
    """
    disks = attached.list_attached(ground.session, read_uuids())
    now = ground.looked_again() if disks else ground
    return tuple(_swept(now, disk) for disk in disks)


def _swept(ground: Ground, disk: AttachedDisk) -> Finding:
    owners = {owner.moref for owner in disk.owners}
    runs = judged_on(ground, owners)
    left = [run for run in runs if run.fate is Fate.REMOVE]
    finding = Finding(
        kind=Kind.ATTACHED,
        state=State.IN_USE,
        vm=left[0].vm if left else disk.owners[0],
        run=_first(left or runs),
        detail=f"{disk.label} of the proxy's VM {disk.proxy} is {disk.file_name}",
    )
    if any(run.fate is Fate.IN_USE for run in runs):
        return finding
    if not left or len(left) < len(runs):
        advice = "detach it there, without deleting its files, if nobody uses it"
        return replace(finding, state=State.LEFT, detail=f"{finding.detail}: {advice}")

    def detach() -> str:
        attached.detach(ground.session, disk)
        return finding.detail

    return ground.repaired(finding, detach)


def _first(runs: list[RunSnapshot]) -> str:
    return runs[0].run if runs else ""

"""Consolidates disks that vSphere could not merge when a snapshot of ours was removed."""

from __future__ import annotations

from dataclasses import replace

from vmkeep.flows.leftovers import PATIENCE
from vmkeep.flows.sweep_ground import Ground
from vmkeep.flows.sweep_report import Finding, Kind, State
from vmkeep.vsphere import snapshots
from vmkeep.vsphere.traces import VmTraces


def sweep_unmerged(ground: Ground) -> tuple[Finding, ...]:
    """Consolidate the disks of VMs that are backed up into this repository and on which nobody works now."""
    return tuple(_swept(ground, one) for one in ground.vms if one.consolidation_needed)


def _swept(ground: Ground, one: VmTraces) -> Finding:
    runs = [snapshot.run for snapshot in one.snapshots if snapshot.run]
    marks = [one.claimed.claim.run] if one.claimed is not None else []
    marks += [one.suspension.mark.run] if one.suspension is not None else []
    finding = Finding(kind=Kind.CONSOLIDATION, state=State.IN_USE, vm=one.vm, run=next(iter((*runs, *marks)), ""))
    if runs or marks:
        return finding  # the run, or the removal of what it left, consolidates them
    if one.fixed:
        return replace(finding, state=State.LEFT, detail="another program, or a run, keeps the VM from being moved")
    if not _is_backed_up_here(ground, one):
        return replace(finding, state=State.LEFT, detail="the repository has no restore point of it: not surely ours")

    def consolidate() -> str:
        snapshots.consolidate_if_needed(ground.session, one.vm.moref, timeout=PATIENCE)
        return ""

    return ground.repaired(finding, consolidate)


def _is_backed_up_here(ground: Ground, one: VmTraces) -> bool:
    key = one.instance_uuid
    return key is not None and next(iter(ground.repository.point_refs(key)), None) is not None

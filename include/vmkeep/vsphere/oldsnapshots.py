"""Finds the oldest snapshot of every VM, in one pass over the inventory."""

from __future__ import annotations

from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.properties import read_all
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.snapshottree import VmSnapshot, in_tree


def oldest_snapshots(session: Session) -> dict[str, VmSnapshot]:
    """Return the oldest snapshot of each VM that has one, by the VM's managed object id, whoever took it."""
    with speaking("list the snapshots of all VMs"):
        listed = read_all(session, vim.VirtualMachine, "snapshot")
    trees = {moref_of(vm): in_tree(values["snapshot"]) for vm, values in listed}
    return {
        moref: min(snapshots, key=lambda snapshot: snapshot.created_at)
        for moref, snapshots in trees.items()
        if snapshots
    }

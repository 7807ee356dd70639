"""The lab's own crash safety: cut while links are merged, it comes back with every disk as it was."""

import hashlib

import pytest
from pyVmomi import vim

from vmlab.lab import LabOptions, LabServer
from vmlab.managed.machine import disks
from vmlab.managed.snapshots import snapshot_refs
from vmlab.managed.snapshots.snapshot_disks import collapse
from vmlab.managed.snapshots.snapshot_methods import take_snapshot


class PowerCut(BaseException):
    """The lab dies here: not an ``Exception``, so that no handler may tidy up after it."""


def find(site, name):
    (found,) = [vm for vm in site.world.all(vim.VirtualMachine) if site.world.get(vm, "name") == name]
    return found


def contents(site, ref):
    found = []
    for disk in disks(site.world.get(ref, "config")):
        with site.store.open(disk.backing.fileName) as handle:
            found.append(hashlib.sha256(handle.read(0, handle.capacity)).hexdigest())
    return found


def guest_writes(site, ref, fill):
    path = disks(site.world.get(ref, "config"))[0].backing.fileName
    with site.store.open(path, writable=True) as handle:
        handle.write(fill * 65536, bytes([fill]) * 100000)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("survives", [0, 2])
def test_a_cut_in_mid_merge_loses_no_byte_of_the_vm_or_its_snapshots(tmp_path, survives, when):
    options = LabOptions(folder=tmp_path, data_disk_bytes=32 << 20)
    lab = LabServer(options)
    site, vm = lab.site, find(lab.site, "web01")
    for fill in range(1, 6):
        take_snapshot(site, vm, f"s{fill}", "", memory=False, quiesce=False)
        guest_writes(site, vm, fill)
    kept = snapshot_refs(site.world.get(vm, "snapshot"))[2]
    before = contents(site, vm), contents(site, kept)
    node = site.world.get(vm, "snapshot").rootSnapshotList[0].childSnapshotList[0].childSnapshotList[0]
    assert node.snapshot == kept
    node.childSnapshotList = []
    site.world.update(vm, snapshot=vim.vm.SnapshotInfo(currentSnapshot=kept, rootSnapshotList=[node]))

    real, calls = site.store.consolidate, [0]

    def cut(path):
        calls[0] += 1
        if calls[0] <= survives:
            real(path)
            return
        if when == "after":
            real(path)
        raise PowerCut

    site.store.consolidate = cut
    with pytest.raises(PowerCut):
        collapse(site, vm)
    lab.stop()

    lab = LabServer(options)
    try:
        assert (contents(lab.site, vm), contents(lab.site, kept)) == before
        assert lab.site.world.get(vm, "runtime").consolidationNeeded
        collapse(lab.site, vm)
        assert (contents(lab.site, vm), contents(lab.site, kept)) == before
        assert not lab.site.world.get(vm, "runtime").consolidationNeeded
        assert len(lab.site.store.chain(disks(lab.site.world.get(vm, "config"))[0].backing.fileName)) == 2
    finally:
        lab.stop()

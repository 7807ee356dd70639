"""The mode and the quiescing that a VM allows, and the reason of each change as data."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vmkeep.errors import UnsupportedError
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.flows.modes import choose_mode
from vmkeep.model.disk import ControllerKind, Disk
from vmkeep.model.point import BackupMode, Quiesce, VmIdentity
from vmkeep.vsphere.inventory import PowerState, VmDescription

INCL, EXCL, ASIS = BackupMode.SNAPSHOT_INCL_MEM, BackupMode.SNAPSHOT_EXCL_MEM, BackupMode.ASIS
SUSPEND = BackupMode.SUSPEND
DISK = Disk(
    key=2000, label="Hard disk 1", controller=ControllerKind.SCSI, controller_type="ParaVirtualSCSIController", bus=0,
    unit=0, capacity=1 << 30, backing="FlatVer2", file_name="[ds1] a/a.vmdk",
)  # fmt: skip
INDEPENDENT = replace(DISK, key=2001, label="Hard disk 2", disk_mode="independent_persistent")
RDM = replace(DISK, key=2001, label="Hard disk 2", compatibility_mode="virtualMode")
VM = VmDescription(
    identity=VmIdentity(name="a", key="a", moref="vm-1"), disks=(DISK,), power=PowerState.ON, template=False,
    encrypted=False, tracking_supported=True, tracked=True, snapshot_obstacles=(), has_snapshots=False,
    consolidation_needed=False, tools_running=True, hardware="vmx-19", vmx="[ds1] a/a.vmx", host="esx1",
    datastores=("ds1",), claim=None, incomplete="", not_protectable=None, managed_by=None, change_version="1",
)  # fmt: skip
OFF = replace(VM, power=PowerState.OFF)
SUSPENDED = replace(VM, power=PowerState.SUSPENDED)
TOOLLESS = replace(VM, tools_running=False)
OBSTACLE = ("SCSI controller 1 shares its bus",)


def choose(vm=VM, mode=EXCL, quiesce=Quiesce.FILE_SYSTEM, *, required=False):
    request = BackupRequest(vm_selector="a", run="r", mode=mode, quiesce=quiesce, quiesce_required=required)
    return choose_mode(request, vm, vm.disks)


def test_a_request_that_the_vm_allows_is_not_changed():
    assert (choose().mode, choose().quiesce, choose().changes) == (EXCL, Quiesce.FILE_SYSTEM, ())


@pytest.mark.parametrize(
    ("vm", "asked", "used", "reason", "warned"),
    [
        (replace(OFF, template=True), EXCL, ASIS, "template", False),
        (replace(OFF, template=True), INCL, ASIS, "template", False),
        (replace(OFF, snapshot_obstacles=OBSTACLE), EXCL, ASIS, "snapshots-refused", True),
        (replace(VM, disks=(DISK, INDEPENDENT)), INCL, EXCL, "outside-memory-snapshot", True),
        (replace(VM, disks=(DISK, RDM)), INCL, EXCL, "outside-memory-snapshot", True),
        (replace(VM, fault_tolerant=True), INCL, EXCL, "fault-tolerant", True),
        (replace(VM, fault_tolerant=True), SUSPEND, EXCL, "fault-tolerant", True),
        (OFF, INCL, EXCL, "not-running", False),
        (SUSPENDED, INCL, EXCL, "already-suspended", False),
        (OFF, SUSPEND, EXCL, "not-running", False),
        (SUSPENDED, SUSPEND, EXCL, "already-suspended", False),
        (replace(OFF, template=True), SUSPEND, ASIS, "template", False),
    ],
)
def test_a_mode_is_changed_down_with_its_reason(vm, asked, used, reason, warned):
    choice = choose(vm, asked, Quiesce.NONE)

    (change,) = choice.changes
    assert choice.mode is used
    assert (change.what, change.asked, change.used, change.reason) == ("mode", asked, used, reason)
    assert change.detail
    assert choice.warnings == ((str(change),) if warned else ())


@pytest.mark.parametrize(
    ("vm", "mode", "reason", "warned"),
    [
        (OFF, EXCL, "not-running", False),
        (SUSPENDED, EXCL, "already-suspended", False),
        (VM, INCL, "memory-is-held", False),
        (VM, SUSPEND, "memory-is-held", False),
        (TOOLLESS, EXCL, "no-tools", True),
    ],
)
def test_quiescing_that_is_not_possible_is_left_out_with_its_reason(vm, mode, reason, warned):
    choice = choose(vm, mode)

    (change,) = choice.changes
    assert choice.quiesce is Quiesce.NONE
    assert (change.what, change.asked, change.used, change.reason) == ("quiesce", "file-system", "none", reason)
    assert bool(choice.warnings) is warned


@pytest.mark.parametrize(
    ("vm", "mode", "cure"),
    [
        (SUSPENDED, EXCL, "Resume"),
        (VM, INCL, "SNAPSHOT_EXCL_MEM"),
        (VM, SUSPEND, "SNAPSHOT_EXCL_MEM"),
        (TOOLLESS, EXCL, "Start VMware Tools"),
    ],
)
def test_required_quiescing_that_is_not_possible_is_refused_with_its_cure(vm, mode, cure):
    with pytest.raises(UnsupportedError, match=f"quiescing is required, but not possible: .*{cure}"):
        choose(vm, mode, required=True)


def test_a_vm_that_is_off_has_written_everything_as_required():
    assert choose(OFF, required=True).mode is EXCL


def test_a_running_vm_is_suspended_whatever_its_disks_are():
    assert choose(replace(VM, disks=(DISK, INDEPENDENT)), SUSPEND, Quiesce.NONE).changes == ()


def test_a_memory_snapshot_that_became_a_plain_one_is_quiesced():
    choice = choose(replace(VM, disks=(DISK, INDEPENDENT)), INCL, required=True)

    assert (choice.mode, choice.quiesce) == (EXCL, Quiesce.FILE_SYSTEM)


def test_a_running_vm_is_not_read_as_it_is():
    with pytest.raises(UnsupportedError, match="power it off"):
        choose(mode=ASIS)
    with pytest.raises(UnsupportedError, match="refuses every snapshot"):
        choose(replace(VM, snapshot_obstacles=OBSTACLE))

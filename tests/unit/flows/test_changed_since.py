"""A VM that has changed since its backup was planned is planned again, and no point claims more than was reached."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.unit.flows.test_modes import VM
from vmkeep.errors import QuiesceFailedError, StaleError
from vmkeep.flows.backup_values import BackupRequest, Preflight
from vmkeep.flows.changed_since import reached, require_as_planned
from vmkeep.flows.quiescing import Quiesced
from vmkeep.model.disk import ControllerKind, Disk
from vmkeep.model.point import BackupMode, Quiesce, VmIdentity
from vmkeep.vsphere.inventory import PowerState
from vmkeep.vsphere.snapshots import VmSnapshot

DISK = Disk(
    key=2000, label="Hard disk 1", controller=ControllerKind.SCSI, controller_type="ParaVirtualSCSIController",
    bus=0, unit=0, capacity=1 << 20, backing="FlatVer2", uuid="a", file_name="[ds1] a/a.vmdk",
)  # fmt: skip
OTHER = replace(DISK, key=2001, label="Hard disk 2", unit=1, uuid="b")
NOW = replace(VM, disks=(DISK,), power=PowerState.ON, tools_running=True)
PLAN = Preflight(
    request=BackupRequest(vm_selector="a", run="r"), vm=VmIdentity(name="a", key="k", moref="vm-1"), disks=(DISK,),
    running=True, tracked=True, mode=BackupMode.SNAPSHOT_EXCL_MEM, quiesce=Quiesce.FILE_SYSTEM, parent=None,
)  # fmt: skip
TAKEN = Quiesced(
    snapshot=VmSnapshot(moref="snapshot-1", name="s", run="r", created_at=datetime.now(UTC), quiesced=True),
    used=Quiesce.FILE_SYSTEM,
)


@pytest.mark.parametrize(
    ("planned", "power", "said"),
    [
        ({"running": True}, PowerState.OFF, "was switched off"),
        ({"running": True}, PowerState.SUSPENDED, "was suspended"),
        ({"running": False}, PowerState.ON, "was switched on"),
        ({"running": False}, PowerState.SUSPENDED, "was suspended"),
        ({"running": False, "suspended": True}, PowerState.ON, "was switched on"),
        ({"running": False, "suspended": True}, PowerState.OFF, "was switched off"),
    ],
)
def test_a_vm_whose_power_state_changed_is_planned_again(planned, power, said):
    with pytest.raises(StaleError, match=f"VM a {said} since its backup was planned: start again"):
        require_as_planned(replace(PLAN, **planned), replace(NOW, power=power))


@pytest.mark.parametrize(
    ("disks", "said"),
    [
        ((DISK, OTHER), "Hard disk 2 was added"),
        ((), "Hard disk 1 was removed"),
        ((replace(DISK, uuid="c"),), "Hard disk 1 is another disk"),
        ((replace(DISK, disk_mode="independent_persistent"),), "was persistent and is independent_persistent"),
    ],
)
def test_a_vm_with_other_disks_than_planned_is_planned_again_so_that_none_is_left_out_silently(disks, said):
    with pytest.raises(StaleError, match=said):
        require_as_planned(PLAN, replace(NOW, disks=disks))


def test_a_disk_that_has_grown_or_was_moved_is_copied_as_it_is_now():
    require_as_planned(PLAN, replace(NOW, disks=(replace(DISK, capacity=2 << 20, file_name="[ds2] a/a-000001.vmdk"),)))


@pytest.mark.parametrize(("told", "tools"), [(True, False), (False, True), (False, False)])
def test_a_snapshot_that_no_tools_can_have_quiesced_counts_as_not_quiesced_and_says_why(told, tools):
    taken = replace(TAKEN, snapshot=replace(TAKEN.snapshot, quiesced=told))

    found = reached(taken, tools_run=lambda: tools, required=False, vm="a")

    (change,) = found.changes
    assert (found.used, change.asked, change.used, change.reason) == ("none", "file-system", "none", "no-tools")
    assert ["Tools have stopped" in warning for warning in found.warnings] == [True]
    with pytest.raises(QuiesceFailedError, match="quiescing is required"):
        reached(taken, tools_run=lambda: tools, required=True, vm="a")


def test_what_was_reached_stays_as_it_is():
    unquiesced = replace(TAKEN, used=Quiesce.NONE)

    assert reached(TAKEN, tools_run=lambda: True, required=True, vm="a") is TAKEN
    assert reached(unquiesced, tools_run=lambda: False, required=False, vm="a") is unquiesced

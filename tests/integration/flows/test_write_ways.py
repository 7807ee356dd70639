"""A restore writes by every transport mode under the mode's own rules, and its temporary snapshot never stays.

The VM has two thick disks, because SAN writes no thin ones. This machine is the lab's VM app01, and has every LUN.
"""

from __future__ import annotations

import pytest

from tests.integration.flows import restoring
from tests.integration.flows.restoring import Restoring, back_up, hands, power, restore_whole, swept
from tests.patience import HANG
from vmkeep.errors import VSphereError
from vmkeep.flows import listing, transports
from vmkeep.flows.restore_wording import plan_lines
from vmkeep.flows.sweep import Kind, State
from vmkeep.model.overwrite import Undo, Verify
from vmkeep.model.transport import TransportMode
from vmkeep.proxy import ProxyMachine
from vmkeep.repository import create_repository
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.tasks import wait_task

PROXY, VM, MIB = "app01", "thick", 1 << 20
SAN, HOTADD, NBDSSL, NBD = TransportMode
DEVICE = vim.vm.device
DISKS = (2000, 2001)


class PowerCut(BaseException):
    """The process dies here."""


def make_thick(lab):
    add = DEVICE.VirtualDeviceSpec
    made = [add(operation="add", device=DEVICE.ParaVirtualSCSIController(key=-1, busNumber=0, sharedBus="noSharing"))]
    for unit in (0, 1):
        backing = DEVICE.VirtualDisk.FlatVer2BackingInfo(fileName="", diskMode="persistent", thinProvisioned=False)
        disk = DEVICE.VirtualDisk(
            key=-100 - unit, controllerKey=-1, unitNumber=unit, capacityInKB=MIB >> 10, capacityInBytes=MIB,
            backing=backing,
        )  # fmt: skip
        made.append(add(operation="add", fileOperation="create", device=disk))
    config = vim.vm.ConfigSpec(
        name=VM, guestId="otherLinux64Guest", numCPUs=1, memoryMB=64, deviceChange=made,
        files=vim.vm.FileInfo(vmPathName="[datastore1]"),
    )  # fmt: skip
    with hands(lab) as session:
        index = session.content.searchIndex
        folder, pool = map(index.FindByInventoryPath, ("Lab/vm/Test", "Lab/host/Cluster1/Resources"))
        vm = wait_task(session, folder.CreateVM_Task(config, pool), what="test", timeout=HANG)
        wait_task(session, vm.PowerOnVM_Task(None), what="test", timeout=HANG)


@pytest.fixture(scope="module")
def held(lab, tmp_path_factory):
    """A site, a point of the VM, and the digests of its disks then."""
    make_thick(lab)
    location = str(tmp_path_factory.mktemp("ways") / "repository")
    create_repository(location)
    site = restoring.site_of(lab, location)
    for key in DISKS:
        lab.write(VM, key, [{"offset": 0, "length": MIB // 2, "seed": key}])
    return site, back_up(site, VM).point, content(lab)


@pytest.fixture(autouse=True)
def proxy(lab, held, monkeypatch):
    """Let this machine be a VM of the lab that has every LUN, and let the guest overwrite its disks."""
    site, _, _ = held
    lab.settings(transports="san:hotadd:nbdssl:nbd")
    found = ProxyMachine(uuids=(str(listing.describe_vm(site.vcenter, PROXY).identity.bios_uuid),))
    monkeypatch.setattr(transports, "read_machine", lambda: found)
    monkeypatch.setattr(transports, "has_lun", lambda _disks, _lun: True)
    for key in DISKS:
        lab.write(VM, key, [{"offset": 0, "length": MIB, "seed": 7}])
    yield
    lab.clear()
    lab.settings(transports="")


def content(lab, vm=VM):
    return [lab.hash(vm, key) for key in DISKS]


def taken(lab, vm=VM):
    return len(lab.vm(vm)["snapshots"])


def over(site, point, *modes, **options):
    return Restoring.over(site, point, transports=modes, power_on=True, **options)


def over_one(site, point, *modes):
    """Write one of the disks."""
    return over(site, point, *modes, disks=("scsi0:0",), verify=Verify.NONE)


@pytest.mark.parametrize(
    ("mode", "during"), [(SAN, 1), (HOTADD, 1), (NBDSSL, 0)], ids=lambda value: getattr(value, "value", "")
)
def test_a_running_vm_is_written_over_and_runs_with_the_disks_of_the_point(lab, held, mode, during):
    site, point, before = held
    left_alone = content(lab)[1]
    going = over_one(site, point, mode).prepared()
    assert taken(lab) == during, "VDDK writes by SAN and HotAdd only under a snapshot"

    done = going.written().finish()

    assert [write.transport for write in going.writes] == [mode.value]
    assert (content(lab), taken(lab), lab.vm(VM)["power"]) == ([before[0], left_alone], 0, "poweredOn")
    assert done.powered_on
    with hands(lab) as session:
        tracked = session.vm(lab.vm(VM)["moref"]).config.changeTrackingEnabled
    assert not tracked, "so the next backup is a full one"


def test_a_new_vm_is_written_below_its_temporary_snapshot_too(lab, held):
    site, point, before = held

    done = restore_whole(site, point, new_name="thick by san", transports=(SAN,), power_on=True)

    assert (content(lab, done.vm.moref), taken(lab, done.vm.moref), done.powered_on) == (before, 0, True)


def test_a_restore_that_is_given_up_leaves_no_snapshot_and_a_vm_that_can_start(lab, held):
    site, point, _ = held
    going = over_one(site, point, SAN).prepared().written()

    going.clean_up()

    assert (taken(lab), lab.vm(VM)["power"]) == (0, "poweredOff")
    power(lab, VM, on=True)


def test_nobody_starts_or_merges_disks_that_do_not_fit_and_the_sweep_of_a_dead_restore_puts_them_right(lab, held):
    site, point, before = held
    going = over_one(site, point, SAN).prepared().written()
    with pytest.raises(VSphereError):
        power(lab, VM, on=True)

    found = [one for one in swept(site, has_ended=lambda _: True) if one.kind in (Kind.SNAPSHOT, Kind.RESTORE)]

    assert {one.state for one in found} == {State.REPAIRED}
    assert going.request.run in {one.run for one in found}
    assert (taken(lab), content(lab)[0]) == (0, before[0])
    power(lab, VM, on=True)


def test_a_hand_over_that_died_after_the_snapshot_was_gone_is_finished_by_the_next_try(lab, held, monkeypatch):
    site, point, before = held
    going = over_one(site, point, SAN).prepared().written()

    def die(*_args):
        raise PowerCut

    with monkeypatch.context() as cut:
        cut.setattr("vmkeep.flows.restore_end._complete", die)
        with pytest.raises(PowerCut):
            going.finish()
    assert taken(lab) == 0

    assert going.finish().powered_on
    assert content(lab)[0] == before[0]


def test_the_plan_shows_the_way_of_writing_and_why_none_before_it(lab, held):
    site, point, _ = held
    undo = over(site, point, SAN, HOTADD, NBD, undo=Undo.SNAPSHOT).plan

    assert "the disks are written by hotadd, above the snapshot" in plan_lines(undo)
    assert any("not san: a snapshot is kept to undo the restore" in warning for warning in undo.warnings)
    assert any("by san, below a temporary snapshot" in line for line in plan_lines(over(site, point, SAN).plan))
    new = Restoring.new(site, point, "thick as planned", transports=(SAN, NBD)).plan
    assert any("by the first of san, nbd that can write every disk" in line for line in plan_lines(new))

"""Storage vMotion, and the access that VDDK's PrepareForAccess takes, which keeps it off a VM."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pyVmomi import vim, vmodl

from tests.patience import HANG, eventually
from vmlab.inventory.demo import BACKUP_USER, READ_ONLY_USER
from vmlab.testing import LabError

CLIENT = Path(__file__).parents[1] / "vmlab_vddk" / "vddk_client.py"


@pytest.fixture
def vddk(lab):
    """Call functions of the library for a VM, in a process that is gone afterwards; returns the last one's code."""

    def call(name, vm, *arguments, user=BACKUP_USER, then=()):
        params = {
            "vmx_spec": f"moref={lab.vm(vm)['moref']}", "server": lab.host, "thumbprint": lab.info["thumbprint"],
            "cred_type": 1, "spec_type": 0, "first": user, "second": lab.password,
        }  # fmt: skip
        library = Path(lab.info["vddk"]) / "lib64" / "libvixDiskLib.so.8"
        argv, steps = [sys.executable, str(CLIENT), str(library)], [["init"], [name, params, *arguments], *then]
        done = subprocess.run(argv, input=json.dumps(steps), capture_output=True, text=True, timeout=HANG, check=True)
        return json.loads(done.stdout.splitlines()[-1])[-1]

    return call


def disabled(vm):
    return [str(method) for method in vm.disabledMethod]


def to(content, name):
    (datastore,) = [one for one in content.rootFolder.childEntity[0].datastore if one.name == name]
    return vim.vm.RelocateSpec(datastore=datastore)


def test_a_vm_that_is_held_cannot_be_relocated_until_that_identity_lets_go(lab, vddk, vm_at, content, run):
    web = vm_at("Production/web01")
    assert "RelocateVM_Task" not in disabled(web)
    assert vddk("prepare", "web01", "backup") == 0
    assert vddk("prepare", "web01", "backup") == 5, "the process is gone, its hold is not"
    assert vddk("prepare", "web01", "other") == 0
    assert lab.vm("web01")["held_by"] == ["backup", "other"]
    assert "RelocateVM_Task" in disabled(web)
    with pytest.raises(vim.fault.MethodDisabled) as refused:
        web.RelocateVM_Task(to(content, "datastore2"))
    assert refused.value.source == "backup"
    with pytest.raises(LabError, match="MethodDisabled"):
        lab.relocate("web01", "datastore2")
    assert vddk("end", "web01", "somebody") == 1
    assert vddk("end", "web01", "backup") == 0
    assert "RelocateVM_Task" in disabled(web)
    assert vddk("end", "web01", "other") == 0
    assert "RelocateVM_Task" not in disabled(web)


def test_only_who_may_switch_methods_off_and_on_at_the_root_can_hold_a_vm(lab, vddk):
    assert vddk("prepare", "old01", "mine", user=READ_ONLY_USER) == 16064
    assert vddk("prepare", "old01", "mine") == 0
    assert vddk("end", "old01", "mine", user=READ_ONLY_USER) == 16064
    assert vddk("end", "old01", "mine") == 0


def test_what_is_held_outlives_the_vcenter_and_ends_with_the_vm(lab, vddk, connect, run):
    assert vddk("prepare", "old01", "mine") == 0
    lab.kill()
    lab.restart()
    assert lab.vm("old01")["held_by"] == ["mine"]
    old = connect().RetrieveContent().searchIndex.FindByInventoryPath("Lab/vm/old01")
    home, pool, host = old.parent, old.summary.runtime.host.parent.resourcePool, old.summary.runtime.host
    path = old.config.files.vmPathName
    old.UnregisterVM()
    run(home.RegisterVM_Task(path, "old01", False, pool, host))
    assert lab.vm("old01")["held_by"] == []


def test_relocation_moves_every_path_and_no_byte(lab, vm_at, content, run):
    app = vm_at("Production/web01")
    run(app.CreateSnapshot_Task("s", "", False, False))
    before = lab.hash("web01", 0)
    lab.write("web01", 0, [{"offset": 1 << 20, "length": 65536, "seed": 3}])
    after = lab.hash("web01", 0)
    run(app.RelocateVM_Task(to(content, "datastore2")))
    state = lab.vm("web01")
    assert {path.partition("]")[0] for path in (state["vmx"], *state["disks"][0]["chain"])} == {"[datastore2"}
    assert [one.name for one in app.datastore] == ["datastore2"]
    assert lab.hash("web01", 0) == after != before
    devices = app.snapshot.currentSnapshot.config.hardware.device
    frozen = [device.backing.fileName for device in devices if isinstance(device, vim.vm.device.VirtualDisk)]
    assert [path.partition(" ")[0] for path in frozen] == ["[datastore2]"]
    run(app.RemoveAllSnapshots_Task())
    lab.relocate("web01", "datastore1")
    assert lab.hash("web01", 0) == after
    with pytest.raises(vmodl.fault.NotSupported):
        run(app.RelocateVM_Task(vim.vm.RelocateSpec()))


def test_a_disk_whose_vm_was_moved_after_its_snapshot_is_not_found_where_it_was(lab, vddk, vm_at, content, run):
    old, read_only = vm_at("old01"), 4
    snapshot = run(old.CreateSnapshot_Task("s", "", False, False))
    device = next(one for one in snapshot.config.hardware.device if isinstance(one, vim.vm.device.VirtualDisk))
    path = device.backing.fileName

    def open_disk(path):
        code = vddk("connect", "old01", True, snapshot._moId, "nbdssl", then=[["open", path, read_only]])
        eventually(lambda: lab.state()["nfc"] == [])  # the client is gone
        return code

    assert open_disk(path) == 0
    lab.relocate("old01", "datastore1")
    assert open_disk(path) == 4
    assert open_disk(path.replace("datastore2", "datastore1")) == 0
    run(old.RemoveAllSnapshots_Task())
    lab.relocate("old01", "datastore2")


@pytest.fixture
def hosts(content):
    """The hosts of the cluster of web01."""
    return list(content.searchIndex.FindByInventoryPath("Lab/host/Cluster1").host)


def links(vm):
    """Every path of a VM's disks, and of its snapshot's."""
    configs = [vm.config, *([vm.snapshot.currentSnapshot.config] if vm.snapshot else [])]
    devices = [one for config in configs for one in config.hardware.device]
    return [one.backing.fileName for one in devices if isinstance(one, vim.vm.device.VirtualDisk)]


def test_a_running_vm_moves_to_another_host_and_keeps_its_snapshots_paths_and_change_ids(vm_at, hosts, vddk, run):
    web = vm_at("Production/web01")
    here = web.runtime.host
    there = next(host for host in hosts if host != here)
    run(web.CreateSnapshot_Task("s", "", False, False))
    before = links(web)
    assert vddk("prepare", "web01", "backup") == 0

    run(web.MigrateVM_Task(None, there, "defaultPriority", "poweredOn"))
    assert (web.runtime.host, web.runtime.powerState) == (there, "poweredOn")
    assert links(web) == before
    with pytest.raises(vim.fault.MethodDisabled):
        run(web.RelocateVM_Task(vim.vm.RelocateSpec(host=here)))
    assert vddk("end", "web01", "backup") == 0
    run(web.RelocateVM_Task(vim.vm.RelocateSpec(host=here)))

    assert (web.runtime.host, links(web)) == (here, before)
    with pytest.raises(vim.fault.InvalidPowerState):
        run(web.MigrateVM_Task(None, there, "defaultPriority", "poweredOff"))
    with pytest.raises(vmodl.fault.InvalidArgument):
        run(web.MigrateVM_Task(None, None, "defaultPriority", None))
    run(web.RemoveAllSnapshots_Task())


def test_a_vm_moves_to_another_host_and_datastore_at_once(vm_at, hosts, content, run):
    web = vm_at("Production/web01")
    here = web.runtime.host
    there = next(host for host in hosts if host != here)
    spec = to(content, "datastore2")
    spec.host = there

    run(web.RelocateVM_Task(spec))
    assert (web.runtime.host, {path.partition(" ")[0] for path in links(web)}) == (there, {"[datastore2]"})

    spec = to(content, "datastore1")
    spec.host = here
    run(web.RelocateVM_Task(spec))


def test_only_who_may_migrate_moves_a_vm(connect, hosts):
    content = connect(BACKUP_USER).RetrieveContent()
    web = content.searchIndex.FindByInventoryPath("Lab/vm/Production/web01")

    with pytest.raises(vim.fault.NoPermission) as refused:
        web.MigrateVM_Task(None, vim.HostSystem(hosts[0]._moId, web._stub), "defaultPriority", None)
    assert refused.value.privilegeId == "Resource.HotMigrate"


@pytest.mark.parametrize(
    ("state", "fault"),
    [("disconnected", vmodl.fault.HostNotConnected), ("notResponding", vmodl.fault.HostCommunication)],
)
def test_nothing_is_done_with_a_vm_whose_host_is_out_of_reach(lab, vddk, vm_at, run, state, fault):
    web = vm_at("Production/web01")
    host = web.runtime.host
    snapshot = run(web.CreateSnapshot_Task("s", "", False, False))
    path = next(path for path in links(web) if "-00000" not in path)
    lab.post("host/connection", {"host": host.name, "state": state})
    try:
        assert (host.runtime.connectionState, web.runtime.connectionState) == (state, "disconnected")
        assert web.config.name == "web01"
        for work in (
            lambda: web.CreateSnapshot_Task("t", "", False, False),
            lambda: web.ReconfigVM_Task(vim.vm.ConfigSpec(annotation="x")),
            web.PowerOffVM_Task,
            lambda: snapshot.RemoveSnapshot_Task(False),
        ):
            with pytest.raises(fault):
                run(work())
        with pytest.raises(fault):
            web.QueryChangedDiskAreas(snapshot, 2000, 0, "*")
        assert vddk("connect", "web01", True, snapshot._moId, "nbdssl", then=[["open", path, 4]]) == 14009
    finally:
        lab.post("host/connection", {"host": host.name, "state": "connected"})
    assert web.runtime.connectionState == "connected"
    run(web.RemoveAllSnapshots_Task())

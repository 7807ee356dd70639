"""The control call: guest writes, planned faults, what disks hold; and restarts of the lab."""

import hashlib
import http.client
import socket
import ssl
import subprocess
import sys
import time

import pytest
from pyVmomi import vim, vmodl

from tests.patience import HANG
from vmlab.testing import LabError, start_lab


def test_what_a_guest_writes_is_what_the_disk_holds(lab):
    lab.write("web01", 0, [{"offset": 100, "data_b64": "aGVsbG8="}, {"offset": 4096, "length": 8192, "zero": True}])
    assert lab.read("web01", "Hard disk 1", 100, 5) == b"hello"
    assert lab.read("web01", 2000, 4096, 8192) == bytes(8192)
    data = lab.read("web01", 0, 0, 1 << 20)
    assert lab.hash("web01", 0, 0, 1 << 20) == hashlib.sha256(data).hexdigest()


def test_the_same_seed_writes_the_same_bytes(lab):
    lab.write(
        "web01", 0, [{"offset": 1 << 20, "length": 5000, "seed": 7}, {"offset": 2 << 20, "length": 5000, "seed": 7}]
    )
    assert lab.read("web01", 0, 1 << 20, 5000) == lab.read("web01", 0, 2 << 20, 5000)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda lab: lab.write("old01", 0, [{"offset": 0, "length": 1, "seed": 1}]), "not running"),
        (lambda lab: lab.write("nobody", 0, []), "no VM 'nobody'"),
        (lambda lab: lab.write("twin", 0, []), "2 VMs are named 'twin'; give the moref"),
        (lambda lab: lab.write("web01", 9, []), "no disk 9; there are Hard disk 1"),
        (lambda lab: lab.write("web01", 0, [{"offset": 1 << 40, "length": 1, "seed": 1}]), "range beyond the end"),
        (lambda lab: lab.write("web01", 0, [{"offset": 0, "length": 1}]), "needs one of"),
        (lambda lab: lab.fault(method="Login", fault="NoSuchThing"), "no such type"),
        (lambda lab: lab.fault(method="Login", fault="VirtualMachineConfigInfo"), "not a fault"),
        (
            lambda lab: lab.fault(method="Login", fault="TaskInProgress", fields={"tsk": "task-1"}),
            "no field 'tsk'; it.*task",
        ),
        (lambda lab: lab.fault(method="Login", fault="TaskInProgress", fields={"task": 7}), "the id of a Task belongs"),
        (
            lambda lab: lab.fault(method="Login", fault="TaskInProgress", fields={"task": ""}),
            "the id of a Task belongs",
        ),
        (
            lambda lab: lab.fault(method="Login", fault="NoDiskSpace", fields={"file": 7}),
            "NoDiskSpace.file: 7 does not fit",
        ),
        (
            lambda lab: lab.fault(method="Login", fault="InvalidPowerState", fields={"existingState": "asleep"}),
            "one of poweredOff, poweredOn, suspended",
        ),
        (lambda lab: lab.fault(method="Login", fields={"task": "task-1"}), "fields belong to a fault"),
        (lambda lab: lab.settings(colour=3), "no setting colour"),
        (lambda lab: lab.post("vm/register", {"path": "[datastore1] x/x.vmx"}), "was not found"),
        (lambda lab: lab.post("vm/register", {"path": "nowhere"}), "Invalid datastore path"),
        (lambda lab: lab.post("vm/register", {"path": "[datastore1] x/x.vmx", "folder": "Lab/host"}), "no VM folder"),
        (lambda lab: lab.post("vm/register", {"path": "", "folder": "Lab/vm/No"}), "no VM folder 'Lab/vm/No'"),
        (lambda lab: lab.post("vm/register", {"path": "", "moref": lab.vm("web01")["moref"]}), "is taken"),
        (lambda lab: lab.post("nothing", {}), "no control call POST nothing"),
    ],
)
def test_a_control_call_that_cannot_be_says_why(lab, call, message):
    with pytest.raises(LabError, match=message):
        call(lab)


def test_the_control_call_needs_its_token(lab):
    context = ssl.create_default_context(cafile=lab.info["certificate"])
    connection = http.client.HTTPSConnection(lab.host, lab.port, context=context, timeout=HANG)
    connection.request("GET", "/vmlab/state", headers={"Authorization": "Bearer wrong"})
    assert connection.getresponse().status == 401
    connection.close()


def test_a_planned_fault_hits_the_next_calls_and_no_more(lab, vm_at, run):
    vm = vm_at("Production/web01")
    lab.fault(method="CreateSnapshot_Task", fault="ApplicationQuiesceFault", count=2)
    for _ in range(2):
        with pytest.raises(vim.fault.ApplicationQuiesceFault, match="injected"):
            run(vm.CreateSnapshot("s", "", False, True))
    run(vm.CreateSnapshot("s", "", False, True))
    run(vm.RemoveAllSnapshots())


def test_a_planned_fault_carries_the_fields_it_was_given_and_a_text(lab, vm_at, run):
    vm = vm_at("Production/web01")
    lab.fault(method="CreateSnapshot_Task", fault="TaskInProgress", fields={"task": "task-17"})
    with pytest.raises(vim.fault.TaskInProgress, match="TaskInProgress injected") as busy:
        run(vm.CreateSnapshot_Task("s", "", False, False))
    fields = {
        "object": vm._moId,
        "privilegeId": "VirtualMachine.State.CreateSnapshot",
        "missingPrivileges": [{"entity": vm._moId, "privilegeIds": ["VirtualMachine.State.CreateSnapshot"]}],
    }
    lab.fault(method="CreateSnapshot_Task", fault="NoPermission", message="Not you", fields=fields)
    with pytest.raises(vim.fault.NoPermission, match="Not you") as denied:
        run(vm.CreateSnapshot_Task("s", "", False, False))

    assert busy.value.task._moId == "task-17"
    assert denied.value.missingPrivileges[0].privilegeIds == ["VirtualMachine.State.CreateSnapshot"]
    assert denied.value.object._moId == vm._moId


def test_a_fault_after_the_deed_leaves_the_deed_done(lab, vm_at, run):
    vm = vm_at("Production/web01")
    lab.fault(method="CreateSnapshot_Task", fault="vmodl.fault.SystemError", after=True)
    with pytest.raises(vmodl.fault.SystemError):
        run(vm.CreateSnapshot("half made", "", False, False))
    assert vm.snapshot.rootSnapshotList[0].name == "half made"
    run(vm.RemoveAllSnapshots())


def test_connections_can_be_dropped_delayed_and_answered_503(lab, connect):
    content = connect().content
    index = content.searchIndex
    lab.fault(method="FindByInventoryPath", drop=True)
    with pytest.raises((http.client.HTTPException, OSError)):
        index.FindByInventoryPath("Lab")
    lab.fault(method="FindByInventoryPath", status=503)
    with pytest.raises(http.client.HTTPException):
        index.FindByInventoryPath("Lab")
    lab.fault(method="FindByInventoryPath", delay=0.3)
    start = time.monotonic()
    assert index.FindByInventoryPath("Lab").name == "Lab"
    assert time.monotonic() - start >= 0.3


def test_consolidation_can_be_made_to_fail(lab, vm_at, run):
    vm = vm_at("Production/web01")
    snapshot = run(vm.CreateSnapshot("s", "", False, False))
    lab.fault(effect="consolidation_needed")
    run(snapshot.RemoveSnapshot_Task(False))
    assert lab.vm("web01")["consolidation_needed"]
    run(vm.ConsolidateVMDisks_Task())


def test_the_state_counts_calls_and_names_sessions(lab, content):
    before = lab.state()["calls"].get("FindByInventoryPath", 0)
    content.searchIndex.FindByInventoryPath("Lab")
    state = lab.state()
    assert state["calls"]["FindByInventoryPath"] == before + 1
    assert "administrator@vsphere.local" in {session["user"] for session in state["sessions"]}


def test_a_killed_lab_comes_back_with_what_was_committed(tmp_path):
    with start_lab(tmp_path / "lab", data_disk_gib=0.0625) as lab:
        import ssl as tls

        from pyVim.connect import Disconnect, SmartConnect
        from pyVim.task import WaitForTask

        context = tls.create_default_context(cafile=lab.info["certificate"])
        instance = SmartConnect(host=lab.host, port=lab.port, user=lab.user, pwd=lab.password, sslContext=context)
        vm = instance.content.searchIndex.FindByInventoryPath("Lab/vm/Production/app01")
        WaitForTask(vm.Reconfigure(vim.vm.ConfigSpec(annotation="kept", changeTrackingEnabled=True)))
        WaitForTask(vm.CreateSnapshot("kept", "", False, False))
        lab.write("app01", 0, [{"offset": 0, "length": 65536, "seed": 1}])
        before, hashed, thumbprint = lab.vm("app01"), lab.hash("app01", 0), lab.thumbprint
        Disconnect(instance)
        instance._stub.DropConnections()

        lab.kill()
        lab.restart()
        assert (lab.vm("app01"), lab.hash("app01", 0), lab.thumbprint) == (before, hashed, thumbprint)
        assert lab.state()["sessions"] == []


def test_calls_share_a_connection_until_the_lab_ends_it(lab):
    lab.state()
    with lab._connected() as first:
        kept = first.sock
        with lab._connected() as other:
            assert other is not first, "a call that is made meanwhile has its own"
    lab.state()
    with lab._connected() as again:
        assert again is first
        assert again.sock is kept is not None
    kept.shutdown(socket.SHUT_RDWR)  # both sides see the end of it, as if it had been idle for long
    assert len(lab.state()["vms"]) == 8
    with lab._connected() as later:
        assert later.sock is not kept


def test_a_refused_call_keeps_its_connection_and_one_that_breaks_off_does_not(lab):
    with pytest.raises(LabError, match="no VM"):
        lab.hash("nobody", 0)
    kept = lab._idle[-1]
    with pytest.raises(TimeoutError), lab._connected() as broken:
        raise TimeoutError
    assert broken is kept
    assert broken.sock is None
    assert broken not in lab._idle
    assert len(lab.state()["vms"]) == 8


def test_a_set_up_that_was_killed_is_begun_anew(tmp_path):
    folder = tmp_path / "lab"
    command = [sys.executable, "-m", "vmlab", "serve", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + HANG
    while not list(folder.glob("datastores/*/app01")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    with start_lab(folder, data_disk_gib=0.0625) as lab:
        assert len(lab.state()["vms"]) == 8


def test_two_labs_do_not_share_a_folder(lab):
    with pytest.raises(LabError, match="another vmlab is using this folder"), start_lab(lab.folder):
        pass


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve"], "Missing option '--dir'"),
        (["serve", "--dir", "x", "--port", "70000"], "not in the range"),
        (["fly"], "No such command"),
    ],
)
def test_bad_options_get_one_clear_line(arguments, message):
    done = subprocess.run([sys.executable, "-m", "vmlab", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_help_tells_what_it_is():
    done = subprocess.run(
        [sys.executable, "-m", "vmlab", "serve", "--help"], capture_output=True, text=True, check=True
    )
    assert "one line of JSON" in done.stdout


def test_a_storage_level_copy_in_another_lab_has_every_uuid_of_the_original(lab, tmp_path):
    with start_lab(tmp_path / "other", data_disk_gib=0.03125) as other:
        made = other.take_copy(lab, "web01", "[datastore2] web01-copy", folder_path="Lab/vm/Test", moref="vm-77")
        copy, original = other.vm("vm-77"), lab.vm("web01")

        assert (made, copy["power"]) == ("vm-77", "poweredOff")
        assert (
            copy["instance_uuid"]
            == original["instance_uuid"]
            != next(vm for vm in other.state()["vms"] if vm["name"] == "old01")["instance_uuid"]
        )
        assert copy["disks"][0]["uuid"] == original["disks"][0]["uuid"]
        assert other.hash("vm-77", 0) == lab.hash("web01", 0)

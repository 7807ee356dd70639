"""Permission to open a disk over NFC: the rules of locks, snapshots, rights and logins."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
from pyVmomi import vim

from vmlab.authority import BAD_LOGIN, NO_ACCESS, NO_SNAPSHOT, NO_VM, NOT_FOUND, UNKNOWN
from vmlab.disks import DiskError
from vmlab.inventory import ADMINISTRATOR
from vmlab.inventory.demo import BACKUP_USER, READ_ONLY_USER
from vmlab.lab import DEFAULT_PASSWORD, LabOptions, LabServer
from vmlab.managed.snapshots.snapshot_disks import collapse
from vmlab.managed.snapshots.snapshot_methods import take_snapshot
from vmlab.managed.vms import power_on, set_power
from vmlab.nfc import NfcError, NfcSession

RUNNING, OFF = "web01", "old01"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    server = LabServer(LabOptions(folder=tmp_path_factory.mktemp("lab"), data_disk_bytes=64 << 20))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def site(lab):
    return lab.site


@pytest.fixture
def vm(site):
    def find(name):
        (found,) = [ref for ref in site.world.all(vim.VirtualMachine) if site.world.get(ref, "name") == name]
        return found

    return find


@pytest.fixture
def open_disk(lab, vm):
    def attempt(name, path, *, snapshot=None, read_only=True, user=ADMINISTRATOR, password=DEFAULT_PASSWORD, **given):
        request = {
            "user": user, "password": password, "cookie": None, "vmx_spec": f"moref={vm(name)._moId}",
            "snapshot_ref": snapshot._moId if snapshot is not None else None, "path": path, "read_only": read_only,
            "transports": "nbdssl",
        }  # fmt: skip
        return lab._authority.open_disk(**request | given)

    return attempt


@contextmanager
def refused(code):
    with pytest.raises(NfcError) as raised:
        yield
    assert raised.value.code == code, raised.value


BASE = "[datastore1] web01/web01.vmdk"
COLD = "[datastore2] old01/old01.vmdk"


@pytest.fixture
def snapshot(site, vm):
    ref = take_snapshot(site, vm(RUNNING), "s", "", memory=False, quiesce=False)
    yield ref
    with site.world.transaction():
        site.world.remove(ref)
        site.world.update(vm(RUNNING), snapshot=None)
    collapse(site, vm(RUNNING))


def test_a_running_vm_s_disk_opens_only_through_a_snapshot(open_disk, snapshot, site, vm):
    grant = open_disk(RUNNING, BASE, snapshot=snapshot)
    assert (grant.ds_path, grant.read_only, grant.host) == (BASE, True, "esx02.localhost")
    top = site.world.get(vm(RUNNING), "config").hardware.device[-1].backing.fileName
    assert top == "[datastore1] web01/web01-000001.vmdk"
    with refused(UNKNOWN):
        open_disk(RUNNING, top, snapshot=snapshot)
    with refused(NO_ACCESS):
        open_disk(RUNNING, BASE)
    with refused(UNKNOWN):
        open_disk(RUNNING, BASE, snapshot=snapshot, read_only=False)


def test_a_running_vm_s_base_disk_without_a_snapshot_is_an_unknown_error(open_disk):
    for read_only in (True, False):
        with refused(UNKNOWN):
            open_disk(RUNNING, BASE, read_only=read_only)


def test_a_vm_that_is_off_opens_directly_for_reading_and_writing(open_disk):
    assert open_disk(OFF, COLD).read_only
    assert not open_disk(OFF, COLD, read_only=False).read_only
    assert open_disk(OFF, COLD.replace("] ", "]")).ds_path == COLD


def test_the_vm_may_be_named_by_its_vmx(open_disk):
    for spec in ("[datastore2] old01/old01.vmx", "old01/old01.vmx?dcPath=Lab&dsName=datastore2"):
        assert open_disk(OFF, COLD, vmx_spec=spec).ds_path == COLD


def test_logins_and_rights_are_checked(open_disk, site):
    with refused(BAD_LOGIN):
        open_disk(OFF, COLD, password="wrong")
    with refused(NO_ACCESS):
        open_disk(OFF, COLD, user=READ_ONLY_USER)
    assert open_disk(OFF, COLD, user=BACKUP_USER, read_only=False)
    session = site.sessions.open(ADMINISTRATOR, "127.0.0.1", "")
    for cookie in (session.cookie, f'vmware_soap_session="{session.cookie}"'):
        assert open_disk(OFF, COLD, user=None, password=None, cookie=cookie)
    site.sessions.close(session)
    with refused(BAD_LOGIN):
        open_disk(OFF, COLD, user=None, password=None, cookie=session.cookie)


def test_what_is_not_there_has_its_own_code(open_disk, snapshot):
    with refused(NO_VM):
        open_disk(OFF, COLD, vmx_spec="moref=vm-9")
    with refused(NO_VM):
        open_disk(OFF, COLD, vmx_spec="moref=group-d1")
    with refused(NOT_FOUND):
        open_disk(OFF, "[datastore2] old01/nothing.vmdk")
    with refused(NO_ACCESS):
        open_disk(OFF, BASE)
    with refused(NO_SNAPSHOT):
        open_disk(OFF, COLD, snapshot=snapshot)


def test_a_link_that_is_being_read_is_not_merged_away(site, vm, snapshot, monkeypatch):
    reading = NfcSession(host="h", ds_path=BASE, read_only=True, transport="nbdssl")
    monkeypatch.setattr(site, "nfc_sessions", lambda: [reading])
    with site.world.transaction():
        info = site.world.get(vm(RUNNING), "snapshot")
        site.world.update(vm(RUNNING), snapshot=None)
    with pytest.raises(vim.fault.FileLocked):
        collapse(site, vm(RUNNING))
    assert site.world.get(vm(RUNNING), "runtime").consolidationNeeded
    monkeypatch.setattr(site, "nfc_sessions", list)
    site.world.update(vm(RUNNING), snapshot=info)
    collapse(site, vm(RUNNING))
    assert not site.world.get(vm(RUNNING), "runtime").consolidationNeeded


def test_a_vm_whose_disk_is_being_written_does_not_power_on(site, vm, monkeypatch):
    writing = NfcSession(host="h", ds_path=COLD, read_only=False, transport="nbdssl")
    monkeypatch.setattr(site, "nfc_sessions", lambda: [writing])
    with pytest.raises(vim.fault.FileLocked):
        power_on(site, vm(OFF))
    monkeypatch.setattr(site, "nfc_sessions", lambda: [replace(writing, read_only=True)])
    power_on(site, vm(OFF))
    set_power(site, vm(OFF), "poweredOff")


def test_a_merge_that_fails_changes_no_name(site, vm, snapshot, monkeypatch):
    def broken(_):
        raise DiskError(7, "cut")

    monkeypatch.setattr(site.store, "consolidate", broken)
    info = site.world.get(vm(RUNNING), "snapshot")
    site.world.update(vm(RUNNING), snapshot=None)
    with pytest.raises(DiskError):
        collapse(site, vm(RUNNING))
    (disk,) = [d for d in site.world.get(vm(RUNNING), "config").hardware.device if hasattr(d, "capacityInKB")]
    assert disk.backing.fileName.endswith("-000001.vmdk")
    site.world.update(vm(RUNNING), snapshot=info)


def test_a_grant_tells_what_san_and_hotadd_ask_for(site, vm, open_disk):
    def top():
        devices = site.world.get(vm(OFF), "config").hardware.device
        return next(each.backing.fileName for each in devices if isinstance(each, vim.vm.device.VirtualDisk))

    base = top()
    grant = open_disk(OFF, base, read_only=False)
    assert (grant.has_snapshot, grant.redo_log, grant.tracked) == (False, False, False)
    snapshot = take_snapshot(site, vm(OFF), "s", "", memory=False, quiesce=False)
    assert open_disk(OFF, base, snapshot=snapshot, read_only=False).has_snapshot
    assert open_disk(OFF, top(), read_only=False).redo_log

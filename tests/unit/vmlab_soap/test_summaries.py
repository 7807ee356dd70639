"""Cheap lists of VMs: a path costs only the part of the summary that it leads into, and a folder is read once."""

import os
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from pyVmomi import vim

from vmlab.managed import ds_paths
from vmlab.managed.properties.reading import read_path
from vmlab.managed.vms.file_list import FileList
from vmlab.managed.world import Database, World

SNAPSHOTS = 30
ENDS = ("", "-flat", "-ctk")


@pytest.fixture
def site(tmp_path):
    """A site with a datastore that nothing is on."""
    (tmp_path / "datastores" / "ds").mkdir(parents=True)
    database = Database(tmp_path / "world.db")
    world = World(database)
    world.add(vim.Datastore("datastore-1"), name="ds")
    yield SimpleNamespace(world=world, folder=tmp_path)
    database.close()


@pytest.fixture
def vm(site):
    """A VM with one disk in its folder, and another with many snapshots in a second folder."""
    root = site.folder / "datastores" / "ds"
    for folder in ("vm", "more"):
        (root / folder).mkdir()
    links = ["[ds] vm/vm.vmdk", *(f"[ds] more/d-{at:06}.vmdk" for at in range(SNAPSHOTS))]
    for path in links:
        _, rest = ds_paths.parse(path)
        for end in ENDS:
            (root / rest).with_name((root / rest).stem + end + ".vmdk").write_bytes(b"x" * 5000)
    (root / "vm" / "vm.vmx").write_text("x")
    config = SimpleNamespace(
        name="vm", uuid="u", files=SimpleNamespace(vmPathName="[ds] vm/vm.vmx"), modified=datetime.now(UTC),
        hardware=SimpleNamespace(device=[_disk(links[:1]), _disk(links[1:])], memoryMB=64, numCPU=1),
        template=False, instanceUuid="i", guestId="g", guestFullName="G", annotation="",
    )  # fmt: skip
    runtime = SimpleNamespace(connectionState="connected", powerState="poweredOff")
    ref = vim.VirtualMachine("vm-1")
    with site.world.lock:
        site.world.add(ref, lasting=False, config=config, runtime=runtime)
    return ref


def _disk(links):
    backing = None
    for path in links:
        backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName=path, diskMode="persistent", parent=backing)
    return vim.vm.device.VirtualDisk(key=2000, backing=backing, capacityInBytes=1 << 30)


@pytest.fixture
def scanned(monkeypatch):
    """The folders that were read since."""
    folders = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (folders.append(path), real(path))[1])
    return folders


def test_a_folder_is_read_once_however_many_links_lie_in_it(site, vm, scanned, monkeypatch):
    ways = []
    real = ds_paths.local
    monkeypatch.setattr(ds_paths, "local", lambda *of: (ways.append(of[1]), real(*of))[1])

    listed = FileList(site, site.world.get(vm, "config"))

    assert len(listed.files()) == 1 + len(ENDS) * (1 + SNAPSHOTS)
    assert listed.size() == sum(file.size for file in listed.files()) > 5000 * len(ENDS)
    assert len(scanned) == len(ways) == 2, "each of the two folders is found, and read, once"


def test_a_path_into_one_part_of_the_summary_looks_at_no_file(site, vm, scanned):
    known = {}
    assert read_path(site, vm, "summary.config.uuid", known) == "u"
    assert read_path(site, vm, "summary.config.numVirtualDisks", known) == 2
    assert scanned == []

    assert read_path(site, vm, "summary.storage.committed", known) > 0
    assert read_path(site, vm, "summary.storage.unshared", known) > 0
    assert len(scanned) == 2, "the files are looked at once for all paths of one question"


def test_a_file_that_was_written_meanwhile_counts_at_the_next_question(site, vm):
    before = read_path(site, vm, "summary.storage.committed")
    data = site.folder / "datastores" / "ds" / "vm" / "vm-flat.vmdk"
    data.write_bytes(b"x" * (1 << 20))
    assert read_path(site, vm, "summary.storage.committed") >= before + (1 << 20) - 8192


def test_a_link_out_of_the_datastore_has_no_size(site, vm):
    data = site.folder / "datastores" / "ds" / "vm" / "vm-flat.vmdk"
    data.unlink()
    data.symlink_to("/etc/hostname")
    with pytest.raises(vim.fault.InvalidDatastorePath):
        read_path(site, vm, "summary.storage.committed")
    data.unlink()
    data.symlink_to("nothing")
    assert read_path(site, vm, "summary.storage.committed") > 0


def test_a_vm_without_files_takes_nothing(site, vm):
    config = site.world.get(vm, "config")
    config.files.vmPathName, config.hardware.device = "[ds] gone/vm.vmx", []
    assert read_path(site, vm, "summary.storage.committed") == 0
    assert FileList(site, config).files() == []

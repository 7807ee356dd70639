"""Registering, unregistering, destroying, folders, datastore browser, files over HTTPS."""

import base64
import http.client
import ssl
from urllib.parse import quote

import pytest
from pyVmomi import vim

from tests.integration.vmlab_soap.specs import Device, added, disks_of, new_disk, vm_spec
from tests.patience import HANG


def folder_url(path, datastore="datastore1", center="Lab"):
    return f"/folder/{quote(path)}?dcPath={quote(center)}&dsName={quote(datastore)}"


@pytest.fixture
def https(lab):
    context = ssl.create_default_context(cafile=lab.info["certificate"])

    def request(method, target, body=None, user=None, password=None, headers=None):
        connection = http.client.HTTPSConnection(lab.host, lab.port, context=context, timeout=HANG)
        token = base64.b64encode(f"{user or lab.user}:{password or lab.password}".encode()).decode()
        try:
            connection.request(method, target, body=body, headers={"Authorization": f"Basic {token}"} | (headers or {}))
            response = connection.getresponse()
            return response.status, response.read(), dict(response.getheaders())
        finally:
            connection.close()

    return request


def test_an_unregistered_vm_comes_back_from_its_vmx_the_same(content, vm_at, run):
    vm = vm_at("old01")
    path, before = vm.config.files.vmPathName, vm.config
    vm.UnregisterVM()
    assert content.searchIndex.FindByInventoryPath("Lab/vm/old01") is None
    folder = content.searchIndex.FindByInventoryPath("Lab/vm")
    pool = content.searchIndex.FindByInventoryPath("Lab/host/Cluster1/Resources")
    after = run(folder.RegisterVM_Task(path, None, False, pool)).config
    for name in ("name", "uuid", "instanceUuid", "guestId", "version", "annotation", "changeTrackingEnabled"):
        assert getattr(after, name) == getattr(before, name), name
    assert (after.hardware.memoryMB, after.hardware.numCPU) == (before.hardware.memoryMB, before.hardware.numCPU)
    shape = [
        (type(d), d.key, d.controllerKey, d.unitNumber, getattr(d.backing, "fileName", None))
        for d in before.hardware.device
    ]
    assert sorted(map(str, shape)) == sorted(
        str((type(d), d.key, d.controllerKey, d.unitNumber, getattr(d.backing, "fileName", None)))
        for d in after.hardware.device
    )


def test_a_vm_with_a_raw_mapping_comes_back_with_it(content, run):
    index = content.searchIndex
    folder, pool = index.FindByInventoryPath("Lab/vm/Test"), index.FindByInventoryPath("Lab/host/Cluster1/Resources")
    listed = index.FindByInventoryPath("Lab/host/Cluster1").environmentBrowser.QueryConfigTarget().scsiDisk
    lun = next(info.disk for info in listed if not info.vm)
    backing = Device.VirtualDisk.RawDiskMappingVer1BackingInfo(
        fileName="",
        diskMode="persistent",
        compatibilityMode="virtualMode",
        lunUuid=lun.uuid,
        deviceName=lun.canonicalName,
    )
    disk = Device.VirtualDisk(key=-2, controllerKey=-1, unitNumber=0, capacityInKB=0, backing=backing)
    scsi = added(Device.VirtualLsiLogicController(key=-1, busNumber=0, sharedBus="noSharing"))
    vm = run(folder.CreateVM_Task(vm_spec("mapped", scsi, added(disk, "create")), pool))
    path = vm.config.files.vmPathName
    vm.UnregisterVM()
    vm = run(folder.RegisterVM_Task(path, "mapped again", False, pool))
    (again,) = disks_of(vm)
    assert (again.backing.lunUuid, again.backing.compatibilityMode) == (lun.uuid, "virtualMode")
    run(vm.Destroy())


def test_registering_what_is_not_there_or_registered_already_is_refused(content, run):
    folder = content.searchIndex.FindByInventoryPath("Lab/vm/Test")
    pool = content.searchIndex.FindByInventoryPath("Lab/host/Cluster1/Resources")
    with pytest.raises(vim.fault.NotFound):
        run(folder.RegisterVM_Task("[datastore1] no/no.vmx", None, False, pool))
    with pytest.raises(vim.fault.AlreadyExists):
        run(folder.RegisterVM_Task("[datastore1] app01/app01.vmx", None, False, pool))


def test_destroying_a_vm_takes_its_snapshots_and_files(content, run, lab):
    index = content.searchIndex
    folder, pool = index.FindByInventoryPath("Lab/vm/Test"), index.FindByInventoryPath("Lab/host/Cluster1/Resources")
    vm = run(folder.CreateVM_Task(vm_spec("doomed", new_disk(200, 0)), pool))
    run(vm.CreateSnapshot("s", "", False, False))
    files = lab.folder / "datastores" / "datastore1" / "doomed"
    assert files.is_dir()
    run(vm.Destroy())
    assert not files.exists()
    assert index.FindByInventoryPath("Lab/vm/Test/doomed") is None


def test_folders_are_made_renamed_filled_and_destroyed(content, vm_at, run):
    index = content.searchIndex
    test = index.FindByInventoryPath("Lab/vm/Test")
    made = test.CreateFolder("new/er")
    assert made.name == "new%2fer"
    with pytest.raises(vim.fault.DuplicateName):
        test.CreateFolder("new/er")
    twin = vm_at("Test/twin")
    run(made.MoveIntoFolder_Task([twin]))
    assert index.FindByInventoryPath("Lab/vm/Test/new%2fer/twin") == twin
    run(test.MoveIntoFolder_Task([twin]))
    run(made.Rename("plain"))
    run(made.Destroy())
    assert index.FindByInventoryPath("Lab/vm/Test/plain") is None


def test_the_datastore_browser_lists_disks_by_their_descriptor(content, run):
    store = next(d for d in content.rootFolder.childEntity[0].datastore if d.name == "datastore1")
    browser = vim.host.DatastoreBrowser
    details = browser.FileInfo.Details(fileType=True, fileSize=True, modification=True, fileOwner=False)
    found = run(
        store.browser.SearchDatastore_Task(
            "[datastore1] app01", browser.SearchSpec(matchPattern=["*.vmdk", "*.vmx"], details=details)
        )
    )
    assert found.folderPath == "[datastore1] app01/"
    assert [info.path for info in found.file] == [
        "app01.vmdk",
        "app01.vmx",
        "app01_1.vmdk",
        "app01_2.vmdk",
        "app01_3.vmdk",
    ]
    everywhere = run(
        store.browser.SearchDatastoreSubFolders_Task(
            "[datastore1]", browser.SearchSpec(query=[browser.VmConfigQuery()])
        )
    )
    assert "[datastore1] web01/" in [result.folderPath for result in everywhere]
    with pytest.raises(vim.fault.FileNotFound):
        run(store.browser.SearchDatastore_Task("[datastore1] nothing", None))


def test_files_are_deleted_unless_a_vm_uses_them(content, run, lab):
    manager, center = content.fileManager, content.rootFolder.childEntity[0]
    manager.MakeDirectory("[datastore1] a/b", center, True)
    (lab.folder / "datastores/datastore1/a/b/file").write_text("x")
    run(manager.CopyDatastoreFile_Task("[datastore1] a/b/file", center, "[datastore1] a/copy", center, False))
    run(manager.MoveDatastoreFile_Task("[datastore1] a/copy", center, "[datastore1] a/moved", center, False))
    run(manager.DeleteDatastoreFile_Task("[datastore1] a", center))
    assert not (lab.folder / "datastores/datastore1/a").exists()
    for path in ("[datastore1] app01", "[datastore1] app01/app01.vmdk"):
        with pytest.raises(vim.fault.FileLocked):
            run(manager.DeleteDatastoreFile_Task(path, center))


def test_files_go_up_and_down_over_https(https, lab):
    assert https("PUT", folder_url("web01/büro 1.nvram"), body=b"0123456789")[0] == 201
    assert https("PUT", folder_url("web01/büro 1.nvram"), body=b"0123456789")[0] == 200
    assert https("GET", folder_url("web01/büro 1.nvram"))[:2] == (200, b"0123456789")
    status, body, headers = https("GET", folder_url("web01/büro 1.nvram"), headers={"Range": "bytes=2-4"})
    assert (status, body, headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    assert https("GET", folder_url("web01/büro 1.nvram"), headers={"Range": "bytes=-3"})[1] == b"789"
    assert https("GET", folder_url("web01/büro 1.nvram"), headers={"Range": "bytes=20-"})[0] == 416
    status, body, headers = https("HEAD", folder_url("old01/old01.vmx", "datastore2"))
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) == (lab.folder / "datastores/datastore2/old01/old01.vmx").stat().st_size
    assert b"web01.nvram" in https("GET", folder_url("web01"))[1]


def test_nothing_outside_the_datastore_can_be_named(https):
    for path in ("../../state.db", "app01/../../../state.db", "%2e%2e/%2e%2e/state.db", "/etc/passwd"):
        assert https("GET", folder_url(path))[0] == 404
        assert https("PUT", folder_url(path), body=b"x")[0] == 404
    assert https("GET", folder_url("app01/app01.vmx", datastore="../datastore1"))[0] == 404
    assert https("GET", folder_url("app01/app01.vmx", center="Nowhere"))[0] == 404


def test_files_need_a_login_and_the_privilege(https):
    assert https("GET", folder_url("web01/web01.vmx"), password="wrong")[0] == 401
    assert https("PUT", folder_url("web01/x"), body=b"x", user="readonly@vsphere.local")[0] == 403


def test_a_session_cookie_opens_the_folder_too(content, lab):
    context = ssl.create_default_context(cafile=lab.info["certificate"])
    connection = http.client.HTTPSConnection(lab.host, lab.port, context=context, timeout=HANG)
    target = folder_url("old01/old01.vmx", "datastore2")
    connection.request("GET", target, headers={"Cookie": content.rootFolder._stub.cookie})
    assert b'displayName = "old01"' in connection.getresponse().read()
    connection.close()


def test_the_environment_browser_tells_what_a_vm_could_be_given(content):
    browser = content.searchIndex.FindByInventoryPath("Lab/host/Cluster1").environmentBrowser
    target = browser.QueryConfigTarget()
    assert sorted(store.name for store in target.datastore) == ["datastore1", "datastore2"]
    assert sorted(network.name for network in target.network) == ["Backup Network", "VM Network"]
    assert browser.QueryConfigOption(None, None).version == "vmx-21"
    assert "vmx-19" in [option.key for option in browser.QueryConfigOptionDescriptor()]

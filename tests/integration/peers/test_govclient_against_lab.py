"""govmomi's client works with the lab as with a vCenter: it finds, reads, makes, changes, waits and is refused."""

from __future__ import annotations

from itertools import count

import pytest

pytestmark = pytest.mark.slow
numbers = count(1)
READ_ONLY = "readonly@vsphere.local"


@pytest.fixture
def machine(client):
    """A VM made by the peer: pvscsi, one disk of 16 MiB, one network card."""
    name = f"peer{next(numbers)}"
    client("vm.create", name, "datastore2", "16")
    yield name
    if any(entry["path"].endswith(f"/{name}") for entry in client("find", "VirtualMachine")):
        if client("vm.info", name)[0]["Runtime"]["PowerState"] == "poweredOn":
            client("vm.power", name, "off")
        client("vm.destroy", name)


def paths(entries):
    return {entry["path"] for entry in entries}


def disks(client, vm):
    return [device for device in client("device.ls", vm) if device["type"] == "VirtualDisk"]


def test_the_lab_introduces_itself_as_a_vcenter(client):
    answer = client("about")

    assert answer["vc"]
    assert (answer["about"]["ApiType"], answer["about"]["ProductLineId"]) == ("VirtualCenter", "vpx")
    assert answer["now"]


def test_a_wrong_password_is_refused(peer_error):
    assert peer_error("about", password="wrong").fault == "InvalidLogin"


def test_a_wrong_thumbprint_ends_before_the_log_in(peer_error, lab):
    wrong = ("00" if lab.thumbprint[:2] != "00" else "11") + lab.thumbprint[2:]

    assert "thumbprint does not match" in str(peer_error("about", thumbprint=wrong))
    assert "unknown authority" in str(peer_error("about", thumbprint=""))


def test_without_a_session_nothing_is_told(peer_error):
    assert peer_error("about", user="").fault == "NotAuthenticated"
    assert peer_error("ls", "/", user="").fault == "NotAuthenticated"


def test_a_session_that_was_idle_too_long_has_ended(client, lab):
    lab.settings(session_timeout=0.5)
    try:
        with pytest.raises(Exception, match="not authenticated") as caught:
            client("session.idle", "1")
    finally:
        lab.settings(session_timeout=1800)

    assert caught.value.fault == "NotAuthenticated"


def test_a_session_is_kept_alive_by_calls_of_the_client_s_own(client, lab):
    def asked():
        return lab.state()["calls"].get("CurrentTime", 0)

    before = asked()

    assert client("session.idle", "1", keepalive="100ms") == "Datacenters"

    assert asked() > before


def test_a_client_is_told_its_own_session(client):
    mine = client("session.ls")

    assert mine["UserName"] == "VSPHERE.LOCAL\\administrator"
    assert client("collect", "SessionManager:SessionManager", "currentSession")["currentSession"]["value"]["Key"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("/", {"/Lab"}),
        ("/*", {"/Lab/vm", "/Lab/host", "/Lab/datastore", "/Lab/network"}),
        ("host", {"/Lab/host/Cluster1"}),
        ("host/*", {f"/Lab/host/Cluster1/{name}" for name in ("esx01.localhost", "esx02.localhost", "Resources")}),
        ("host/*/Resources/*", {"/Lab/host/Cluster1/Resources/Production"}),
        ("datastore", {"/Lab/datastore/datastore1", "/Lab/datastore/datastore2"}),
        ("network", {"/Lab/network/VM Network", "/Lab/network/Backup Network"}),
        ("vm/Test", {"/Lab/vm/Test/twin", "/Lab/vm/Test/dätä web%2f01 ☃"}),
    ],
)
def test_listing_walks_the_inventory_by_nested_selections(client, pattern, expected):
    assert paths(client("ls", pattern)) == expected


def test_listing_a_host_shows_what_it_has(client):
    seen = paths(client("ls", "host/*/esx01.localhost"))

    assert {f"/Lab/host/Cluster1/esx01.localhost/{name}" for name in ("datastore1", "VM Network", "app01")} <= seen


def test_finding_by_type_and_by_property_with_the_path_of_each(client):
    assert "/Lab/vm/Production/app01" in paths(client("find", "VirtualMachine"))
    assert paths(client("find", "VirtualMachine", "name", "app*")) == {"/Lab/vm/Production/app01"}
    assert "/Lab/vm/old01" not in paths(client("find", "VirtualMachine", "runtime.powerState", "poweredOn"))
    assert paths(client("find", "ResourcePool")) == {
        "/Lab/host/Cluster1/Resources",
        "/Lab/host/Cluster1/Resources/Production",
    }
    everything = paths(client("find", "ManagedEntity"))
    assert {"/Lab", "/Lab/vm/Test", "/Lab/host/Cluster1/esx02.localhost", "/Lab/network/VM Network"} <= everything


def test_a_vm_is_told_in_full(client):
    (vm,) = client("vm.info", "app01")

    assert (vm["Name"], vm["Summary"]["Config"]["NumVirtualDisks"]) == ("app01", 4)
    assert vm["Runtime"]["PowerState"] == vm["Summary"]["Runtime"]["PowerState"] == "poweredOn"
    assert vm["Runtime"]["RecordReplayState"] == "inactive"
    assert vm["Guest"]["ToolsRunningStatus"] == "guestToolsRunning"
    assert vm["Summary"]["Guest"]["IpAddress"] == client("vm.ip", "app01")
    named = {file["Key"]: file["Name"] for file in vm["LayoutEx"]["File"]}
    chains = {
        disk["Key"]: [named[key] for link in disk["Chain"] for key in link["FileKey"]]
        for disk in vm["LayoutEx"]["Disk"]
    }
    assert chains[2000] == ["[datastore1] app01/app01.vmdk", "[datastore1] app01/app01-flat.vmdk"]
    assert {vm["Name"] for vm in client("vm.info", "Test/*")} == {"twin", "dätä web%2f01 ☃"}


def test_devices_come_with_their_types_controllers_and_backings(client):
    seen = {device["key"]: device for device in client("device.ls", "app01")}

    assert {key: seen[key]["name"] for key in (1000, 1001, 15000, 2000, 2001, 16000, 2016)} == {
        1000: "pvscsi-1000", 1001: "lsilogic-sas-1001", 15000: "ahci-15000",
        2000: "disk-1000-0", 2001: "disk-1000-1", 16000: "disk-15000-0", 2016: "disk-1001-0",
    }  # fmt: skip
    assert seen[2016]["backing"] == "VirtualDiskRawDiskMappingVer1BackingInfo"
    assert seen[2016]["device"]["Backing"]["CompatibilityMode"] == "physicalMode"
    assert seen[2000]["backing"] == "VirtualDiskFlatVer2BackingInfo"
    assert seen[2000]["capacity"] == seen[2000]["device"]["CapacityInKB"] * 1024


def test_properties_inside_of_arrays_are_found_by_key(client, peer_error):
    path = "config.hardware.device[2000].backing.fileName"
    told = client("collect", "VirtualMachine:vm-1001", path, "config.hardware.device[2000]", "guest.net", "recentTask")

    assert told[path]["value"] == "[datastore1] app01/app01.vmdk"
    assert told["config.hardware.device[2000]"]["type"] == "VirtualDisk"
    assert told["guest.net"]["type"] == "ArrayOfGuestNicInfo"
    assert peer_error("collect", "VirtualMachine:vm-1001", "nonsense").fault == "InvalidProperty"
    assert peer_error("collect", "VirtualMachine:vm-99", "name").fault == "ManagedObjectNotFound"


@pytest.mark.parametrize("kind", [
    "Datacenter", "Folder", "ClusterComputeResource", "HostSystem", "ResourcePool", "Datastore", "Network",
    "VirtualMachine",
])  # fmt: skip
def test_all_properties_of_every_kind_of_object_can_be_decoded(client, kind):
    for entry in client("find", kind):
        told = client("collect", entry["ref"])

        assert told["name"]["value"] == entry["path"].rpartition("/")[2]
        assert told["parent"]["type"] == "ManagedObjectReference"


def test_a_vm_is_made_with_negative_keys_and_gets_real_ones(client, peer_error, machine):
    made = {device["type"]: device for device in client("device.ls", machine)}

    assert all(device["key"] > 0 for device in made.values())
    assert made["VirtualDisk"]["device"]["ControllerKey"] == made["ParaVirtualSCSIController"]["key"]
    assert made["VirtualDisk"]["capacity"] == 16 << 20
    assert made["VirtualVmxnet3"]["device"]["MacAddress"]
    config = client("vm.info", machine)[0]["Config"]
    assert config["Annotation"] == "made by a peer & <kept>"
    assert (config["Hardware"]["NumCPU"], config["Hardware"]["MemoryMB"]) == (2, 256)
    assert config["Files"]["VmPathName"] == f"[datastore2] {machine}/{machine}.vmx"
    assert peer_error("vm.create", machine, "datastore2", "16").fault == "DuplicateName"


def test_power_goes_through_its_states_and_clients_can_wait_for_them(client, peer_error, machine):
    assert peer_error("vm.power", machine, "off").fault == "InvalidPowerState"
    client("vm.power", machine, "on")
    assert client("vm.wait", machine, "poweredOn") == "poweredOn"
    assert peer_error("vm.power", machine, "on").fault == "InvalidPowerState"
    client("vm.power", machine, "suspend")
    assert client("vm.wait", machine, "suspended") == "suspended"
    client("vm.power", machine, "on")
    client("vm.power", machine, "reset")
    client("vm.power", machine, "off")
    assert client("vm.wait", machine, "poweredOff") == "poweredOff"


def test_a_vm_is_reconfigured_and_gets_and_loses_a_disk(client, machine):
    client("vm.change", machine, "neu ☃ <1>", "4", "true")
    config = client("vm.info", machine)[0]["Config"]
    assert (config["Annotation"], config["Hardware"]["NumCPU"]) == ("neu ☃ <1>", 4)
    assert config["ChangeTrackingEnabled"]
    assert {"Key": "peer.setting", "Value": "1 < 2"} in config["ExtraConfig"]

    added = client("vm.disk.create", machine, "datastore2", "8")
    assert [(d["name"], d["capacity"]) for d in added if d["type"] == "VirtualDisk"] == [
        ("disk-1000-0", 16 << 20), ("disk-1000-1", 8 << 20),
    ]  # fmt: skip
    files = client("datastore.ls", "datastore2", machine, "*.vmdk")
    assert len(files[f"[datastore2] {machine}/"]) == 2
    client("vm.disk.remove", machine, "2001")
    assert [disk["name"] for disk in disks(client, machine)] == ["disk-1000-0"]
    assert len(client("datastore.ls", "datastore2", machine, "*.vmdk")[f"[datastore2] {machine}/"]) == 1


def test_snapshots_form_a_tree_and_tell_what_changed_between_them(client, lab, peer_error, machine):
    client("vm.change", machine, "tracked", "1", "true")
    client("vm.power", machine, "on")
    client("snapshot.create", machine, "one", "the first", "false")
    lab.write(machine, 0, [{"offset": 1 << 20, "length": 65536, "seed": 3}])
    client("snapshot.create", machine, "two", "", "false")
    lab.write(machine, 0, [{"offset": 4 << 20, "length": 131072, "seed": 4}])
    three = client("snapshot.create", machine, "three", "", "false")

    told = client("snapshot.tree", machine)
    (root,) = told["tree"]
    assert (root["Name"], root["Description"], root["State"]) == ("one", "the first", "poweredOff")
    assert root["ChildSnapshotList"][0]["ChildSnapshotList"][0]["Name"] == "three"
    assert told["current"] == three
    assert told["roots"] == [root["Snapshot"]]
    ids = {}
    for name, devices in told["held"].items():
        (disk,) = (device["device"] for device in devices if device["type"] == "VirtualDisk")
        ids[name] = disk["Backing"]["ChangeId"]
    assert all(ids.values())

    assert client("disk.changes", machine, "two", "2000", ids["one"]) == [[1 << 20, 65536]]
    assert client("disk.changes", machine, "three", "2000", ids["two"]) == [[4 << 20, 131072]]
    assert client("disk.changes", machine, "three", "2000", "*") == [[1 << 20, 65536], [4 << 20, 131072]]
    assert peer_error("disk.changes", machine, "three", "2000", "nonsense").fault == "InvalidArgument"


def test_snapshots_are_removed_by_path_id_or_all_at_once_and_reverted_to(client, lab, peer_error, machine):
    client("vm.power", machine, "on")
    lab.write(machine, 0, [{"offset": 0, "length": 65536, "seed": 5}])
    before = lab.hash(machine, 0)
    first = client("snapshot.create", machine, "a", "", "false")
    client("snapshot.create", machine, "b", "", "false")
    lab.write(machine, 0, [{"offset": 65536, "length": 65536, "seed": 6}])
    after = lab.hash(machine, 0)

    client("snapshot.remove", machine, "a/b")
    assert lab.hash(machine, 0) == after
    client("snapshot.revert", machine, "a")
    assert lab.hash(machine, 0) == before
    client("snapshot.remove", machine, first["Value"])
    assert client("snapshot.tree", machine)["tree"] is None
    client("snapshot.create", machine, "c", "", "false")
    client("snapshot.remove", machine, "*")
    assert client("snapshot.tree", machine)["tree"] is None
    assert lab.hash(machine, 0) == before
    assert [disk["device"]["Backing"]["FileName"] for disk in disks(client, machine)] == [
        f"[datastore2] {machine}/{machine}.vmdk"
    ]
    assert "no snapshots" in str(peer_error("snapshot.remove", machine, "a"))


def test_a_destroyed_vm_leaves_nothing_and_an_unregistered_one_can_come_back(client, peer_error, machine):
    client("vm.unregister", machine)
    assert "not found" in str(peer_error("vm.info", machine))
    client("vm.register", machine, f"[datastore2] {machine}/{machine}.vmx")
    assert [disk["capacity"] for disk in disks(client, machine)] == [16 << 20]

    client("vm.destroy", machine)
    assert peer_error("datastore.ls", "datastore2", machine, "*").fault == "FileNotFound"
    assert peer_error("vm.register", machine, f"[datastore2] {machine}/{machine}.vmx").fault == "NotFound"


def test_tasks_are_reported_with_their_ends(client, machine):
    client("vm.power", machine, "on")

    ended = [task for task in client("tasks") if task["entity"] == machine]

    assert {"what": "VirtualMachine.powerOn", "entity": machine, "state": "success"} in ended


def test_events_tell_what_was_done(client, machine):
    client("vm.power", machine, "on")

    assert set(client("events")) == {"TaskEvent"}


def test_datastores_are_told_searched_and_files_go_up_and_down(client, peer_error, tmp_path):
    info = client("datastore.info", "datastore1")
    assert (info["info"], info["datastore"]["Summary"]["Type"]) == ("VmfsDatastoreInfo", "VMFS")
    assert len(info["hosts"]) == 2
    found = client("datastore.ls", "datastore1", "", "*.vmdk", "recursive")
    assert {"app01.vmdk", "app01_1.vmdk"} <= {file["path"] for file in found["[datastore1] app01/"]}
    kinds = {
        file["path"]: file["type"] for file in client("datastore.ls", "datastore1", "app01", "*")["[datastore1] app01/"]
    }
    assert (kinds["app01.vmdk"], kinds["app01.vmx"]) == ("VmDiskFileInfo", "VmConfigFileInfo")

    (tmp_path / "up").write_bytes(bytes(range(256)) * 8192)
    name = "isos/Ü 100%20.iso"
    assert "404" in str(peer_error("datastore.upload", "datastore1", str(tmp_path / "up"), name))
    client("datastore.mkdir", "datastore1", "isos")
    assert client("datastore.upload", "datastore1", str(tmp_path / "up"), name) == 2 << 20
    assert client("datastore.download", "datastore1", name, str(tmp_path / "down")) == 2 << 20
    assert (tmp_path / "down").read_bytes() == (tmp_path / "up").read_bytes()
    assert peer_error("datastore.mkdir", "datastore1", "isos").fault == "FileAlreadyExists"
    client("datastore.rm", "datastore1", "isos")
    assert "404" in str(peer_error("datastore.download", "datastore1", name, str(tmp_path / "again")))


def test_a_user_who_may_only_look_is_refused_the_rest(client, peer_error, tmp_path):
    assert "/Lab/vm/old01" in paths(client("ls", "vm", user=READ_ONLY))
    assert peer_error("vm.power", "old01", "on", user=READ_ONLY).fault == "NoPermission"
    assert peer_error("vm.create", "refused", "datastore1", "8", user=READ_ONLY).fault == "NoPermission"
    (tmp_path / "up").write_bytes(b"x")
    assert "403" in str(peer_error("datastore.upload", "datastore1", str(tmp_path / "up"), "x", user=READ_ONLY))


def test_roles_can_be_listed(client):
    assert {"Admin", "ReadOnly"} <= {role["Name"] for role in client("roles")}

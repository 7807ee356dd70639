"""govmomi's client finds every manager it looks for, reads what reads, and is refused by a fault, not by a nil."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow


def test_a_cluster_tells_drs_and_ha_by_the_type_that_govc_expects(client):
    assert client("cluster.info", "Cluster1") == {"drs": True, "das": False, "dpm": False, "rules": 0}


def test_a_host_tells_its_configuration_whole(client):
    host = client("host.info", "esx01.localhost")

    assert host["summary"]["Config"]["Product"]["Version"] == "8.0.3"
    assert host["hardware"]["CpuInfo"]["NumCpuCores"] == 8
    assert host["capability"]["VmotionSupported"]
    parts = ("StorageDevice", "FileSystemVolume", "Network", "Service", "Firewall", "AutoStart", "DateTimeInfo")
    assert all(host["config"][name] for name in parts)


def test_a_host_s_own_managers_answer(client):
    told = client("host.parts", "esx02.localhost")

    assert {service["Key"] for service in told["services"]} == {"TSM-SSH", "ntpd"}
    assert told["firewall"]["Ruleset"][0]["Key"] == "NFC"
    assert told["adapters"]["NetConfig"][0]["SelectedVnic"] == ["key-vim.host.VirtualNic-vmk0"]
    assert told["options"] == [{"Key": "UserVars.SuppressShellWarning", "Value": 0}]
    assert {group["Spec"]["Name"] for group in told["network"]["Portgroup"]} >= {"VM Network", "Management Network"}
    assert len(told["storage"]["devices"]["ScsiLun"]) == 3
    assert {mount["Volume"]["Name"] for mount in told["storage"]["volumes"]["MountInfo"]} >= {"datastore1"}
    assert (told["clock"][:4].isdigit(), told["authorities"]) == (True, None)


@pytest.mark.parametrize("what", [
    "export", "descriptor", "upgrade", "clone", "instantclone", "customize", "tools", "ticket", "logs", "extension",
    "licence", "storage",
])  # fmt: skip
def test_what_is_not_done_is_refused_as_not_supported(peer_error, what):
    assert peer_error("refused", what, "app01").fault == "NotSupported"


@pytest.mark.parametrize("operation", ["guest.auth", "guest.ls", "guest.ps"])
def test_an_operation_in_the_guest_is_refused_for_the_guest_s_own_reason(peer_error, operation):
    assert peer_error("refused", operation, "app01").fault == "InvalidGuestLogin"
    assert peer_error("refused", operation, "old01").fault == "InvalidPowerState"


def test_a_guest_without_tools_cannot_be_asked(client, peer_error):
    client("vm.power", "Test/twin", "on")
    try:
        assert peer_error("refused", "guest.ls", "Test/twin").fault == "GuestOperationsUnavailable"
    finally:
        client("vm.power", "Test/twin", "off")


def test_licences_and_to_whom_they_are_given(client):
    told = client("licences")

    assert [one["EditionKey"] for one in told["licences"]] == ["eval"]
    assert told["assigned"][0]["AssignedLicense"]["LicenseKey"] == told["licences"][0]["LicenseKey"]


def test_extensions_and_one_of_them(client):
    told = client("extensions", "com.vmware.vim.sms")

    assert told["one"]["Key"] == "com.vmware.vim.sms"
    assert told["one"]["Key"] in [one["Key"] for one in told["extensions"]]
    assert client("extensions", "com.example.none")["one"] is None


def test_events_are_read_page_by_page_and_by_the_latest_page(client):
    for state in ("off", "on", "off", "on"):
        client("vm.power", "web01", state)
    told = client("event.pages")

    assert told["keys"] == sorted(set(told["keys"]))
    assert told["pages"] == (len(told["keys"]) + 1) // 2
    assert told["latest"] == min(10, len(told["keys"]))


def test_lists_of_what_nobody_made_are_empty(client):
    assert client("empties", "datastore1", "app01") == {
        "disks": 0, "counters": 0, "logs": 0, "alarms": 0, "refresh": 20,
    }  # fmt: skip


def test_settings_are_told_by_prefix(client, peer_error):
    assert client("options", "VirtualCenter.") == {
        "VirtualCenter.FQDN": "localhost", "VirtualCenter.InstanceName": "localhost",
    }  # fmt: skip
    assert peer_error("options", "nonsense").fault == "InvalidName"


@pytest.mark.parametrize(("kind", "value"), [
    ("ip", "192.168.10.11"), ("dns", "app01.lab.example"), ("file", "[datastore1] app01/app01.vmx"),
    ("path", "Lab/vm/Production/app01"),
])  # fmt: skip
def test_a_vm_is_found_by_what_is_known_of_it(client, kind, value):
    assert client("search", kind, value) == client("search", "path", "Lab/vm/Production/app01") == "vm-1001"
    assert client("search", kind, value + "0") is None


def test_a_vapp_is_listed_and_its_vm_found_through_it(client, peer_error):
    assert "not found" in str(peer_error("vapps", "*"))
    client("vm.create", "in-vapp", "datastore2", "8")

    assert client("vapp.create", "shop", "in-vapp").endswith("/shop/in-vapp")
    assert client("vapps", "*") == ["shop"]
    (vm,) = client("find", "VirtualMachine", "name", "in-vapp")
    assert client("collect", vm["ref"], "parent", "parentVApp")["parentVApp"]["value"]["Type"] == "VirtualApp"

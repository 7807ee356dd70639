"""The lab's small parts: HTTP bodies, paths, .vmx files, values, fault plans, certificates."""

import io
import ssl
import threading
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyVmomi import vim, vmodl

from tests.patience import HANG
from vmlab.api import VERSION_IDS, dump, fill, load, version_of
from vmlab.managed import ds_paths
from vmlab.managed.machine import Device, default_devices, plan_changes
from vmlab.managed.properties.reading import split
from vmlab.managed.site import FaultPlan, Injection
from vmlab.managed.vms import parse_vmx, read_uuid
from vmlab.managed.world import Database, World
from vmlab.soap import load_or_make
from vmlab.soap.http import BadRequestError, Body, read_request


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=6), st.integers(1, 30))
def test_a_chunked_body_reads_the_same_in_any_piece(chunks, piece):
    wire = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nTrailer: x\r\n\r\nNEXT"
    source = io.BytesIO(wire)
    body = Body(source, {"transfer-encoding": "chunked"}, lambda _: None)
    read = b""
    while part := body.read(piece):
        read += part
    assert read == b"".join(chunks)
    assert body.finished
    assert source.read() == b"NEXT"


def test_a_body_that_ends_early_is_an_error():
    body = Body(io.BytesIO(b"abc"), {"content-length": "5"}, lambda _: None)
    with pytest.raises(BadRequestError):
        body.read()


def test_a_client_that_waits_to_continue_is_told_to():
    sent = []
    body = Body(io.BytesIO(b"abc"), {"content-length": "3", "expect": "100-continue"}, sent.append)
    assert sent == []
    assert body.read() == b"abc"
    assert sent == [b"HTTP/1.1 100 Continue\r\n\r\n"]


@pytest.mark.parametrize("wire", [b"\x16\x03\x01\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"])
def test_what_is_no_http_is_refused(wire):
    with pytest.raises(BadRequestError):
        read_request(io.BytesIO(wire), "c", lambda _: None)


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("name", (("name", ""),)),
        ("a.b.c", (("a", ""), ("b", ""), ("c", ""))),
        ("config.hardware.device[2000].key", (("config", ""), ("hardware", ""), ("device", "2000"), ("key", ""))),
        ('extraConfig["a.b"].value', (("extraConfig", "a.b"), ("value", ""))),
    ],
)
def test_property_paths_are_split(path, parts):
    assert split(path) == parts


@pytest.mark.parametrize("path", ["", "a/b", "[ds", "[ds] ../x", "[ds] a/../../b", "[] a", "[ds] a\0b"])
def test_a_datastore_path_that_is_none_is_refused(path):
    with pytest.raises(vim.fault.InvalidDatastorePath):
        ds_paths.parse(path)


def test_a_link_out_of_the_datastore_leads_nowhere(tmp_path, monkeypatch):
    root = tmp_path / "datastores" / "ds"
    root.mkdir(parents=True)
    (root / "out").symlink_to(tmp_path)
    monkeypatch.setattr(ds_paths, "datastore_named", lambda *_: None)
    site = SimpleNamespace(folder=tmp_path)
    assert ds_paths.local(site, "[ds] in/file") == root / "in" / "file"
    with pytest.raises(vim.fault.InvalidDatastorePath):
        ds_paths.local(site, "[ds] out/secret")


def test_uuids_survive_their_vmx_spelling():
    assert read_uuid("b0 d7 be f2 9b e1 42 95-ad fc e3 75 a1 4c 56 84") == "b0d7bef2-9be1-4295-adfc-e375a14c5684"
    assert parse_vmx('a = "1"\n# c = "2"\nrubbish\n b.c = "x = y"') == {"a": "1", "b.c": "x = y"}


def test_the_newest_version_answers_who_names_none_we_know():
    assert VERSION_IDS[0] == "8.0.3.0"
    assert version_of('"urn:vim25/6.7.3"').endswith("version.v6_7_3") or version_of('"urn:vim25/6.7.3"')
    assert version_of("") == version_of('"urn:vim25/99.0"')


REFERENCES = {
    vim.TaskInfo: {"task": vim.Task("task-1")},
    vim.host.ConfigInfo: {"host": vim.HostSystem("host-1")},
    vim.vm.ConfigInfo: {},
    vim.vm.Summary: {},
    vim.vm.ConfigOption: {},
    vim.host.HardwareInfo: {},
    vim.Datastore.Summary: {},
    vim.cluster.ConfigInfoEx: {},
}


@pytest.mark.parametrize("kind", REFERENCES)
def test_a_filled_object_can_be_sent_and_read_back(kind):
    assert type(load(dump(fill(kind(**REFERENCES[kind]))))) is kind


def test_values_survive_the_database(tmp_path):
    database = Database(tmp_path / "state.db")
    world = World(database)
    device = Device.VirtualDisk(
        key=2000, capacityInKB=8, backing=Device.VirtualDisk.FlatVer2BackingInfo(fileName="x", diskMode="persistent")
    )
    config = fill(vim.vm.ConfigInfo(name="☃ <&>", hardware=vim.vm.VirtualHardware(device=[device])))
    folder = world.add(
        vim.Folder("group-1"), name="f", childEntity=[vim.VirtualMachine("vm-1")], childType=[vim.Folder]
    )
    world.add(vim.VirtualMachine("vm-1"), name="☃ <&>", config=config, parent=folder)
    world.add(vim.Task("task-1"), lasting=False)
    database.close()
    again = World(Database(tmp_path / "state.db"))
    found = again.get(vim.VirtualMachine("vm-1"), "config")
    assert (found.name, found.hardware.device[0].backing.fileName) == ("☃ <&>", "x")
    assert again.get(folder, "childEntity") == [vim.VirtualMachine("vm-1")]
    assert again.get(folder, "childType") == [vim.Folder]
    assert not again.exists(vim.Task("task-1"))
    again._database.close()


def test_a_failed_transaction_is_not_half_written(tmp_path):
    database = Database(tmp_path / "state.db")
    world = World(database)
    numbers = [world.next_number() for _ in range(3)]
    assert numbers == [1001, 1002, 1003]
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        world.update(vim.Folder("group-9"), name="x")
    database.close()


def test_injections_are_used_up_by_their_count():
    plan = FaultPlan()
    plan.add(Injection(method="A", fault="InvalidState", count=2))
    assert plan.take("B") is None
    assert plan.take("A").make_fault().msg == "InvalidState injected into A"
    assert plan.take("A") is not None
    assert plan.take("A") is None
    assert plan.calls == {"A": 3, "B": 1}


def test_clearing_the_plan_ends_a_wait_that_has_begun():
    plan = FaultPlan()
    plan.add(Injection(method="A", delay=HANG))
    taken = plan.take("A")
    begun = threading.Event()

    def work():
        begun.set()
        plan.wait(taken)

    waiting = threading.Thread(target=work, daemon=True)
    waiting.start()
    begun.wait()
    while waiting.is_alive():  # "begun" comes right before the wait, so that the first "clear" may come too early
        plan.clear()
        waiting.join(0.01)


def test_planning_devices_never_touches_the_current_ones():
    current = default_devices()
    keys = [device.key for device in current]
    scsi = Device.ParaVirtualSCSIController(key=-1, busNumber=0, sharedBus="noSharing")
    plan = plan_changes(current, [Device.VirtualDeviceSpec(operation="add", device=scsi)], has_snapshots=False)
    assert [device.key for device in current] == keys
    assert plan.devices[-1].key == 1000
    assert scsi.key == -1


def test_the_certificate_is_made_once_and_fits_its_names(tmp_path):
    first, second = load_or_make(tmp_path), load_or_make(tmp_path)
    assert first == second
    assert len(first.sha1.split(":")) == 20
    assert len(first.sha256.split(":")) == 32
    assert first.key.stat().st_mode & 0o777 == 0o600
    context = ssl.create_default_context(cafile=str(first.certificate))
    assert context.cert_store_stats()["x509_ca"] == 1

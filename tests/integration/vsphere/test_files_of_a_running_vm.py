"""The .vmx and the NVRAM of a running VM: from its own host, by a ticket, and from no machine that is another."""

from __future__ import annotations

import pytest

from tests.integration.vsphere.conftest import Impostor, Trickler
from tests.patience import HANG
from vmkeep.errors import NotFoundError, PermissionDeniedError, VmKeepError, VSphereError
from vmkeep.vsphere import hostfiles, inventory, vmfiles
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.paths import DatastorePath
from vmkeep.vsphere.session import open_session
from vmkeep.vsphere.tasks import run_task
from vmlab.control import additions
from vmlab.managed.site import HostEnd, Injection
from vmlab.managed.world import inventory_name


@pytest.fixture
def vm(session):
    return inventory.find_vm(session, "web01").moref


@pytest.fixture
def host_id(session, vm):
    return session.vm(vm).runtime.host._moId


@pytest.fixture
def in_its_place(lab, host_id):
    """Let the vCenter take another server for the VM's host; ``known``: by that server's own certificate."""
    before = dict(lab.site.host_ends)

    def put(server, *, known):
        certificate = server.certificate if known else before[host_id].certificate
        lab.site.host_ends[host_id] = HostEnd(port=server.port, certificate=certificate)

    yield put
    lab.site.host_ends.update(before)


class Answering(Impostor):
    """A host that gives one answer to everything."""

    answer = b""

    def talk(self, tls):
        self.heard += tls.recv(65536)
        tls.sendall(self.answer)


def test_they_come_from_its_own_host_with_one_ticket_each(session, vm, lab):
    assert b'displayName = "web01"' in vmfiles.fetch_vmx(session, vm)
    assert vmfiles.fetch_nvram(session, vm).startswith(b"MRVN")

    calls = lab.site.faults.calls
    assert (calls["AcquireGenericServiceTicket"], calls["host.GET"], calls["folder.GET"]) == (2, 2, 0)


def test_those_of_a_vm_that_is_off_come_from_vcenter(session, lab):
    off = inventory.find_vm(session, "old01").moref

    assert b'displayName = "old01"' in vmfiles.fetch_vmx(session, off)

    calls = lab.site.faults.calls
    assert (calls["AcquireGenericServiceTicket"], calls["folder.GET"]) == (0, 1)


@pytest.mark.parametrize("plan", [{"status": 500}, {"status": 403}, {"status": 302}, {"drop": True}])
def test_where_the_host_refuses_vcenter_is_asked_and_both_are_named(session, vm, lab, plan):
    lab.site.faults.add(Injection(method="host.GET", **plan))

    with pytest.raises(VSphereError, match=r"own host does not give it \(.*nor does vCenter \(.*HTTP 500"):
        vmfiles.fetch_vmx(session, vm)


@pytest.mark.parametrize("fault", ["NotSupported", "NoPermission", "SystemError"])
def test_a_ticket_that_vcenter_does_not_give_is_named(session, vm, lab, fault):
    lab.site.faults.add(Injection(method="AcquireGenericServiceTicket", fault=fault))

    with pytest.raises(VSphereError, match="ask for a ticket"):
        vmfiles.fetch_nvram(session, vm)


def test_vcenter_gives_them_where_the_ticket_fails_and_nothing_locks_them(session, vm, lab, monkeypatch):
    monkeypatch.setattr("vmlab.endpoints.folder_files.lock_holder", lambda _site, _path: None)
    lab.site.faults.add(Injection(method="host.GET", status=500))

    assert b"displayName" in vmfiles.fetch_vmx(session, vm)


def test_a_host_with_another_certificate_hears_nothing(session, vm, impostor, in_its_place):
    in_its_place(impostor, known=False)

    with pytest.raises(VSphereError, match="the certificate is not the pinned one; nothing was sent to it"):
        vmfiles.fetch_vmx(session, vm)

    assert impostor.heard_in(1) == b""


def test_a_host_hears_of_no_session(session, vm, in_its_place, tmp_path):
    server = Answering(tmp_path)
    server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfile"
    in_its_place(server, known=True)

    assert vmfiles.fetch_vmx(session, vm) == b"file"

    server.close()
    assert b"vmware_cgi_ticket=" in server.heard
    assert b"dcPath" not in server.heard
    assert session._stub.cookie.encode() not in server.heard


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n" + b"x" * 300, "cut off 100 bytes"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf", "connection failed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "the file is empty"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n" + b"x" * 65, "longer than 64 bytes"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "HTTP 204"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "connection failed"),
        (b"", "connection failed"),
    ],
)
def test_an_answer_that_is_not_the_file_is_refused(session, vm, in_its_place, tmp_path, monkeypatch, answer, words):
    monkeypatch.setattr(hostfiles, "LIMIT", 64 if "longer" in words else 1 << 20)
    server = Answering(tmp_path)
    server.answer = answer
    in_its_place(server, known=True)

    with pytest.raises(VSphereError, match=words):
        vmfiles.fetch_vmx(session, vm)

    server.close()


def test_a_host_that_trickles_is_left_in_time(session, vm, in_its_place, tmp_path, monkeypatch):
    monkeypatch.setattr(hostfiles, "EXCHANGE_SECONDS", 0.5)
    server = Trickler(tmp_path)
    in_its_place(server, known=True)

    with pytest.raises(VSphereError, match=r"no answer in time|TLS handshake within"):  # by the machine's load
        vmfiles.fetch_vmx(session, vm)

    server.close()


def test_a_host_that_cannot_be_reached_is_named(session, vm, in_its_place, tmp_path):
    server = Answering(tmp_path)
    server.close()
    in_its_place(server, known=True)

    with pytest.raises(VSphereError, match=f"127.0.0.1:{server.port} cannot be reached"):
        vmfiles.fetch_vmx(session, vm)


def test_a_host_of_which_vcenter_tells_no_thumbprint_hears_nothing(session, vm, lab, host_id, in_its_place, impostor):
    in_its_place(impostor, known=True)
    del lab.site.host_ends[host_id]

    with pytest.raises(VSphereError, match="tells no thumbprint"):
        vmfiles.fetch_vmx(session, vm)

    assert impostor.contacts == 0


def test_a_file_that_its_host_does_not_have_is_not_found(session, vm, lab):
    path = lab.site.store.path(str(vmfiles._where(session, vm)[1]))
    kept = path.read_bytes()
    path.unlink()

    with pytest.raises(NotFoundError, match=r"web01\.nvram"):
        vmfiles.fetch_nvram(session, vm)

    path.write_bytes(kept)


def test_a_user_without_the_right_is_told_so_by_vcenter(lab, reach, vm):
    with open_session(reach(lab, lab.port, user="readonly@vsphere.local")) as limited:
        with pytest.raises(VmKeepError, match=r"HTTP 403.*Datastore\.FileManagement"):
            vmfiles.fetch_vmx(limited, vm)
        with pytest.raises(PermissionDeniedError, match=r"Datastore\.FileManagement"):
            vmfiles.fetch_vmx(limited, inventory.find_vm(limited, "old01").moref)


@pytest.mark.parametrize("name", ["a+b & c", "100% #1", "x=y?z;", "[NAS (1)] ü"])
def test_names_that_mean_something_in_a_url_are_found_through_vcenter(session, lab, name):
    additions.add(lab.site, {"kind": "datastore", "name": name})
    name = inventory_name(name)
    folder = lab.site.folder / "datastores" / name / "iso+1"
    folder.mkdir(parents=True)
    (folder / "a b.iso").write_bytes(b"x")

    assert vmfiles.exists(session, DatastorePath(name, "iso+1/a b.iso"), "Lab")
    assert not vmfiles.exists(session, DatastorePath(name, "iso 1/a b.iso"), "Lab")


def test_a_datacenter_of_any_name_is_found_through_vcenter(session):
    off = inventory.find_vm(session, "old01").moref
    center = session.managed(vim.Datacenter, "datacenter-2")

    def rename(name):
        run_task(session, lambda: center.Rename_Task(name), what="rename", timeout=HANG, look=lambda: None)

    rename("R+D & Co")
    try:
        assert b"displayName" in vmfiles.fetch_vmx(session, off)
    finally:
        rename("Lab")


def test_a_host_is_tried_at_few_addresses_its_management_address_first(session, vm):
    host = hostfiles.own_host(session, vm)

    assert host.addresses == ("127.0.0.1", host.name)
    assert host.thumbprint

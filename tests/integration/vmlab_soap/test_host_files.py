"""`/folder` and `/downloads` of a host: a ticket opens one file once; a vCenter cannot read what a running VM holds."""

import base64
import http.client
import io
import ssl
import tarfile
from urllib.parse import quote, urlsplit

import pytest
from pyVmomi import vim, vmodl

from tests.patience import HANG

FILE = "/folder/web01/web01.vmx?dsName=datastore1"


@pytest.fixture
def host(vm_at):
    """The host that web01 runs on."""
    return vm_at("Production/web01").runtime.host


@pytest.fixture
def ask(host):
    """Send one request to a host and return status and body."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def request(method, target, headers, at=host):
        port = at.summary.config.port
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=HANG)
        try:
            connection.request(method, target, headers=headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    return request


@pytest.fixture
def ticket(content, host):
    """Have a ticket made, as a cookie."""

    def make(target=FILE, method="httpGet", at=host, manager=None):
        url = f"https://127.0.0.1:{at.summary.config.port}{target}"
        spec = vim.SessionManager.HttpServiceRequestSpec(method=method, url=url)
        made = (manager or content.sessionManager).AcquireGenericServiceTicket(spec)
        assert made.sslThumbprint == at.summary.config.sslThumbprint
        return {"Cookie": f"vmware_cgi_ticket={made.id}"}

    return make


def test_a_ticket_opens_one_file_once(ask, ticket):
    cookie = ticket()

    status, body = ask("GET", FILE, cookie)
    assert (status, b'displayName = "web01"' in body) == (200, True)
    assert ask("GET", FILE, cookie)[0] == 401


@pytest.mark.parametrize(
    ("method", "target"),
    [("HEAD", FILE), ("GET", FILE.replace(".vmx", ".nvram")), ("GET", FILE + "&dcPath=Lab")],
)
def test_a_ticket_is_for_one_method_and_one_url_and_used_up_by_any_other(ask, ticket, method, target):
    cookie = ticket()

    assert ask(method, target, cookie)[0] == 401
    assert ask("GET", FILE, cookie)[0] == 401


def test_a_host_takes_neither_session_nor_password_nor_a_made_up_ticket(ask, content, lab):
    login = base64.b64encode(f"{lab.user}:{lab.password}".encode()).decode()
    for headers in (
        {},
        {"Cookie": content.rootFolder._stub.cookie},
        {"Authorization": f"Basic {login}"},
        {"Cookie": "vmware_cgi_ticket=cst-VCT-0"},
    ):
        assert ask("GET", FILE, headers)[0] == 401


def test_a_host_knows_no_datacenter_of_the_vcenter(ask, ticket):
    for center, status in (("Lab", 404), ("ha-datacenter", 200)):
        target = f"{FILE}&dcPath={center}"
        assert ask("GET", target, ticket(target))[0] == status


def test_only_the_host_that_runs_a_vm_reads_its_files(ask, ticket, content, host):
    cluster = content.searchIndex.FindByInventoryPath("Lab/host/Cluster1")
    other = next(found for found in cluster.host if found != host)

    assert ask("GET", FILE, ticket(at=other), at=other)[0] == 500
    assert ask("GET", FILE, ticket())[0] == 200


def test_a_ticket_gives_its_user_no_right_that_he_has_not(ask, ticket, connect):
    manager = connect("readonly@vsphere.local").RetrieveContent().sessionManager

    assert ask("GET", FILE, ticket(manager=manager))[0] == 403


def test_a_ticket_is_for_a_url_of_a_host(content):
    manager = content.sessionManager
    with pytest.raises(vmodl.fault.InvalidArgument):
        manager.AcquireGenericServiceTicket(vim.SessionManager.HttpServiceRequestSpec(url="/folder/x"))
    with pytest.raises(vmodl.fault.NotSupported):
        manager.AcquireGenericServiceTicket(vim.SessionManager.ServiceRequestSpec())


@pytest.mark.parametrize("name", ["web01.vmx", "web01.nvram", "web01.vmdk"])
def test_a_vcenter_cannot_read_what_a_running_vm_holds(lab, content, name):
    context = ssl.create_default_context(cafile=lab.info["certificate"])
    connection = http.client.HTTPSConnection(lab.host, lab.port, context=context, timeout=HANG)
    target = f"/folder/web01/{quote(name)}?dcPath=Lab&dsName=datastore1"
    connection.request("GET", target, headers={"Cookie": content.rootFolder._stub.cookie})
    response = connection.getresponse()
    response.read()
    connection.close()

    assert response.status == 500


def path_of(host):
    """The path of a bundle that a host has just made."""
    url = urlsplit(host.configManager.firmwareSystem.BackupFirmwareConfiguration())
    assert (url.scheme, url.netloc) == ("http", "*")
    return url.path


def test_a_bundle_is_a_real_archive_that_names_its_host_and_release(host, ask, ticket):
    path = path_of(host)
    status, body = ask("GET", path, ticket(path))

    assert status == 200
    with tarfile.open(fileobj=io.BytesIO(body), mode="r:gz") as archive:
        assert archive.getnames() == ["Manifest.txt", "state.tgz"]
        manifest = archive.extractfile("Manifest.txt").read().decode()
        state = archive.extractfile("state.tgz").read()
    assert f"UUID={host.summary.hardware.uuid.upper()}" in manifest
    assert host.summary.config.product.version in manifest
    with tarfile.open(fileobj=io.BytesIO(state), mode="r:gz") as archive:
        assert archive.getnames() == ["local.tgz"]


def test_only_a_ticket_opens_a_bundle_and_only_the_newest_one_is_there(host, ask, ticket, content):
    old, path = path_of(host), path_of(host)
    other = next(one for one in content.searchIndex.FindByInventoryPath("Lab/host/Cluster1").host if one != host)

    assert ask("GET", path, {"Cookie": content.rootFolder._stub.cookie})[0] == 401
    assert ask("GET", old, ticket(old))[0] == 404
    assert ask("GET", path, ticket(path, at=other), at=other)[0] == 404


def test_a_bundle_needs_the_right_on_the_very_host(connect, host):
    found = vim.HostSystem(host._moId, connect("readonly@vsphere.local")._stub)
    with pytest.raises(vim.fault.NoPermission) as denied:
        found.configManager.firmwareSystem.BackupFirmwareConfiguration()

    assert (denied.value.privilegeId, denied.value.object._moId) == ("Host.Config.Firmware", host._moId)


def test_a_disconnected_host_makes_no_bundle(host, run):
    run(host.DisconnectHost_Task())
    try:
        with pytest.raises(vmodl.fault.HostNotConnected):
            host.configManager.firmwareSystem.BackupFirmwareConfiguration()
    finally:
        run(host.ReconnectHost_Task())


def test_a_host_in_lockdown_makes_a_bundle_and_does_not_give_it(host, ask, ticket):
    access = host.configManager.hostAccessManager
    access.ChangeLockdownMode("lockdownNormal")
    try:
        path = path_of(host)
        assert host.config.lockdownMode == access.lockdownMode == "lockdownNormal"
        assert ask("GET", path, ticket(path))[0] == 403
    finally:
        access.ChangeLockdownMode("lockdownDisabled")
    assert ask("GET", path, ticket(path))[0] == 200

"""Guest operations of the lab: who may ask, what programs do, how files pass through the host."""

import http.client
import ssl
from urllib.parse import urlsplit

import pytest
from pyVmomi import vim

from tests.patience import HANG

VM = "web01"
Auth, Spec = vim.vm.guest.NamePasswordAuthentication, vim.vm.guest.ProcessManager.ProgramSpec
USERS = {"root": True, "backup": False}


@pytest.fixture(scope="module")
def guest(lab):
    for name, administrator in USERS.items():
        lab.post("guest/user", {"vm": VM, "user": name, "password": f"pw-{name}", "administrator": administrator})
    lab.post("guest/program", {"vm": VM, "match": "/opt/hangs", "seconds": None})
    lab.post("guest/program", {"vm": VM, "match": "/opt/prints", "exit": 2, "output": "some words"})
    return lab


@pytest.fixture
def vm(vm_at, guest):
    return vm_at(f"Production/{VM}")


@pytest.fixture
def operations(content):
    return content.guestOperationsManager


def login(name, password=None, *, interactive=False):
    return Auth(username=name, password=password or f"pw-{name}", interactiveSession=interactive)


def start(operations, vm, program, arguments="", user="backup"):
    spec = Spec(programPath=program, arguments=arguments)
    return operations.processManager.StartProgramInGuest(vm, login(user), spec)


def told(operations, vm, pid):
    [found] = operations.processManager.ListProcessesInGuest(vm, login("root"), [pid])
    return found


def fetch(url, method="GET", body=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    at = urlsplit(url)
    connection = http.client.HTTPSConnection(at.hostname, at.port, context=context, timeout=HANG)
    try:
        connection.request(method, f"{at.path}?{at.query}", body=body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_a_program_ends_with_its_exit_code_and_its_output_is_where_the_shell_put_it(operations, vm):
    pid = start(operations, vm, "/bin/sh", "-c '/opt/prints a b' > \"/tmp/out 1\" 2>&1")

    process = told(operations, vm, pid)
    assert (process.exitCode, process.owner, process.name) == (2, "backup", "sh")
    assert process.endTime >= process.startTime
    moved = operations.fileManager.InitiateFileTransferFromGuest(vm, login("backup"), "/tmp/out 1")
    assert moved.size == len("some words")
    assert fetch(moved.url) == (200, b"some words")
    assert fetch(moved.url)[0] == 404  # once


def test_a_command_that_a_shell_does_not_know_ends_with_127_and_an_unknown_program_does_not_start(operations, vm):
    assert told(operations, vm, start(operations, vm, "/bin/sh", "-c /opt/nothing")).exitCode == 127
    with pytest.raises(vim.fault.FileNotFound):
        start(operations, vm, "/opt/nothing")
    with pytest.raises(vim.fault.FileNotFound):
        start(operations, vm, r"C:\Windows\System32\cmd.exe")


def test_a_program_that_hangs_runs_until_it_is_terminated_by_its_owner_or_an_administrator(operations, vm, guest):
    mine, other = (start(operations, vm, "/opt/hangs", user=name) for name in ("backup", "root"))
    assert told(operations, vm, mine).endTime is None

    with pytest.raises(vim.fault.GuestPermissionDenied):
        operations.processManager.TerminateProcessInGuest(vm, login("backup"), other)
    operations.processManager.TerminateProcessInGuest(vm, login("root"), mine)
    operations.processManager.TerminateProcessInGuest(vm, login("root"), other)

    assert {told(operations, vm, pid).exitCode for pid in (mine, other)} == {143}
    for pid in (mine, 1):
        with pytest.raises(vim.fault.GuestProcessNotFound):
            operations.processManager.TerminateProcessInGuest(vm, login("root"), pid)
    assert "terminate" in [event["what"] for event in guest.guest_events(VM)]


@pytest.mark.parametrize(("auth", "fault"), [
    (login("root", "x"), vim.fault.InvalidGuestLogin),
    (login("nobody"), vim.fault.InvalidGuestLogin),
    (login("root", interactive=True), vim.fault.OperationNotSupportedByGuest),
    (vim.vm.guest.SAMLTokenAuthentication(token="t", interactiveSession=False), vim.fault.InvalidGuestLogin),
])  # fmt: skip
def test_a_guest_takes_no_other_login(operations, vm, auth, fault):
    with pytest.raises(fault):
        operations.authManager.ValidateCredentialsInGuest(vm, auth)


def test_a_guest_that_is_off_or_without_tools_is_not_asked_for_a_password(operations, vm_at, run):
    with pytest.raises(vim.fault.InvalidPowerState):
        operations.authManager.ValidateCredentialsInGuest(vm_at("old01"), login("nobody"))
    twin = vm_at("Test/twin")
    run(twin.PowerOnVM_Task())
    with pytest.raises(vim.fault.GuestOperationsUnavailable):
        operations.authManager.ValidateCredentialsInGuest(twin, login("nobody"))
    run(twin.PowerOffVM_Task())


def test_temporary_files_belong_to_their_user_and_uploads_have_the_size_that_was_announced(operations, vm):
    files = operations.fileManager
    path = files.CreateTemporaryFileInGuest(vm, login("root"), "vmkeep-", ".txt", None)

    with pytest.raises(vim.fault.GuestPermissionDenied):
        files.InitiateFileTransferFromGuest(vm, login("backup"), path)
    with pytest.raises(vim.fault.FileAlreadyExists):
        files.InitiateFileTransferToGuest(vm, login("root"), path, vim.vm.guest.FileManager.FileAttributes(), 3, False)
    url = files.InitiateFileTransferToGuest(vm, login("root"), path, vim.vm.guest.FileManager.FileAttributes(), 3, True)
    assert fetch(url, "PUT", b"four")[0] == 400
    url = files.InitiateFileTransferToGuest(vm, login("root"), path, vim.vm.guest.FileManager.FileAttributes(), 3, True)
    assert fetch(url, "PUT", b"abc")[0] == 200
    assert fetch(files.InitiateFileTransferFromGuest(vm, login("root"), path).url) == (200, b"abc")
    assert files.ListFilesInGuest(vm, login("root"), path, None, None, None).files[0].size == 3

    files.DeleteFileInGuest(vm, login("root"), path)

    with pytest.raises(vim.fault.FileNotFound):
        files.DeleteFileInGuest(vm, login("root"), path)
    with pytest.raises(vim.fault.FileNotFound):
        files.CreateTemporaryFileInGuest(vm, login("root"), "a", "b", "/nowhere")


def test_the_order_of_programs_and_snapshots_is_told_and_a_boot_ends_all_programs(operations, vm, run, guest):
    pid = start(operations, vm, "/opt/hangs")
    run(vm.CreateSnapshot_Task("s", "", False, True))
    start(operations, vm, "/opt/prints")
    run(vm.RemoveAllSnapshots_Task())
    events = guest.guest_events(VM)[-4:]
    assert [event["what"] for event in events] == ["start", "snapshot", "start", "end"]

    run(vm.ResetVM_Task())

    assert not operations.processManager.ListProcessesInGuest(vm, login("root"), [pid])

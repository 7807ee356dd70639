"""Starts, lists and terminates programs in a guest, and tells whether a guest takes a user's password."""

from typing import Any

from vmlab.api import fill, vim
from vmlab.managed.site import Call, Process, method
from vmlab.managed.vms.guest_operations import denied, entered, is_windows

Auth, Programs = vim.vm.guest.AuthManager, vim.vm.guest.ProcessManager


@method(Auth, "ValidateCredentialsInGuest")
def validate(call: Call, vm: Any, auth: Any) -> None:
    """Raise the fault of a wrong user or password."""
    entered(call.site, vm, auth)


@method(Programs, "StartProgramInGuest")
def start_program(call: Call, vm: Any, auth: Any, spec: Any) -> int:
    """Start a program, and return its process id without waiting for its end."""
    guest, user = entered(call.site, vm, auth)
    if not guest.has_program(spec.programPath):
        raise vim.fault.FileNotFound(file=spec.programPath, msg=f"File {spec.programPath} was not found")
    if "\n" in (spec.arguments or ""):
        raise vim.fault.GuestOperationsFault(msg="The arguments of a program are one line.")
    if is_windows(call.site, vm) != spec.programPath.lower().endswith(".exe"):
        raise vim.fault.FileNotFound(file=spec.programPath, msg=f"File {spec.programPath} was not found")
    return guest.start(user, spec.programPath, spec.arguments or "").pid


@method(Programs, "ListProcessesInGuest")
def list_processes(call: Call, vm: Any, auth: Any, pids: list[int]) -> list[Any]:
    """Return the processes that were asked for, as far as the guest knows them, or all."""
    guest, _ = entered(call.site, vm, auth)
    found = guest.processes()
    return [_told(process) for pid, process in found.items() if not pids or pid in pids]


@method(Programs, "TerminateProcessInGuest")
def terminate_process(call: Call, vm: Any, auth: Any, pid: int) -> None:
    """End a process of the user, or of anybody if the user is an administrator."""
    guest, user = entered(call.site, vm, auth)
    process = guest.processes().get(pid)
    if process is None or process.over_at is not None:
        raise vim.fault.GuestProcessNotFound(pid=pid, msg=f"There is no process {pid} in the guest.")
    if process.owner != user and not guest.users[user].administrator:
        raise denied()
    guest.terminate(process)


def _told(process: Process) -> Any:
    return fill(
        vim.vm.guest.ProcessManager.ProcessInfo(
            name=process.name, pid=process.pid, owner=process.owner, cmdLine=process.command,
            startTime=process.started, endTime=process.ended, exitCode=process.exit,
        )
    )  # fmt: skip

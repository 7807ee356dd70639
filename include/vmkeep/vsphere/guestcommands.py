"""Runs commands in a guest through VMware Tools, each within a time limit, and fetches what they print.

A guest takes a program and one line of arguments, and tells nothing but the exit code. So a shell of the guest runs
the command, and writes its output into a temporary file, which is read through the VM's host afterwards. The password
is sent with every call, and appears in no message.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from vmkeep.errors import (
    AuthenticationError,
    GuestCommandError,
    PermissionDeniedError,
    StaleError,
    TransientError,
    UnreachableError,
    UnsupportedError,
    VmKeepError,
    VSphereError,
)
from vmkeep.lateclass import dataclass
from vmkeep.model.guest import GuestLogin
from vmkeep.model.site import VCenter
from vmkeep.model.vmref import VmRef
from vmkeep.vsphere.api import type_name, vim, vmodl
from vmkeep.vsphere.connection import PinnedConnection
from vmkeep.vsphere.faults import message, speaking, translate
from vmkeep.vsphere.guestshells import program_spec
from vmkeep.vsphere.hostfiles import EXCHANGE_SECONDS, own_host
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.trust import Trust

log = logging.getLogger(__name__)

HEAD, TAIL = 2048, 6144
"""Bytes that are kept of a long output: most errors stand at its end."""
_LONGEST = 16 << 20
"""Bytes of output that are read at most."""
_FIRST_POLL, _LAST_POLL = 0.2, 2.0
_END_SECONDS = 10.0
"""Seconds in which a terminated command has to be gone. VMware Tools use force after five."""
_CALL_SECONDS = 30.0
"""Seconds for one call, because the guest may be frozen meanwhile."""
_KEPT_SECONDS = 240.0
"""Seconds for which a guest surely tells of a process that has ended."""
_UNABLE = {"GuestComponentsOutOfDate", "OperationNotSupportedByGuest", "OperationDisabledByGuest"}
_BUSY = {"GuestOperationsUnavailable", "InvalidState"}

_OUTPUT_SECONDS = 3.0
"""Seconds to wait for the output of a command that has ended. It is never empty, because a line end is added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandEnd:
    """The end of a command that ended by itself."""

    exit_code: int
    seconds: float


class GuestShell:
    """A shell in the guest of a running VM, for one user. Made by :func:`open_shell`."""

    def __init__(
        self, session: Session, vm: VmRef, user: str, auth: Any, managers: dict[str, Any], *, windows: bool
    ) -> None:
        self._session = session
        self._moref = vm.moref
        self._named = str(vm)
        self._user = user
        self._windows = windows
        self._auth = auth
        self._pids: set[int] = set()
        """Processes of earlier commands, whose output may have been the same file."""
        self._ended: tuple[int, float] | None = None
        """The last command that ended by itself, and when."""
        self._programs: Any = managers["processManager"]
        self._files: Any = managers["fileManager"]

    def new_output(self) -> str | None:
        """Make an empty file for the output of a command. Without one, the command runs with its output lost."""
        try:
            with self._asking("make a temporary file"):
                return str(self._files.CreateTemporaryFileInGuest(self._vm, self._auth, "vmkeep-", ".log", None))
        except VmKeepError as error:
            log.warning("the output of a command in the guest is lost: %s", error)
            return None

    def run(self, command: str, *, seconds: float, output: str | None) -> CommandEnd:
        """Run a command to its end, and terminate it if it takes too long, or if this call is interrupted.

        :param seconds: the time limit.
        :param output: the file of :meth:`new_output`, for this command alone.
        :raises GuestCommandError: the command did not end in time. It was terminated, or the message says it was not.
        :raises VmKeepError: the command could not be started, or its end is not known.
        """
        begun = time.monotonic()
        deadline = begun + seconds
        pid = self._start(command, output)
        self._pids.add(pid)
        try:
            code = self._await_end(pid, deadline)
        except BaseException:
            self._terminate(pid, output)
            raise
        if code is not None:
            self._ended = (pid, time.monotonic())
            return CommandEnd(exit_code=code, seconds=time.monotonic() - begun)
        gone = self._terminate(pid, output) and self._await_end(pid, time.monotonic() + _END_SECONDS) is not None
        told = "it was terminated" if gone else f"and process {pid} could not be terminated: look into the guest"
        raise GuestCommandError(f"{self._what('run a command')}: it did not end within {seconds:g} s; {told}")

    def has_restarted(self) -> bool:
        """Return whether the guest, or its VMware Tools, have restarted since the last command ended.

        They tell of an ended process for five minutes, and a restart forgets it. After that time nothing is known.
        """
        if self._ended is None or time.monotonic() - self._ended[1] > _KEPT_SECONDS:
            return False
        with contextlib.suppress(VmKeepError), self._asking("look for a command"):
            return not self._programs.ListProcessesInGuest(self._vm, self._auth, [self._ended[0]])
        return False

    def fetch(self, output: str) -> str:
        """Return what a command has printed, shortened, and remove the file.

        :raises VmKeepError: the file cannot be read.
        """
        try:
            until = time.monotonic() + (0 if self._windows else _OUTPUT_SECONDS)
            while True:
                with self._asking("read the output of a command"):
                    moved = self._files.InitiateFileTransferFromGuest(self._vm, self._auth, output)
                if moved.size or time.monotonic() >= until:
                    return self._download(moved.url) if moved.size else ""
                time.sleep(_FIRST_POLL)
        finally:
            with contextlib.suppress(VmKeepError), self._asking("remove a temporary file"):
                self._files.DeleteFileInGuest(self._vm, self._auth, output)

    @property
    def _vm(self) -> Any:
        return self._session.vm(self._moref)

    def _start(self, command: str, output: str | None) -> int:
        spec = program_spec(command, output, windows=self._windows)
        try:
            with self._asking("start a command"):
                return int(self._programs.StartProgramInGuest(self._vm, self._auth, spec))
        except (TransientError, UnreachableError):
            # The answer may be lost, and the command run. The name of its output finds it again.
            found = set(self._with(output)) - self._pids
            if not found:
                raise
            return min(found)

    def _with(self, output: str | None) -> list[int]:
        """Return the processes that have a command's output in their command line: its shells, and nobody else's."""
        with contextlib.suppress(VmKeepError), self._asking("look for a command"):
            found = self._programs.ListProcessesInGuest(self._vm, self._auth, None) or ()
            return [int(one.pid) for one in found if output and output in (one.cmdLine or "")]
        return []

    def _await_end(self, pid: int, deadline: float) -> int | None:
        """Return the exit code of a process; ``None``: it still ran at the deadline.

        :raises GuestCommandError: the guest knows no such process, so that its end is not known.
        """
        pause = _FIRST_POLL
        while True:
            with contextlib.suppress(TransientError, UnreachableError):
                if (code := self._exit_code(pid)) is not None:
                    return code
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return None
            time.sleep(min(pause, remaining))
            pause = min(_LAST_POLL, pause * 1.5)

    def _exit_code(self, pid: int) -> int | None:
        with self._asking("look at a command"):
            found = self._programs.ListProcessesInGuest(self._vm, self._auth, [pid]) or ()
        if not found:
            raise GuestCommandError(
                f"{self._what('run a command')}: process {pid} is gone and the guest does not tell how it ended; did "
                "the guest restart?"
            )
        process = found[0]
        return int(process.exitCode or 0) if process.endTime is not None else None

    def _terminate(self, pid: int, output: str | None) -> bool:
        """End the processes of a command. Return whether the guest has taken the order, or the first one is gone.

        VMware Tools may have started another shell first, whose end does not end the command.
        """
        ended = self._end(pid)
        for other in sorted(set(self._with(output)) - self._pids):
            ended = self._end(other) and ended
        return ended

    def _end(self, pid: int) -> bool:
        try:
            self._programs.TerminateProcessInGuest(self._vm, self._auth, pid)
        except vim.fault.GuestProcessNotFound:
            return True
        except (vmodl.MethodFault, VmKeepError) as error:
            why = error if isinstance(error, VmKeepError) else message(error)
            log.warning("process %d in the guest of VM %s may still run: %s", pid, self._named, why)
            return False
        return True

    def _download(self, url: str) -> str:
        parts = urlsplit(url)
        what = self._what("read the output of a command")
        connection = connect_guest_file(self._session, self._moref, parts.hostname, parts.port or 443)
        with contextlib.closing(connection):
            try:
                connection.request("GET", f"{parts.path}?{parts.query}")
                response = connection.getresponse()
                if response.status != 200:
                    raise VSphereError(f"{what}: the host answers HTTP {response.status}")
                return shortened(response)
            except (http.client.HTTPException, OSError) as error:
                why = str(error) or type(error).__name__
                raise TransientError(f"{what}: the connection to the host failed ({why})") from None

    def _what(self, action: str) -> str:
        return f"{action} in the guest of VM {self._named} as user {self._user}"

    @contextmanager
    def _asking(self, action: str) -> Iterator[None]:
        with asking(self._what(action)), self._session.patience(_CALL_SECONDS):
            yield


@dataclass(frozen=True, slots=True, kw_only=True)
class EnteredGuest:
    """A guest of a running VM that takes a user and the password."""

    vm: VmRef
    auth: Any
    managers: dict[str, Any]
    windows: bool


def enter_guest(session: Session, moref: str, login: GuestLogin) -> EnteredGuest:
    """Check that a VM runs, and that its guest takes the user and the password.

    :raises StaleError: the VM does not run (any more).
    :raises UnsupportedError: the guest or its VMware Tools do nothing for others.
    :raises AuthenticationError: the guest refuses the user or the password.
    """
    what = f"log in to the guest of VM {moref} as user {login.user}"
    with speaking(what):
        values = read(
            session, session.vm(moref), "name", "runtime.powerState", "guest.guestFamily", "guest.toolsRunningStatus"
        )
    vm = VmRef(moref=moref, name=decode_name(values["name"] or ""))
    what = f"log in to the guest of VM {vm} as user {login.user}"
    if str(values["runtime.powerState"]) != "poweredOn":
        raise StaleError(f"{what}: the VM does not run: start again")
    manager = session.content.guestOperationsManager
    if manager is None:
        raise UnsupportedError(f"{what}: {session.host} offers no guest operations")
    auth = vim.vm.guest.NamePasswordAuthentication(
        username=login.user, password=login.password, interactiveSession=False
    )
    with asking(what), session.patience(_CALL_SECONDS):
        managers = read(session, manager, "authManager", "processManager", "fileManager")
        managers["authManager"].ValidateCredentialsInGuest(session.vm(moref), auth)
    return EnteredGuest(vm=vm, auth=auth, managers=managers, windows=values["guest.guestFamily"] == "windowsGuest")


def open_shell(session: Session, moref: str, login: GuestLogin) -> GuestShell:
    """Return a shell in the guest of a VM; see :func:`enter_guest`."""
    guest = enter_guest(session, moref, login)
    return GuestShell(session, guest.vm, login.user, guest.auth, guest.managers, windows=guest.windows)


def connect_guest_file(
    session: Session, moref: str, address: str | None, port: int, *, seconds: float = EXCHANGE_SECONDS
) -> PinnedConnection:
    """Return a connection to the host of a guest file's URL. It must show the certificate that vCenter knows of it.

    :param seconds: time for one whole exchange.
    """
    host = own_host(session, moref)
    if host is None or address in (None, "*"):
        connection = session.open_connection()
        connection.call_timeout = max(connection.call_timeout, seconds)
        return connection
    if not host.thumbprint:
        raise VSphereError(f"vCenter tells no thumbprint of host {host.name}, so nothing is sent to it")
    at = VCenter(host=address or "", port=port, user="", password="", thumbprint=host.thumbprint)
    return PinnedConnection(at.host, at.port, trust=Trust(at), call_timeout=seconds)


def is_off(session: Session, moref: str) -> bool:
    """Return whether a VM is powered off, so that nothing of its guest is frozen."""
    with speaking(f"look at VM {moref}"):
        return str(read(session, session.vm(moref), "runtime.powerState")["runtime.powerState"]) == "poweredOff"


def shortened(source: Any) -> str:
    """Return the beginning and the end of a text that can be read in pieces, without what is no text."""
    head, tail, total = b"", b"", 0
    while total < _LONGEST and (piece := source.read(65536)):
        total += len(piece)
        taken = piece[: HEAD - len(head)]
        head += taken
        tail = (tail + piece[len(taken) :])[-TAIL:]
    missing = total - len(head) - len(tail)
    cut = f"\n… {missing} bytes left out …\n" if missing else ""
    text = head.decode(errors="replace") + cut + tail.decode(errors="replace")
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text).strip()


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Turn every fault of a guest operation into our error, which begins with ``what``."""
    try:
        yield
    except vim.fault.InvalidGuestLogin:
        raise AuthenticationError(f"{what}: the guest refuses the user or the password") from None
    except vim.fault.GuestPermissionDenied as fault:
        raise PermissionDeniedError(f"{what}: the guest's user may not do this: {message(fault)}") from None
    except vim.fault.InvalidPowerState:
        raise StaleError(f"{what}: the VM does not run any more: start again") from None
    except vmodl.MethodFault as fault:
        name = type_name(fault)
        if name in _UNABLE:
            raise UnsupportedError(f"{what}: {message(fault)} ({name})") from None
        if name in _BUSY:
            raise TransientError(f"{what}: {message(fault)} ({name}); do VMware Tools run?") from None
        raise translate(fault, what) from None

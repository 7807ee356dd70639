"""The guests of VMs, as guest operations see them: users, files, and programs that behave as a test scripted them.

No program really runs. A test tells what a command line does: how long it runs, what it prints, how it ends. Everything
that happens to a guest is an event in the order in which it happened, so that a test can ask what came before what.
A guest is forgotten when the lab ends, and a boot ends its processes. Refuses to know vSphere's types.
"""

import itertools
import re
import secrets
import shlex
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

SHELLS = frozenset({"/bin/sh", "/bin/bash", r"c:\windows\system32\cmd.exe"})
"""Programs that every guest has, in lower case. They run the command that their arguments name."""
NOT_FOUND, TERMINATED, KILLED = 127, 143, 137
KEPT_SECONDS = 300.0
"""Seconds for which a guest tells how a process ended, as VMware documents."""
_OUTPUT = re.compile(r"""(?:^|\s)1?>\s*(?:"([^"]+)"|'([^']+)'|([^\s"'>&]+))""")
"""Where a shell writes what a command prints."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """The behaviour of all command lines that hold some text."""

    match: str
    exit: int = 0
    seconds: float | None = 0.0
    """Seconds that it runs; `None`: until it is terminated."""
    output: str = ""
    ignores_term: bool = False
    """It goes on at the polite signal, and ends only when it is killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user of a guest."""

    password: str
    administrator: bool = False


@dataclass(slots=True, kw_only=True)
class File:
    """A file of a guest."""

    owner: str
    data: bytes = b""
    changed: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(slots=True, kw_only=True)
class Process:
    """A process that a guest operation started."""

    pid: int
    owner: str
    name: str
    command: str
    started: datetime
    began: float
    script: Script
    ended: datetime | None = None
    over_at: float | None = None
    """The monotonic time of its end."""
    exit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A transfer of one file that a guest has allowed, good for one request."""

    guest: "Guest"
    method: str
    path: str
    owner: str
    size: int = 0


class Guest:
    """The guest of one VM. Thread-safe."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        self.files: dict[str, File] = {}
        self._scripts: list[Script] = []
        self._processes: dict[int, Process] = {}
        self._events: list[dict[str, Any]] = []
        self._pids = itertools.count(4001)
        self._booted: object = None
        self._guard = threading.RLock()

    def add_script(self, script: Script) -> None:
        """Set what a command line does. The newest script that fits counts."""
        with self._guard:
            self._scripts.insert(0, script)

    def booted(self, at: object) -> None:
        """Take note of the time of the guest's last start: a later one than the last ended all processes."""
        with self._guard:
            if at != self._booted:
                self._booted, self._processes = at, {}

    def note(self, what: str, **details: Any) -> None:
        """Add an event."""
        with self._guard:
            self._events.append({"at": time.time(), "what": what, **details})

    def events(self) -> list[dict[str, Any]]:
        """Return what happened so far, in its order."""
        with self._guard:
            self.processes()  # so that those that are over are told
            return list(self._events)

    def has_program(self, path: str) -> bool:
        """Return whether there is a program of that path."""
        with self._guard:
            return path.lower() in SHELLS or any(script.match == path for script in self._scripts)

    def start(self, owner: str, program: str, arguments: str) -> Process:
        """Start a program. A shell's unknown command ends at once with 127."""
        with self._guard:
            command = f"{program} {arguments}".strip()
            unknown = Script(match="", exit=NOT_FOUND, output="sh: 1: not found\n")
            script = next((one for one in self._scripts if one.match in command), unknown)
            process = Process(
                pid=next(self._pids), owner=owner, name=re.split(r"[/\\]", program)[-1], command=command,
                started=datetime.now(UTC), began=time.monotonic(), script=script,
            )  # fmt: skip
            self._processes[process.pid] = process
            self.note("start", command=command, pid=process.pid, user=owner)
            self._print(process, arguments)
            self.processes()
            return process

    def processes(self) -> dict[int, Process]:
        """Return those that run, and those that ended not long ago."""
        with self._guard:
            now = time.monotonic()
            for process in self._processes.values():
                seconds = process.script.seconds
                if process.over_at is None and seconds is not None and now - process.began >= seconds:
                    self._end(process, process.script.exit)
            self._processes = {
                pid: process
                for pid, process in self._processes.items()
                if process.over_at is None or now - process.over_at < KEPT_SECONDS
            }
            return dict(self._processes)

    def terminate(self, process: Process) -> None:
        """End a process, by force if it ignores the polite way."""
        with self._guard:
            self.note("terminate", command=process.command, pid=process.pid)
            if process.over_at is None:
                self._end(process, KILLED if process.script.ignores_term else TERMINATED)

    def new_file(self, owner: str, folder: str, prefix: str, suffix: str) -> str:
        """Make an empty file of a new name; return its path."""
        with self._guard:
            path = f"{folder}{prefix}vmware{secrets.token_hex(4)}{suffix}"
            self.files[path] = File(owner=owner)
            return path

    def _print(self, process: Process, arguments: str) -> None:
        places = [next(filter(None, found)) for found in _OUTPUT.findall(arguments)]
        if places:
            place, output = places[-1], process.script.output
            if place.startswith("$"):  # one of the words behind a script, which prints what it has kept in a variable
                place, output = shlex.split(arguments)[int(place[1:]) + 2], output.rstrip("\n") + "\n"
            file = self.files.setdefault(place, File(owner=process.owner))
            file.data, file.changed = output.encode(), datetime.now(UTC)

    def _end(self, process: Process, code: int) -> None:
        process.ended, process.over_at, process.exit = datetime.now(UTC), time.monotonic(), code
        self.note("end", command=process.command, pid=process.pid, exit=code)


class Guests:
    """The guests of a site, by the id of the VM, and the transfers that they have allowed."""

    def __init__(self) -> None:
        self._guests: dict[str, Guest] = {}
        self._transfers: dict[str, Transfer] = {}
        self._guard = threading.Lock()

    def __iter__(self) -> Iterator[str]:
        """Iterate over the ids of VMs whose guest was asked for."""
        return iter(list(self._guests))

    def of(self, vm_id: str) -> Guest:
        """Return the guest of a VM."""
        with self._guard:
            return self._guests.setdefault(vm_id, Guest())

    def allow(self, transfer: Transfer) -> str:
        """Return a new token for a transfer."""
        token = secrets.token_hex(20)
        with self._guard:
            self._transfers[token] = transfer
        return token

    def redeem(self, token: str, method: str) -> Transfer | None:
        """Return the transfer that a token allows, or None. Every use, also a wrong one, uses the token up."""
        with self._guard:
            found = self._transfers.pop(token, None)
        return found if found is not None and found.method == method else None

"""The kit for tests and demos of a vSphere client: a lab in a child process, and its control calls.

    with start_lab(folder, data_disk_gib=0.125) as lab:
        connect(lab.url, lab.user, lab.password, lab.thumbprint, lab.vddk)
        lab.write("app01", 0, [{"offset": 0, "length": 65536, "seed": 1}])

This is the one module of the lab that other programs import; docs/vmlab.md shows how. Only the child holds the lab, so
killing it is a crash of the vCenter, and `restart` starts it again in the same folder.
"""

import contextlib
import http.client
import json
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self, cast
from urllib.parse import urlencode

from vmlab.disks import split_path

START_SECONDS = 300.0
STOP_SECONDS = 120.0


class LabError(Exception):
    """A control call was refused, or the lab did not start."""


class Child(Protocol):
    """The process of a lab, as `subprocess.Popen` is one."""

    stdout: IO[str] | None

    def send_signal(self, sig: int, /) -> None:
        """Send a signal, if the process still runs."""

    def kill(self) -> None:
        """End it as a crash would."""

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code. Raises subprocess.TimeoutExpired."""


class Lab:
    """A running `vmlab serve` and its control calls."""

    def __init__(self, folder: Path, options: dict[str, object]) -> None:
        self.folder = folder
        self._options = options
        self._process: Child | None = None
        self._log: IO[str] | None = None
        self._idle: list[http.client.HTTPSConnection] = []
        self.info: dict[str, Any] = {}

    @property
    def url(self) -> str:
        """`https://127.0.0.1:PORT/sdk`."""
        return str(self.info["url"])

    @property
    def host(self) -> str:
        """The address to connect to."""
        return str(self.info["host"])

    @property
    def port(self) -> int:
        """The TLS port."""
        return int(self.info["port"])

    @property
    def user(self) -> str:
        """The administrator."""
        return str(self.info["user"])

    @property
    def password(self) -> str:
        """The password of every user of the lab."""
        return str(self.info["password"])

    @property
    def thumbprint(self) -> str:
        """SHA-1 of the lab's certificate."""
        return str(self.info["thumbprint"])

    @property
    def vddk(self) -> Path:
        """The VDDK distribution folder."""
        return Path(self.info["vddk"])

    @property
    def log_path(self) -> Path:
        """The file with everything the lab wrote to stderr."""
        return self.folder / "server.log"

    def start(self) -> None:
        """Start the child and wait until clients can connect. Raises LabError with the log's end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        arguments = ["serve", "--dir", str(self.folder)]
        for name, value in self._options.items():
            arguments += [f"--{name.replace('_', '-')}", str(value)]
        self._log = self.log_path.open("a", encoding="utf-8")
        self._process = self.launch(arguments, self._log)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._close()
            tail = self.log_path.read_text(encoding="utf-8")[-2000:]
            raise LabError(f"vmlab did not start:\n{tail}")
        self.info = json.loads(line)

    def launch(self, arguments: list[str], log: IO[str]) -> Child:
        """Start a child that runs `vmlab` with some arguments, and whose standard error goes to a file."""
        command = [sys.executable, "-m", "vmlab", *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)

    def stop(self) -> None:
        """End the child as Ctrl-C would; may be called twice."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the child as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start again in the same folder, on another port."""
        self.start()

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._close()

    def _close(self) -> None:
        while self._idle:
            self._idle.pop().close()
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()
        if self._log is not None:
            self._log.close()
        self._process = self._log = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    # -- control calls ------------------------------------------------------------------------------------------

    def write(self, vm: str, disk: str | int, writes: list[dict[str, Any]]) -> int:
        """Let a running VM's guest write.

        Each item is `{offset, length, seed}`, `{offset, length, zero: true}` or
        `{offset, data_b64}`. Returns the bytes written.
        """
        return int(self.post("guest/write", {"vm": vm, "disk": disk, "writes": writes})["written"])

    def take_copy(self, other: "Lab", vm: str, folder: str, **registered: Any) -> str:
        """Copy another lab's VM here as storage does, with its UUIDs and change tracking. Returns its moref here.

        `folder` is a datastore path that nothing has yet (`[datastore2] web01`). Keyword arguments are those of the
        control call `vm/register`: the inventory `folder_path`, `name`, `moref`, `power_on`.
        """
        vmx = str(other.vm(vm)["vmx"])
        shutil.copytree(other.files(vmx).parent, self.files(folder))
        body = {"path": f"{folder}/{vmx.rpartition('/')[2]}", "folder": registered.pop("folder_path", None)}
        return str(self.post("vm/register", body | registered)["moref"])

    def relocate(self, vm: str, datastore: str) -> None:
        """Move a VM's files to another datastore, as Storage vMotion does. Raises LabError while a backup holds it."""
        self.post("vm/relocate", {"vm": vm, "datastore": datastore})

    def renew_certificate(self) -> None:
        """Let the vCenter show a new certificate from the next connection on."""
        self.info |= self.post("certificate/renew", {})

    def files(self, path: str) -> Path:
        """The local file or folder of a datastore path, `[datastore1] web01/web01.vmx`."""
        datastore, rest = split_path(path) or ("", path)
        return self.folder / "datastores" / datastore / rest

    def hash(self, vm: str, disk: str | int, offset: int = 0, length: int | None = None) -> str:
        """Return the SHA-256 (hex) of a VM's disk, or of a part, as it is now."""
        return str(self.post("guest/hash", {"vm": vm, "disk": disk, "offset": offset, "length": length})["sha256"])

    def read(self, vm: str, disk: str | int, offset: int, length: int) -> bytes:
        """Return bytes of a VM's disk as they are now."""
        query = urlencode({"vm": vm, "disk": disk, "offset": offset, "length": length})
        return self._request("GET", f"/vmlab/disk?{query}", b"")

    def extents(self, vm: str, disk: str | int) -> list[tuple[int, int]]:
        """Return the allocated areas (offset, length) of a VM's disk."""
        query = urlencode({"vm": vm, "disk": disk})
        found = json.loads(self._request("GET", f"/vmlab/extents?{query}", b""))["extents"]
        return [(offset, length) for offset, length in found]

    def guest_events(self, vm: str) -> list[dict[str, Any]]:
        """Return what happened in a VM's guest, in its order: programs that began and ended, snapshots."""
        found = json.loads(self._request("GET", f"/vmlab/guest/events?{urlencode({'vm': vm})}", b""))
        return cast("list[dict[str, Any]]", found["events"])

    def guest_files(self, vm: str) -> list[str]:
        """Return the paths of the files that guest operations have made in a VM's guest."""
        found = json.loads(self._request("GET", f"/vmlab/guest/events?{urlencode({'vm': vm})}", b""))
        return cast("list[str]", found["files"])

    def fault(self, **plan: Any) -> None:
        """Plan a fault: `method=…, fault=…, count=…, delay=…, drop=…, status=…, after=…`; `effect=…`; `nfc={…}`."""
        self.post("fault", plan)

    def clear(self) -> None:
        """Forget all planned faults."""
        self.post("clear", {})

    def settings(self, **values: Any) -> None:
        """Change limits while the lab runs."""
        self.post("settings", values)

    def state(self) -> dict[str, Any]:
        """Return sessions, VMs, snapshots, disks, NFC sessions, and calls by method."""
        return cast("dict[str, Any]", json.loads(self._request("GET", "/vmlab/state", b"")))

    def vm(self, name: str) -> dict[str, Any]:
        """Return one VM's state, by name or moref."""
        found = [vm for vm in self.state()["vms"] if name in (vm["name"], vm["moref"])]
        if len(found) != 1:
            raise LabError(f"{len(found)} VMs answer to {name!r}")
        return cast("dict[str, Any]", found[0])

    def post(self, call: str, body: dict[str, Any]) -> dict[str, Any]:
        """Make any control call that takes JSON."""
        return cast("dict[str, Any]", json.loads(self._request("POST", f"/vmlab/{call}", json.dumps(body).encode())))

    def _request(self, method: str, target: str, body: bytes) -> bytes:
        headers = {"Authorization": f"Bearer {self.info['control_token']}"}
        with self._connected() as connection:
            connection.request(method, target, body=body or None, headers=headers)
            response = connection.getresponse()
            data = response.read()
        if response.status != 200:
            raise LabError(f"{method} {target}: {response.status} {data.decode(errors='replace').strip()}")
        return data

    @contextlib.contextmanager
    def _connected(self) -> Iterator[http.client.HTTPSConnection]:
        """A connection that no other thread uses. It is kept for the next call, unless this one fails."""
        try:
            connection = self._idle.pop()
        except IndexError:
            trust = ssl.create_default_context(cafile=self.info["certificate"])
            connection = http.client.HTTPSConnection(self.host, self.port, timeout=300, context=trust)
        if connection.sock is not None and _has_ended(connection.sock):
            connection.close()  # a request opens it again
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)


def _has_ended(idle: socket.socket) -> bool:
    """Return whether the lab has ended a connection, because it says nothing else before it is asked."""
    looking = select.poll()  # which takes any number of open files
    looking.register(idle, select.POLLIN)
    return bool(looking.poll(0))


@contextlib.contextmanager
def start_lab(folder: Path, **options: object) -> Iterator[Lab]:
    """A lab in `folder`, stopped at the end. Options are those of `vmlab serve` (`data_disk_gib=0.125`, …)."""
    lab = Lab(folder, options)
    lab.start()
    try:
        yield lab
    finally:
        lab.stop()

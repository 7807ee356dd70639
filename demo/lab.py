"""The simulated vSphere as a process, and the calls that play its guests."""

from __future__ import annotations

import hashlib
import itertools
import json
import queue
import ssl
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from demo.processes import Component


@dataclass(frozen=True, slots=True, kw_only=True)
class LabAddress:
    """The line that ``vmlab serve`` prints when it is ready."""

    host: str
    port: int
    user: str
    password: str
    thumbprint: str
    vddk: str
    certificate: str
    control: str
    control_token: str

    def connection(self) -> dict[str, object]:
        """Return the Airflow connection to it."""
        return {
            "conn_type": "vsphere",
            "host": self.host,
            "port": self.port,
            "login": self.user,
            "password": self.password,
            "extra": {"thumbprint": self.thumbprint, "vddk": self.vddk},
        }


class Lab:
    """A lab in a folder of its own."""

    def __init__(self, folder: Path, *, options: Sequence[str] = (), env: Mapping[str, str]) -> None:
        self.folder = folder
        command = [str(Path(sys.executable).with_name("vmlab")), "serve", "--dir", str(folder), "--port", "0", *options]
        self.component = Component("the lab", command, env=env, log=folder.with_suffix(".log"))
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._address: LabAddress | None = None

    def start(self) -> None:
        """Start it; returns at once."""
        process = self.component.start(pipe=True)
        assert process.stdout is not None
        threading.Thread(target=_read_line, args=(process.stdout, self._lines), daemon=True).start()

    def wait_ready(self, seconds: float = 300.0) -> LabAddress:
        """Return where it is, once clients can connect."""
        end = time.monotonic() + seconds
        while self._address is None:
            self.component.check()
            try:
                said = json.loads(self._lines.get(timeout=0.2))
            except queue.Empty:
                if time.monotonic() > end:
                    raise TimeoutError(f"the lab was not ready within {seconds:.0f} s: {self.component.log}") from None
                continue
            self._address = LabAddress(**{name: said[name] for name in LabAddress.__dataclass_fields__})
        return self._address

    def control(self) -> LabControl:
        """Return the client of its control calls."""
        return LabControl(self.wait_ready())

    def stop(self) -> None:
        """Stop it."""
        self.component.stop()


def _read_line(stream: IO[bytes], lines: queue.Queue[bytes]) -> None:
    with stream:
        line = stream.readline()
        if line:
            lines.put(line)
        while stream.read(65536):
            pass


class LabControl:
    """The control calls: a guest writes, a disk is read, a fault is planned. VMs go by name, disks by device key."""

    def __init__(self, address: LabAddress) -> None:
        self._address = address
        self._trust = ssl.create_default_context(cafile=address.certificate)
        self._trust.check_hostname = False
        self._seeds = itertools.count(1)

    def call(self, method: str, path: str, body: object | None = None) -> Any:
        """Send one control call and return its JSON."""
        request = urllib.request.Request(self._address.control + path, method=method)  # noqa: S310 - our own lab
        request.add_header("Authorization", f"Bearer {self._address.control_token}")
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, data=data, timeout=300, context=self._trust) as answer:  # noqa: S310
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            raise RuntimeError(f"the lab refused {method} {path}: {error.code} {text[:300]}") from error

    def vm(self, name: str) -> dict[str, Any]:
        """Return what the lab knows of a VM: power, snapshots, disks."""
        found: dict[str, Any] = next(vm for vm in self.call("GET", "/state")["vms"] if vm["name"] == name)
        return found

    def snapshots(self, vm: str) -> list[str]:
        """Return the names of a VM's snapshots that have no parent."""
        return [snapshot["name"] for snapshot in self.vm(vm)["snapshots"]]

    def hashes(self, vm: str) -> dict[int, str]:
        """Return the SHA-256 of every byte of each disk as it is now, by device key: bus and unit make the key."""
        keys = [disk["key"] for disk in self.vm(vm)["disks"]]
        return {key: self.call("POST", "/guest/hash", {"vm": vm, "disk": key})["sha256"] for key in keys}

    def zeros(self, vm: str, key: int) -> str:
        """Return what a disk's hash would be if it held nothing but zeros."""
        capacity = next(disk["capacity"] for disk in self.vm(vm)["disks"] if disk["key"] == key)
        found = hashlib.sha256()
        for _ in range(capacity // 65536):
            found.update(bytes(65536))
        return found.hexdigest()

    def write(self, vm: str, disk: int, areas: Sequence[tuple[int, int]]) -> None:
        """Let the guest write noise to ``(offset, length)`` areas of a disk."""
        writes = [{"offset": offset, "length": length, "seed": next(self._seeds)} for offset, length in areas]
        self.call("POST", "/guest/write", {"vm": vm, "disk": disk, "writes": writes})

"""A lab without its SOAP side: disks, the NFC service with a plain authority, the installed library."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.patience import HANG, eventually
from vmlab.disks import DiskStore
from vmlab.nfc import DiskGrant, NfcError, NfcServer, install_vddk

MIB = 1 << 20
DISK = "[ds] vm/vm.vmdk"


@dataclass
class PlainAuthority:
    """Lets ``root``/``secret`` open anything."""

    thumbprint: str = "AA:BB:CC"
    nfc_session_limit: int = 3
    latency: float = 0.0
    metadata: dict[str, str] = field(default_factory=dict)
    granted: dict[str, bool] = field(default_factory=dict)
    """More that the next grants say."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    held: list[tuple[str, str]] = field(default_factory=list)
    """VM and identity of each PrepareForAccess without its EndAccess yet."""

    def log_in(self, *, user: str | None, password: str | None, cookie: str | None) -> None:
        if cookie != "session-1" and (user, password) != ("root", "secret"):
            raise NfcError(35, "wrong user name or password")

    def prepare_access(self, *, vmx_spec: str, identity: str, **_: Any) -> None:
        if (vmx_spec, identity) in self.held:
            raise NfcError(5, "already disabled")
        self.held.append((vmx_spec, identity))

    def end_access(self, *, vmx_spec: str, identity: str, **_: Any) -> None:
        if (vmx_spec, identity) not in self.held:
            raise NfcError(1, "not disabled")
        self.held.remove((vmx_spec, identity))

    def open_disk(self, **request: Any) -> DiskGrant:
        self.asked.append(request)
        self.log_in(user=request["user"], password=request["password"], cookie=request["cookie"])
        return DiskGrant(
            ds_path=request["path"],
            read_only=request["read_only"],
            host="esx1",
            latency_seconds=self.latency,
            metadata=self.metadata,
            **self.granted,
        )


@dataclass
class Lab:
    """Simulated vSphere with the stand-in for VMware's library, as a test gets them."""

    store: DiskStore
    authority: PlainAuthority
    nfc: NfcServer
    vddk: Path

    @property
    def library(self) -> Path:
        return self.vddk / "lib64" / "libvixDiskLib.so.8"

    def params(self, **changed: Any) -> dict[str, Any]:
        return {
            "vmx_spec": "moref=vm-1",
            "server": "vcenter.lab",
            "thumbprint": "aa:bb:cc",
            "cred_type": 1,
            "first": "root",
            "second": "secret",
            "spec_type": 0,
            **changed,
        }

    def command(self) -> list[str]:
        return [sys.executable, str(Path(__file__).with_name("vddk_client.py")), str(self.library)]

    def run(self, *steps: list[Any]) -> list[Any]:
        """Run the steps in a fresh process, which must end well; returns their results."""
        done = subprocess.run(
            self.command(), input=json.dumps(steps), capture_output=True, text=True, timeout=HANG, check=False
        )
        assert done.returncode == 0, done.stderr
        results: list[Any] = json.loads(done.stdout.splitlines()[-1])
        return results

    def remote(
        self, *steps: list[Any], read_only: bool = True, transports: str | None = None, **changed: Any
    ) -> list[Any]:
        """Run the steps on a connection to the lab; returns their results only."""
        connect = ["connect", self.params(**changed), read_only, "snapshot-1", transports]
        initialised, connected, *results, _, _ = self.run(["init"], connect, *steps, ["disconnect"], ["exit"])
        assert (initialised, connected) == (0, 0)
        return results

    @contextmanager
    def pause(self, act: Callable[[], object]) -> Iterator[list[Any]]:
        """A step at which the client waits until ``act`` has run; what ``act`` raises reaches the test."""
        with TemporaryDirectory() as folder, ThreadPoolExecutor(1) as thread:
            gate = Path(folder, "gate")

            def act_when_reached() -> None:
                try:
                    eventually(Path(f"{gate}.reached").exists)
                    act()
                finally:
                    gate.touch()

            acting = thread.submit(act_when_reached)
            yield ["pause", str(gate)]
            acting.result()

    def connect(self, **changed: Any) -> int:
        """Return the code of ConnectEx, in a process of its own."""
        code = self.run(["init"], ["connect", self.params(**changed), True, "snapshot-1", None], ["exit"])[1]
        assert isinstance(code, int)
        return code

    def local(self, *steps: list[Any], read_only: bool = False) -> list[Any]:
        """Run the steps on a local connection."""
        _, connected, *results, _, _ = self.run(
            ["init"], ["connect", {}, read_only, None, None], *steps, ["disconnect"], ["exit"]
        )
        assert connected == 0
        return results


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    store = DiskStore(tmp_path / "datastores")
    authority = PlainAuthority()
    nfc = NfcServer(store, authority)
    nfc.start()
    yield Lab(store, authority, nfc, install_vddk(tmp_path / "vddk", nfc.port))
    nfc.stop()


@pytest.fixture
def disk(lab: Lab) -> bytes:
    """A disk of 8 MiB and 5 sectors with something in it; returns its bytes."""
    lab.store.create(DISK, 8 * MIB + 5 * 512, uuid="6000C290111122223333444455556666")
    with lab.store.open(DISK, writable=True) as handle:
        handle.write(MIB, bytes(range(256)) * 4096)
        handle.write(8 * MIB + 4 * 512, b"tail" * 128)
        return handle.read(0, handle.capacity)

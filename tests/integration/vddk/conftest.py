"""The lab's own library and its NFC service, without the rest of vSphere."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from vmkeep.model.site import VCenter
from vmkeep.model.vmref import VmRef
from vmkeep.vddk.diskaddress import DiskAddress
from vmkeep.vddk.initialised import Vddk, open_vddk
from vmlab.disks import DiskStore
from vmlab.nfc import DiskGrant, NfcError, NfcServer, install_vddk

MIB = 1 << 20
DISK = "[ds] web/web.vmdk"
THUMBPRINT = ":".join(["AB"] * 20)


@dataclass
class OneUser:
    """Lets ``root`` with ``secret`` open anything."""

    thumbprint: str = THUMBPRINT
    nfc_session_limit: int = 3
    asked: list[dict[str, Any]] = field(default_factory=list)
    latency: float = 0.0
    held: list[tuple[str, str]] = field(default_factory=list)
    """VM and identity of each PrepareForAccess without its EndAccess yet."""

    def log_in(self, *, user: str | None, password: str | None, cookie: str | None) -> None:
        """Take the one user."""
        if (user, password, cookie) != ("root", "secret", None):
            raise NfcError(35, "wrong user name or password")

    def prepare_access(self, *, vmx_spec: str, identity: str, **_: Any) -> None:
        """Hold the VM, once for each identity."""
        if (vmx_spec, identity) in self.held:
            raise NfcError(5, "already disabled")
        self.held.append((vmx_spec, identity))

    def end_access(self, *, vmx_spec: str, identity: str, **_: Any) -> None:
        """Let go of a VM that is held."""
        if (vmx_spec, identity) not in self.held:
            raise NfcError(1, "not disabled")
        self.held.remove((vmx_spec, identity))

    def open_disk(self, **request: Any) -> DiskGrant:
        """Note the request."""
        self.asked.append(request)
        self.log_in(user=request["user"], password=request["password"], cookie=request["cookie"])
        return DiskGrant(
            ds_path=request["path"],
            read_only=request["read_only"],
            host="esx1",
            latency_seconds=self.latency,
            metadata={},
        )


@dataclass
class Host:
    """Host with its disks, as a test gets it."""

    store: DiskStore
    authority: OneUser
    nfc: NfcServer
    vddk: Path

    def address(
        self,
        path: str = DISK,
        *,
        password: str = "secret",
        thumbprint: str = "ab" * 20,
        also_sha256: str | None = None,
        **changes: Any,
    ) -> DiskAddress:
        """Return where a disk of VM ``web`` is."""
        vcenter = VCenter(
            host="127.0.0.1", user="root", password=password, thumbprint=thumbprint, also_sha256=also_sha256
        )
        fields: dict[str, Any] = {
            "vm": VmRef(moref="vm-16", name="web"),
            "snapshot": "snapshot-3",
            "transports": ("nbdssl", "nbd"),
        }
        return DiskAddress(path=path, vcenter=vcenter, **(fields | changes))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    store = DiskStore(tmp_path / "datastores")
    authority = OneUser()
    nfc = NfcServer(store, authority)
    nfc.start()
    yield Host(store, authority, nfc, install_vddk(tmp_path / "vddk", nfc.port))
    nfc.stop()


@pytest.fixture
def vddk(host: Host) -> Iterator[Vddk]:
    with open_vddk(host.vddk) as opened:
        yield opened


@pytest.fixture
def disk(host: Host) -> bytes:
    """A thin disk of 24 MiB and 5 sectors, a third of it written; returns its bytes."""
    host.store.create(DISK, 24 * MIB + 5 * 512, uuid="6000C290111122223333444455556666")
    with host.store.open(DISK, writable=True) as handle:
        handle.write(MIB, random.Random(1).randbytes(6 * MIB))
        handle.write(20 * MIB, random.Random(2).randbytes(2 * MIB))
        handle.write(24 * MIB + 4 * 512, b"tail" * 128)
        return handle.read(0, handle.capacity)

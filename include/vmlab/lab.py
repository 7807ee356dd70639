"""Puts a lab together: a folder, its objects, disks and services, and its TLS ports. Started and stopped as a whole."""

import fcntl
import logging
import os
import secrets
import shutil
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from vmlab.api import moid, vim
from vmlab.authority import SiteAuthority
from vmlab.control import ControlHandler
from vmlab.disks import DiskStore
from vmlab.endpoints import HostHandler, Routes
from vmlab.inventory import build_inventory
from vmlab.managed.dispatch import Dispatcher
from vmlab.managed.site import (
    Access,
    CloneTickets,
    Collectors,
    FaultPlan,
    HostEnd,
    Product,
    ServiceTickets,
    Sessions,
    Site,
    Tasks,
)
from vmlab.managed.snapshots import heal
from vmlab.managed.vcenter import add_companions, add_services
from vmlab.managed.world import Database, World
from vmlab.native import DISK_CORE, VDDK, build
from vmlab.nfc import NfcServer, install_vddk
from vmlab.soap import EVERYWHERE, LOOPBACK, TlsServer, load_or_make, renew

log = logging.getLogger(__name__)

_FIRST_WITH_NEW_AUTOMATION = "7.0.2.0"
DEFAULT_PASSWORD = "VMlab-1!"  # noqa: S105  (a laboratory on loopback has no secret to keep)


class LabInUseError(Exception):
    """Another server works in the folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabOptions:
    """Options of a lab. The size of the data disk counts only when the inventory is made."""

    folder: Path
    port: int = 0
    password: str = DEFAULT_PASSWORD
    data_disk_bytes: int = 2 << 30
    session_idle_seconds: float = 1800.0
    language: str = "en"
    """The language of messages and labels in answers."""
    open_to_network: bool = False
    """Let other machines reach the TLS port. Hosts and disks stay on the loopback."""
    product: Product = field(default_factory=Product)
    """The kind of server and its release. It counts at every start, and the kind must stay what it was."""


class LabServer:
    """One running lab. `start` returns when clients can connect; `stop` leaves a folder that can be started again."""

    def __init__(self, options: LabOptions) -> None:
        for library in (DISK_CORE, VDDK):
            build(library)  # first, because without a compiler nothing should be touched
        options.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _take_lock(options.folder)
        self._options = options
        self.control_token = secrets.token_urlsafe(24)
        self.certificate = load_or_make(options.folder)
        self._database = _open_database(options.folder)
        world = World(self._database)
        if not world.meta("instance_uuid"):
            world.set_meta("instance_uuid", str(uuid.uuid4()))
        self.site = Site(
            folder=options.folder,
            world=world,
            store=DiskStore(options.folder / "datastores"),
            access=Access(world, options.password),
            sessions=Sessions(options.session_idle_seconds),
            clone_tickets=CloneTickets(),
            service_tickets=ServiceTickets(),
            faults=FaultPlan(),
            collectors=Collectors(),
            tasks=Tasks(world),
            instance_uuid=world.meta("instance_uuid"),
            product=options.product,
            has_new_automation=options.product.release.api >= _FIRST_WITH_NEW_AUTOMATION,
            language=options.language,
            started=datetime.now(UTC),
        )
        self._furnish(options)
        self._authority = SiteAuthority(self.site, self.certificate.sha1)
        self._nfc = NfcServer(self.site.store, self._authority)
        self.site.nfc_sessions = self._nfc.sessions
        self.vddk = install_vddk(options.folder / "vddk", self._nfc.port)
        control = ControlHandler(self.site, self._nfc, self._authority, self.control_token, self.renew_certificate)
        routes = Routes(self.site, Dispatcher(self.site), control)
        address = EVERYWHERE if options.open_to_network else LOOPBACK
        self._server = TlsServer(self.certificate, routes.handle, options.port, address=address)
        vcenter = options.product.is_vcenter
        self._hosts = [self._make_host(ref) for ref in self.site.world.all(vim.HostSystem)] if vcenter else []
        if not vcenter:
            host = moid(self.site.world.all(vim.HostSystem)[0])
            self.site.host_ends[host] = HostEnd(port=self._server.port, certificate=self.certificate)

    def _make_host(self, ref: Any) -> TlsServer:
        certificate = load_or_make(self._options.folder / "hosts" / moid(ref))
        server = TlsServer(certificate, HostHandler(self.site, ref).handle)
        self.site.host_ends[moid(ref)] = HostEnd(port=server.port, certificate=certificate)
        return server

    def _furnish(self, options: LabOptions) -> None:
        """Enter the managers, which are the same at every start. At the first start, make the inventory."""
        add_services(self.site)
        for ref in self.site.world.all(vim.ManagedEntity):
            add_companions(self.site, ref)
        if not self.site.world.meta("built"):
            build_inventory(self.site, options.data_disk_bytes)
        for vm in self.site.world.all(vim.VirtualMachine):
            heal(self.site, vm)

    @property
    def port(self) -> int:
        """The TLS port."""
        return self._server.port

    def start(self) -> None:
        """Serve."""
        self._nfc.start()
        for host in self._hosts:
            host.start()
        self._server.start()

    def stop(self) -> None:
        """Stop serving, let running tasks end, close the files."""
        self.site.faults.clear()
        self.site.world.stop()
        for server in (self._server, *self._hosts):
            server.stop()
        self._nfc.stop()
        self.site.tasks.join(30.0)
        with self.site.world.lock:
            self._database.close()
        self._lock.close()

    def renew_certificate(self) -> dict[str, object]:
        """Show a new certificate to every new connection, and tell its thumbprints."""
        self.certificate = renew(self._options.folder)
        self._server.show(self.certificate)
        self._authority.renew_thumbprint(self.certificate.sha1)
        return {"thumbprint": self.certificate.sha1, "thumbprint_sha256": self.certificate.sha256}

    def describe(self) -> dict[str, object]:
        """Return the address and credentials that a client needs, as `vmlab serve` prints them."""
        base = f"https://127.0.0.1:{self.port}"
        return {
            "url": f"{base}/sdk",
            "host": "127.0.0.1",
            "port": self.port,
            "user": self._options.product.user("administrator"),
            "password": self._options.password,
            "thumbprint": self.certificate.sha1,
            "thumbprint_sha256": self.certificate.sha256,
            "certificate": str(self.certificate.certificate),
            "vddk": str(self.vddk),
            "control": f"{base}/vmlab",
            "control_token": self.control_token,
            "pid": os.getpid(),
        }


def _take_lock(folder: Path) -> IO[str]:
    lock = (folder / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise LabInUseError(f"{folder}: another vmlab is using this folder; stop it or choose another --dir") from None
    return lock


def _open_database(folder: Path) -> Database:
    """Open the state, or make a new one after clearing away what an interrupted set-up left."""
    path = folder / "state.db"
    database = Database(path)
    if database.meta("built"):
        return database
    database.close()
    for leftover in folder.glob("state.db*"):
        leftover.unlink()
    for name in ("datastores", "luns"):
        shutil.rmtree(folder / name, ignore_errors=True)
    return Database(path)

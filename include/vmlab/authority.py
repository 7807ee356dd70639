"""Decides who may open a disk over NFC, by the lab's inventory, sessions, privileges and power states.

The error codes are those of real systems, where these are known; docs/architecture lists the assumptions.
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from vmlab.api import moid, vim
from vmlab.disks import DiskError, split_path
from vmlab.managed.hosts import is_connected, most_nfc_sessions
from vmlab.managed.machine import disks
from vmlab.managed.site import Kind, Site
from vmlab.managed.snapshots import snapshot_refs
from vmlab.managed.vms import block_relocation, unblock_relocation
from vmlab.managed.world import root_folder
from vmlab.nfc import DiskGrant, NfcError

UNKNOWN, INVALID, NOT_FOUND, BUSY, NO_ACCESS, BAD_LOGIN, NO_VM, NO_SNAPSHOT = 1, 3, 4, 5, 13, 35, 4000, 13003
NOT_CONNECTED = 14009
NOT_LICENSED = 16064
"""VDDK's code for a missing licence, and also for a user who may not switch methods off."""
_PROVISIONING, _LEASE = "VirtualMachine.Provisioning", "VirtualMachine.Config.DiskLease"
READ_PRIVILEGES = (f"{_PROVISIONING}.DiskRandomRead", f"{_PROVISIONING}.GetVmFiles", _LEASE)
WRITE_PRIVILEGES = (f"{_PROVISIONING}.DiskRandomAccess", f"{_PROVISIONING}.PutVmFiles", _LEASE)
CRYPTO_PRIVILEGE = "Cryptographer.Access"
DISABLE_PRIVILEGE, ENABLE_PRIVILEGE = "Global.DisableMethods", "Global.EnableMethods"
DEFAULT_SESSION_LIMIT = 50


class SiteAuthority:
    """Answers the NFC service's questions from the site. Several of its threads call at once."""

    def __init__(self, site: Site, thumbprint: str) -> None:
        self._site = site
        self._thumbprint = thumbprint
        self.limit = DEFAULT_SESSION_LIMIT
        self.transports = ""
        """The transports that reach the disks from here, joined by colons, best first. Empty: the network only."""

    @property
    def thumbprint(self) -> str:
        """SHA-1 of the TLS certificate."""
        return self._thumbprint

    def renew_thumbprint(self, thumbprint: str) -> None:
        """Expect the thumbprint of a new certificate from the next call on."""
        self._thumbprint = thumbprint

    @property
    def nfc_session_limit(self) -> int:
        """NFC sessions of one host, whatever its release could serve."""
        return self.limit

    def log_in(self, *, user: str | None, password: str | None, cookie: str | None) -> None:
        """Check credentials, as ConnectEx does."""
        self._user(user, password, cookie)

    def prepare_access(
        self, *, user: str | None, password: str | None, cookie: str | None, vmx_spec: str, identity: str
    ) -> None:
        """Switch RelocateVM_Task of a VM off for everybody, until `end_access` switches it on again."""
        with self._site.world.lock:
            vm = self._held_vm(user, password, cookie, vmx_spec, DISABLE_PRIVILEGE)
            try:
                block_relocation(self._site, vm, identity)
            except vim.fault.MethodAlreadyDisabledFault as fault:
                raise NfcError(BUSY, fault.msg) from fault

    def end_access(
        self, *, user: str | None, password: str | None, cookie: str | None, vmx_spec: str, identity: str
    ) -> None:
        """Switch RelocateVM_Task of a VM on again. Raises NfcError if this identity has not switched it off."""
        with self._site.world.lock:
            vm = self._held_vm(user, password, cookie, vmx_spec, ENABLE_PRIVILEGE)
            if not unblock_relocation(self._site, vm, identity):
                raise NfcError(UNKNOWN, f"{identity} has switched nothing off on {moid(vm)}")

    def _held_vm(
        self, user: str | None, password: str | None, cookie: str | None, vmx_spec: str, privilege: str
    ) -> Any:
        """Return the VM if the user holds the privilege on both the inventory's root and the VM's host."""
        name = self._user(user, password, cookie)
        if not self._site.product.is_vcenter:
            raise NfcError(INVALID, "a host without vCenter switches no methods off")
        vm = self._vm(vmx_spec)
        for place in (root_folder(self._site.world), self._site.world.get(vm, "runtime").host):
            if not self._site.access.allowed(name, place, privilege):
                raise NfcError(NOT_LICENSED, f"{name} lacks {privilege} on {moid(place)}")
        return vm

    def _check_rights(self, user: str, vm: Any, privileges: tuple[str, ...]) -> None:
        config = self._site.world.get(vm, "config")
        encrypted = config is not None and config.keyId is not None
        for privilege in (*privileges, CRYPTO_PRIVILEGE) if encrypted else privileges:
            if not self._site.access.allowed(user, vm, privilege):
                raise NfcError(NO_ACCESS, f"{user} lacks {privilege} on {moid(vm)}")

    def open_disk(
        self, *, user: str | None, password: str | None, cookie: str | None, vmx_spec: str | None,
        snapshot_ref: str | None, path: str, read_only: bool, transports: str,
    ) -> DiskGrant:  # fmt: skip
        """Check one open in the order a vCenter would: login, licence, VM, rights, snapshot, file, lock."""
        name = self._user(user, password, cookie)
        if self._site.product.kind is Kind.FREE_ESXI:
            raise NfcError(NOT_LICENSED, "the free licence lets no program read disks")
        with self._site.world.lock:
            vm = self._vm(vmx_spec)
            if not is_connected(self._site, self._site.world.get(vm, "runtime").host):
                raise NfcError(NOT_CONNECTED, f"the host of {vmx_spec} is not connected")
            self._check_rights(name, vm, READ_PRIVILEGES if read_only else WRITE_PRIVILEGES)
            self._check_link(vm, _plain_path(path), snapshot_ref, read_only=read_only)
            return self._grant(vm, _plain_path(path), read_only=read_only)

    def _grant(self, vm: Any, path: str, *, read_only: bool) -> DiskGrant:
        world = self._site.world
        snapshots = snapshot_refs(world.get(vm, "snapshot"))
        host = world.get(vm, "runtime").host
        return DiskGrant(
            ds_path=path,
            read_only=read_only,
            host=str(world.get(host, "name")),
            most_sessions=most_nfc_sessions(self._site, host),
            has_snapshot=bool(snapshots),
            tracked=bool(world.get(vm, "config").changeTrackingEnabled),
            redo_log=path in self._deltas([vm, *snapshots]),
            older_snapshots=len(snapshots) > 1,
            thin=any(
                backing.fileName == path and bool(getattr(backing, "thinProvisioned", False))
                for backing in self._backings([vm])
            ),
            metadata={"transport": self.transports} if self.transports else {},
        )

    def _user(self, user: str | None, password: str | None, cookie: str | None) -> str:
        if cookie:
            match = re.search(r'(?:vmware_soap_session=)?"?([\w-]+)"?', cookie)
            session = self._site.sessions.find(match.group(1)) if match else None
            if session is not None:
                return session.user
        elif name := self._site.access.authenticate(user or "", password or ""):
            return name
        raise NfcError(BAD_LOGIN, f"login of {user or 'a session'} refused")

    def _vm(self, vmx_spec: str | None) -> Any:
        if not vmx_spec:
            raise NfcError(INVALID, "no vmxSpec given")
        world = self._site.world
        if match := re.fullmatch(r"moref=([\w-]+)", vmx_spec.strip()):
            ref = vim.VirtualMachine(match.group(1))
            if world.exists(ref) and isinstance(world.entry(ref).ref, vim.VirtualMachine):
                return world.entry(ref).ref
        wanted = _vmx_path(vmx_spec)
        for ref in world.all(vim.VirtualMachine):
            if world.get(ref, "config").files.vmPathName == wanted:
                return ref
        raise NfcError(NO_VM, f"{vmx_spec}: no such virtual machine")

    def _check_link(self, vm: Any, path: str, snapshot_ref: str | None, *, read_only: bool) -> None:
        """The rules of locks and snapshots; see docs/architecture/lab-assumptions-vsphere.md."""
        world = self._site.world
        running = world.get(vm, "runtime").powerState == "poweredOn"
        tops = {disk.backing.fileName for disk in disks(world.get(vm, "config"))}
        snapshots = snapshot_refs(world.get(vm, "snapshot"))
        if running and (path in tops or not read_only):
            raise NfcError(UNKNOWN, f"{path} is in use by the running virtual machine")
        if snapshot_ref:
            self._check_snapshot(snapshots, snapshot_ref, path, tops)
        elif path not in tops and snapshots and path in self._links(snapshots):
            raise NfcError(NO_ACCESS, f"{path} belongs to a snapshot, and no snapshotRef was given")
        elif path not in tops and path not in self._links([vm, *snapshots]):
            raise NfcError(self._absent_or_foreign(path), f"{path} is no disk of {moid(vm)}")

    def _check_snapshot(self, snapshots: list[Any], snapshot_ref: str, path: str, tops: set[str]) -> None:
        wanted = snapshot_ref.rpartition("=")[2]
        ref = next((ref for ref in snapshots if moid(ref) == wanted), None)
        if ref is None:
            raise NfcError(NO_SNAPSHOT, f"{snapshot_ref}: no such snapshot of this virtual machine")
        if path not in self._links([ref]) and path not in tops:
            raise NfcError(self._absent_or_foreign(path), f"{path} is not in snapshot {wanted}")

    def _absent_or_foreign(self, path: str) -> int:
        try:
            return NO_ACCESS if self._site.store.path(path).is_file() else NOT_FOUND
        except DiskError as error:
            return error.code

    def _deltas(self, refs: list[Any]) -> set[str]:
        """Return the links that have a parent, of all disks of some VMs and snapshots."""
        return {backing.fileName for backing in self._backings(refs) if getattr(backing, "parent", None) is not None}

    def _links(self, refs: list[Any]) -> set[str]:
        """Return all links, parents included, of all disks of some VMs and snapshots."""
        return {backing.fileName for backing in self._backings(refs)}

    def _backings(self, refs: list[Any]) -> Iterator[Any]:
        for ref in refs:
            for disk in disks(self._site.world.get(ref, "config")):
                backing = disk.backing
                while backing is not None:
                    yield backing
                    backing = backing.parent if hasattr(backing, "parent") else None


def _plain_path(path: str) -> str:
    """`[ds]a/b` and `[ds] a/b` name the same file."""
    found = split_path(path)
    return f"[{found[0]}] {found[1]}" if found else path


def _vmx_path(vmx_spec: str) -> str:
    """`[ds] a/b.vmx`, or `a/b.vmx?dcPath=DC&dsName=ds`, as a datastore path."""
    body, _, query = vmx_spec.partition("?")
    values = dict(part.partition("=")[::2] for part in query.split("&") if part)
    if body.lstrip().startswith("["):
        return _plain_path(body)
    return f"[{unquote(values.get('dsName', ''))}] {unquote(body)}"

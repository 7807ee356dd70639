"""The hook round the copy of a VM's disks, which may e.g. take a snapshot on a storage array: its facts and answer.

A hook is a command, or a Python object that an entry point of the group :data:`GROUP` names. Only the configuration of
the proxy names it, and never a request: a command in a request would let everybody who may start a backup run programs
on the proxy.
"""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import Final, Protocol

from vmkeep.lateclass import dataclass
from vmkeep.model.point import VmIdentity

GROUP: Final = "vmkeep.array_hooks"


class HookEvent(StrEnum):
    """The moment at which a hook runs."""

    BEFORE = "before"
    """The VM's snapshot is taken, and nothing is copied yet."""
    AFTER = "after"
    """No copy runs any more, whether the backup succeeded or failed. It may come more than once for one run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookStore:
    """A datastore that holds files of the VM."""

    name: str
    kind: str
    """vSphere's type of it, e.g. ``VMFS`` or ``NFS``."""
    luns: tuple[str, ...] = ()
    """Canonical names of the LUNs on which it lies, e.g. ``naa.600…``."""
    remote: str = ""
    """``host:/path`` of an NFS export; empty: it is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookDisk:
    """A virtual disk of the VM."""

    key: int
    label: str
    address: str
    """The address at which the guest sees it, e.g. ``scsi0:1``."""
    file: str
    """``[datastore] folder/name.vmdk``."""
    capacity: int
    """Bytes."""
    copied: bool
    lun: str | None = None
    """Canonical name of the LUN that an RDM maps; ``None``: the disk is no RDM, or vSphere does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookFacts:
    """All that a hook is told, on its standard input as one JSON document."""

    version: int = 1
    event: HookEvent
    run: str
    """Run key. It is the same before and after, and another for every try of a backup."""
    vm: VmIdentity
    snapshot: str | None
    """Managed object id of the VM's snapshot; ``None``: the VM is off, and is read without a snapshot."""
    datastores: tuple[HookStore, ...]
    disks: tuple[HookDisk, ...]

    @property
    def luns(self) -> frozenset[str]:
        """The canonical names of all LUNs that the VM's data lies on."""
        stores = (name for store in self.datastores for name in store.luns)
        return frozenset([*stores, *(disk.lun for disk in self.disks if disk.lun is not None)])


@dataclass(frozen=True, slots=True, kw_only=True)
class HookAnswer:
    """The answer of a hook before the copy."""

    luns: dict[str, str] = field(default_factory=dict)
    """Canonical name of a LUN of the VM, and of the LUN on which the proxy sees the array's snapshot of it."""


class ArrayHook(Protocol):
    """A hook in Python. It runs in a process of its own."""

    def before(self, facts: HookFacts) -> HookAnswer | None:
        """Act before the copy. An exception fails the backup."""

    def after(self, facts: HookFacts) -> None:
        """Act after the copy. An exception fails the run, and :meth:`after` is called again later."""

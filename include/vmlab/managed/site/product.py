"""The product that the lab plays: a vCenter of some release, or one ESXi host without vCenter, licensed or free.

A host speaks the same API, with less in it: `NOT_ON_A_HOST` are methods that only a vCenter has. With the free licence
it lets programs read and refuses every change.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from vmlab.api import vim, vmodl
from vmlab.managed.site.roles import SYSTEM

NOT_ON_A_HOST = frozenset(
    {
        "CloneVM_Task", "CreateClusterEx", "CreateCollectorForTasks", "CreateDatacenter", "CreateFolder", "CreateVApp",
        "MarkAsTemplate", "MarkAsVirtualMachine", "MigrateVM_Task", "MoveIntoFolder_Task", "RelocateVM_Task",
    }
)  # fmt: skip
_FREE_MAY = (*SYSTEM, "Datastore.Browse", "Sessions.TerminateSession", "Sessions.ValidateSession")

_FREE_READS = ("SearchDatastore_Task", "SearchDatastoreSubFolders_Task")


class Kind(StrEnum):
    """The kinds of server."""

    VCENTER = "vcenter"
    ESXI = "esxi"
    FREE_ESXI = "free-esxi"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release of vSphere."""

    api: str
    vcenter_build: str
    hardware: int
    """The newest virtual hardware version that its hosts run."""


RELEASES = {
    "7.0.0": Release(api="7.0.0.0", vcenter_build="15952498", hardware=17),
    "8.0.3": Release(api="8.0.3.0", vcenter_build="24322831", hardware=21),
    "9.0.0": Release(api="9.0.0.0", vcenter_build="24755230", hardware=22),
}
DEFAULT_VERSION = "8.0.3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """The kind and version of the server that the lab plays."""

    kind: Kind = Kind.VCENTER
    version: str = DEFAULT_VERSION

    @property
    def is_vcenter(self) -> bool:
        """Whether it is a vCenter, and not a host by itself."""
        return self.kind is Kind.VCENTER

    @property
    def release(self) -> Release:
        """The release, by its version."""
        return RELEASES[self.version]

    def with_free_licence(self, *, free: bool) -> "Product":
        """Return the same host after somebody gave it the free licence, or a paid one."""
        if self.is_vcenter:
            raise ValueError("a vCenter has no free licence")
        return replace(self, kind=Kind.FREE_ESXI if free else Kind.ESXI)

    def user(self, name: str) -> str:
        """The full name of a user of the lab: `backup@vsphere.local`, or `backup` on a host, whose chief is root."""
        if self.is_vcenter:
            return f"{name}@vsphere.local"
        return "root" if name == "administrator" else name

    def takes_user(self, name: str) -> bool:
        """Return whether a grant may make a user of that name. A real server has its users elsewhere."""
        return name.endswith("@vsphere.local") if self.is_vcenter else "@" not in name

    def refusal(self, method: str, privileges: str | None) -> Any:
        """Return the fault by which this product refuses a method, or None.

        `privileges` are those that the tables name for the method, with blanks between them.
        """
        if self.is_vcenter:
            return None
        if method in NOT_ON_A_HOST:
            return vmodl.fault.NotSupported(msg="The operation is not supported on the object.")
        changes = method.endswith("_Task") or any(one not in _FREE_MAY for one in (privileges or "").split())
        if self.kind is Kind.FREE_ESXI and changes and method not in _FREE_READS:
            message = "Current license or ESXi version prohibits execution of the requested operation."
            return vim.fault.RestrictedVersion(msg=message)
        return None

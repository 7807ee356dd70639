"""Disk accesses: ways to a VM's disks. VDDK is built in; others register an entry point.

An entry point of the group ``vmkeep.disk_access`` names a callable that takes a ``Site`` and returns a context manager
of a :class:`DiskAccess`. ``Site.disk_access`` chooses it by name. It is entered on the child's main thread before
there are other threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Final, Protocol, cast

from vmkeep.errors import UsageError
from vmkeep.model.blockio import DiskSource, DiskTarget
from vmkeep.model.site import Site
from vmkeep.vddk.address import DiskAddress, VmAddress
from vmkeep.vddk.session import Vddk, open_vddk
from vmkeep.vddk.timings import CallTiming

if TYPE_CHECKING:
    from vmkeep.model.job import DiskJob, VmAccess, WriteJob  # imported later: nothing heavy comes before VDDK

GROUP: Final = "vmkeep.disk_access"


class DiskAccess(Protocol):
    """A way to open disks."""

    def open_source(self, job: DiskJob) -> AbstractContextManager[DiskSource]:
        """Open the disk of a backup job for reading."""

    def open_target(self, job: WriteJob) -> AbstractContextManager[DiskTarget]:
        """Open the disk of a restore job for writing."""

    def open_written(self, job: WriteJob) -> AbstractContextManager[DiskSource]:
        """Open the disk of a restore job for reading, once it was written and closed."""

    def timings(self) -> tuple[CallTiming, ...]:
        """Return how long its calls took, for the table at the end of the log."""


def open_access(site: Site) -> AbstractContextManager[DiskAccess]:
    """Return the site's disk access, to be entered."""
    if site.disk_access == "vddk":
        return _open_vddk(site)
    from importlib.metadata import entry_points

    for point in entry_points(group=GROUP, name=site.disk_access):
        return cast("AbstractContextManager[DiskAccess]", point.load()(site))
    raise UsageError(f"no disk access is called {site.disk_access!r}; install the package that brings it, or use vddk")


@contextmanager
def _open_vddk(site: Site) -> Iterator[DiskAccess]:
    if site.vddk is None:
        raise UsageError("no VDDK folder is given: set VMKEEP_VDDK to the folder that holds lib64/")
    with open_vddk(site.vddk) as vddk:
        yield VddkAccess(site, vddk)


class VddkAccess:
    """Disks through VDDK; without a vCenter in the site, local files."""

    def __init__(self, site: Site, vddk: Vddk) -> None:
        self._site = site
        self._vddk = vddk

    def open_source(self, job: DiskJob) -> AbstractContextManager[DiskSource]:
        """Open the snapshot's disk for reading."""
        return self._vddk.open_source(
            DiskAddress(
                path=job.disk.file_name,
                vcenter=self._site.vcenter,
                vm=job.vm,
                vm_name=job.vm_name,
                snapshot=job.snapshot,
                transports=job.transports,
            )
        )

    def open_target(self, job: WriteJob) -> AbstractContextManager[DiskTarget]:
        """Open the VM's disk for writing."""
        return self._vddk.open_target(self._target_address(job))

    def open_written(self, job: WriteJob) -> AbstractContextManager[DiskSource]:
        """Open the VM's disk for reading."""
        return self._vddk.open_source(self._target_address(job))

    def prepare_access(self, access: VmAccess) -> None:
        """Keep Storage vMotion off a VM."""
        self._vddk.prepare_access(self._vm_address(access))

    def end_access(self, access: VmAccess) -> None:
        """Allow Storage vMotion of a VM again."""
        self._vddk.end_access(self._vm_address(access))

    def _vm_address(self, access: VmAccess) -> VmAddress:
        if self._site.vcenter is None:
            raise UsageError("no vCenter is given")
        return VmAddress(vcenter=self._site.vcenter, vm=access.vm, vm_name=access.vm_name, identity=access.identity)

    def _target_address(self, job: WriteJob) -> DiskAddress:
        return DiskAddress(
            path=job.target_file,
            vcenter=self._site.vcenter,
            vm=job.vm,
            transports=job.transports,
        )

    def timings(self) -> tuple[CallTiming, ...]:
        """Return how long VDDK's calls took."""
        return self._vddk.timings()

"""Opens the disks of a job through VDDK: finds the address that each job reads or writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from vmkeep.errors import UsageError
from vmkeep.model.blockio import DiskSource, DiskTarget
from vmkeep.model.site import Site
from vmkeep.vddk.diskaddress import DiskAddress, VmAddress
from vmkeep.vddk.folder import require_folder
from vmkeep.vddk.initialised import Vddk, open_vddk
from vmkeep.vddk.timings import CallTiming

if TYPE_CHECKING:
    from vmkeep.model.job import DiskJob, VmAccess, WriteJob  # imported later: nothing heavy comes before VDDK


@contextmanager
def open_access(site: Site) -> Iterator[DiskAccess]:
    """Load VDDK for the disks of a site. Enter this on the main thread, before there are other threads."""
    with open_vddk(require_folder(site.vddk)) as vddk:
        yield DiskAccess(site, vddk)


class DiskAccess:
    """Opens disks through VDDK. A site without a vCenter has local files."""

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
        """Take an access hold on a VM."""
        self._vddk.prepare_access(self._vm_address(access))

    def end_access(self, access: VmAccess) -> None:
        """End an access hold on a VM."""
        self._vddk.end_access(self._vm_address(access))

    def _vm_address(self, access: VmAccess) -> VmAddress:
        if self._site.vcenter is None:
            raise UsageError("no vCenter is given")
        return VmAddress(vcenter=self._site.vcenter, vm=access.vm, identity=access.identity)

    def _target_address(self, job: WriteJob) -> DiskAddress:
        return DiskAddress(
            path=job.target_file,
            vcenter=self._site.vcenter,
            vm=job.vm,
            transports=job.transports,
        )

    def timings(self) -> tuple[CallTiming, ...]:
        """Return the times of VDDK's calls."""
        return self._vddk.timings()

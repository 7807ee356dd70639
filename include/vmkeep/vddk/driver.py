"""VDDK as a disk driver: finds the address that each job reads or writes. The door of this package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vmkeep.errors import UsageError
from vmkeep.model.blockio import DiskSource, DiskTarget
from vmkeep.model.diskaccess import AccessLimits, CallTiming, DiskAccess, DriverProbe, Launch
from vmkeep.model.site import Site
from vmkeep.vddk.diskaddress import DiskAddress, VmAddress
from vmkeep.vddk.folder import LIBRARY_LOG, find_library, require_folder
from vmkeep.vddk.initialised import Vddk, open_vddk
from vmkeep.vddk.logs import keep_lines
from vmkeep.vddk.machine import require_machine
from vmkeep.vddk.symbols import SYMBOLS

if TYPE_CHECKING:
    from vmkeep.model.access import VmAccess
    from vmkeep.model.job import DiskJob, WriteJob  # imported later: nothing heavy comes before VDDK

MACHINE: Final = Path("/")
"""Root folder of the machine on which VDDK's needs are checked."""


class VddkDriver:
    """VMware's library, or a replacement with the same functions."""

    rank = 10
    holds = True

    def require(self, site: Site) -> Launch:
        """Return the library's file and version.

        :raises UsageError: the site names no folder, it holds no usable library, or the library crashes here.
        """
        file = find_library(require_folder(site.vddk))
        require_machine(file, root=MACHINE)
        stamps = (file.path.stat().st_mtime_ns, file.path.parent.stat().st_mtime_ns)
        return Launch(
            library="VDDK",
            version=file.version,
            folder=str(file.folder),
            library_path=file.library_path,
            log=LIBRARY_LOG,
            stamp=f"{file.path} {stamps}",
        )

    @contextmanager
    def open(self, site: Site, *, black_box: int | None) -> Iterator[DiskAccess]:
        """Load VDDK for the disks of a site."""
        if black_box is not None:
            keep_lines(black_box)
        with open_vddk(require_folder(site.vddk)) as vddk:
            yield VddkAccess(site, vddk)


class VddkAccess:
    """Opens disks through VDDK. A site without a vCenter has local files."""

    limits = AccessLimits(best_write=1 << 20)
    """VMware advises requests of 1 to 2 MiB: larger ones exhaust the memory of a host's NFC service."""

    def __init__(self, site: Site, vddk: Vddk) -> None:
        self._site = site
        self._vddk = vddk

    def probe(self, launch: Launch) -> DriverProbe:
        """Return the abilities of the library."""
        present = tuple(name for name in SYMBOLS if self._vddk.library.has(name))
        return DriverProbe(
            launch=launch,
            transports=self._vddk.transports(),
            functions=present,
            missing=tuple(name for name in SYMBOLS if name not in present),
        )

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

    def timings(self) -> tuple[CallTiming, ...]:
        """Return the times of VDDK's calls."""
        return self._vddk.timings()

    def _vm_address(self, access: VmAccess) -> VmAddress:
        if self._site.vcenter is None:
            raise UsageError("no vCenter is given")
        return VmAddress(vcenter=self._site.vcenter, vm=access.vm, identity=access.identity)

    def _target_address(self, job: WriteJob) -> DiskAddress:
        return DiskAddress(
            path=job.snapshot_file or job.target_file,
            vcenter=self._site.vcenter,
            vm=job.vm,
            snapshot=job.snapshot,
            transports=job.transports,
        )


VDDK: Final = VddkDriver()

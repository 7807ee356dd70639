"""The disk driver that reads LUNs. It is used only for a disk whose job names a LUN, and never writes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vmkeep.errors import UnsupportedError
from vmkeep.model.blockio import DiskSource, DiskTarget
from vmkeep.model.diskaccess import AccessLimits, CallTiming, DiskAccess, DriverProbe, Launch
from vmkeep.model.lun import DRIVER
from vmkeep.model.site import Site
from vmkeep.proxy.lundevice import IsDevice, open_lun
from vmkeep.proxy.lunreader import LunSource, ReadTimes
from vmkeep.proxy.machine import MACHINE

if TYPE_CHECKING:
    from vmkeep.model.job import DiskJob, WriteJob


class LunDriver:
    """Reads block devices of this machine."""

    rank = None
    """No rank, because it reads only disks whose job names a LUN."""
    holds = False

    def __init__(self, root: Path = MACHINE, is_device: IsDevice = stat.S_ISBLK) -> None:
        self._root = root
        self._is_device = is_device

    def require(self, _site: Site) -> Launch:
        """Return the kernel, which is all that this driver needs."""
        return Launch(library="Linux block devices", version=os.uname().release)

    @contextmanager
    def open(self, _site: Site, *, black_box: int | None) -> Iterator[DiskAccess]:
        """Start the driver. It has no library whose last lines the black box would hold."""
        del black_box
        yield LunAccess(self._root, self._is_device)


class LunAccess:
    """Opens LUNs for reading."""

    limits = AccessLimits()

    def __init__(self, root: Path, is_device: IsDevice) -> None:
        self._root = root
        self._is_device = is_device
        self._times = ReadTimes()

    def probe(self, launch: Launch) -> DriverProbe:
        """Return the abilities of the driver."""
        return DriverProbe(launch=launch, transports=(DRIVER,))

    @contextmanager
    def open_source(self, job: DiskJob) -> Iterator[DiskSource]:
        """Open the LUN of a physical RDM.

        :raises UnsupportedError: the disk's job names no LUN.
        """
        if job.lun is None:
            raise UnsupportedError(f"{job.disk.label}: the disk driver {DRIVER} reads only LUNs of physical RDMs")
        with open_lun(job.lun.name, capacity=job.disk.capacity, root=self._root, is_device=self._is_device) as opened:
            yield LunSource(opened, self._times)

    def open_target(self, job: WriteJob) -> AbstractContextManager[DiskTarget]:
        """Refuse to write, because a LUN may be in use by others than the VM."""
        raise UnsupportedError(f"{job.target_file}: the disk driver {DRIVER} only reads")

    def open_written(self, job: WriteJob) -> AbstractContextManager[DiskSource]:
        """Refuse, because nothing was written."""
        raise UnsupportedError(f"{job.target_file}: the disk driver {DRIVER} only reads")

    def timings(self) -> tuple[CallTiming, ...]:
        """Return the times of the reads."""
        return (self._times.row(),)


LUN: Final = LunDriver()

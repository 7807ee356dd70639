"""The contract of a disk driver, which is one way to a VM's disks.

A driver has two halves. The worker asks :meth:`DiskDriver.require` whether the driver can work, which loads nothing.
Then a child process opens the driver, and with it the disks of its job. Nothing above a driver knows more of it than
this module tells. :mod:`vmkeep.transfer.drivers` finds the drivers and chooses one.

The verbs that every driver has, and the part of the contract that each is:

| verb | part |
|---|---|
| open | :meth:`DiskAccess.open_source`, :meth:`~DiskAccess.open_target`, :meth:`~DiskAccess.open_written` |
| info | ``capacity`` and ``transport`` of the open disk |
| allocated | ``allocated`` of the open disk |
| read, write | :meth:`vmkeep.model.blockio.DiskSource.open_reader`, :meth:`vmkeep.model.blockio.DiskTarget.write` |
| limits | :attr:`DiskAccess.limits` |
| close | the end of the ``with`` block that opened the disk |
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from vmkeep.lateclass import dataclass
from vmkeep.model.blockio import DiskSource, DiskTarget
from vmkeep.model.site import Site

if TYPE_CHECKING:
    from vmkeep.model.access import VmAccess
    from vmkeep.model.job import DiskJob, WriteJob  # imported later: nothing heavy comes before a library


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTiming:
    """A row of the table of calls at the end of a transfer's log."""

    name: str
    calls: int
    seconds: float
    """Seconds of all calls together."""
    longest: float
    """Seconds of the longest call."""
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessLimits:
    """The most that a driver takes at once, and the best write. A transfer asks for no more than this."""

    largest_piece: int | None = None
    """Bytes of one read; ``None``: any number. A transfer reads whole blocks of the repository, so a driver that takes
    less than a block (256 KiB by default) has to split the read itself."""
    most_in_flight: int | None = None
    """Reads of one disk that may be in flight; ``None``: any number."""
    best_write: int | None = None
    """Bytes up to which neighbouring blocks are better written at once; ``None``: a write costs nothing by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Everything that a child process needs to start with a driver, found without loading the driver's library."""

    library: str
    """Name of the driver's library, as the table of calls shows it."""
    version: str
    folder: str = ""
    """Folder of the library; empty: the driver has none."""
    library_path: str = ""
    """Folder that has to come first in LD_LIBRARY_PATH when the child starts; empty: none."""
    log: str = ""
    """Name of the logger that gets the library's own lines."""
    stamp: str = ""
    """A value that changes when somebody replaces the library's files."""

    @property
    def title(self) -> str:
        """The library as messages name it."""
        return f"{self.library} {self.version}" + (f" at {self.folder}" if self.folder else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverProbe:
    """The abilities of a driver that starts on this machine."""

    launch: Launch
    transports: tuple[str, ...] = ()
    """Transport modes of its library, in the library's order; empty: the driver cannot tell."""
    functions: tuple[str, ...] = ()
    """Functions of the library that vmkeep uses and the library has."""
    missing: tuple[str, ...] = ()
    """Optional functions that the library lacks; vmkeep works without them."""


class DiskAccess(Protocol):
    """A started driver in a child process. It opens the disks of the child's job."""

    @property
    def limits(self) -> AccessLimits:
        """The most that a transfer may ask for at once."""

    def probe(self, launch: Launch) -> DriverProbe:
        """Return the driver's abilities."""

    def open_source(self, job: DiskJob) -> AbstractContextManager[DiskSource]:
        """Open the disk of a backup job, as its snapshot holds it, for reading."""

    def open_target(self, job: WriteJob) -> AbstractContextManager[DiskTarget]:
        """Open the disk of a restore job for writing."""

    def open_written(self, job: WriteJob) -> AbstractContextManager[DiskSource]:
        """Open the disk of a restore job for reading, after it was written and closed."""

    def timings(self) -> tuple[CallTiming, ...]:
        """Return the times of the driver's calls so far. A rising number of calls is a sign of life."""


@runtime_checkable
class HoldingAccess(Protocol):
    """A started driver that can keep Storage vMotion off a VM. A driver that needs no such hold lacks these methods."""

    def prepare_access(self, access: VmAccess) -> None:
        """Take an access hold on a VM."""

    def end_access(self, access: VmAccess) -> None:
        """End an access hold on a VM."""


class DiskDriver(Protocol):
    """A way to the disks of VMs, as the worker sees it before a child is started."""

    @property
    def rank(self) -> int | None:
        """Place in the order of drivers, the lowest first; ``None``: the driver is used only if the site names it."""

    @property
    def holds(self) -> bool:
        """Whether its access is a :class:`HoldingAccess`."""

    def require(self, site: Site) -> Launch:
        """Return what a child needs to start with this driver. Load nothing.

        :raises VmKeepError: the driver cannot work on this machine or site. The message tells the reason.
        """

    def open(self, site: Site, *, black_box: int | None) -> AbstractContextManager[DiskAccess]:
        """Start the driver. It is entered on the child's main thread, before there are other threads.

        :param black_box: file descriptor of a :class:`vmkeep.blackbox.BlackBox` for the library's last lines.
        """

"""Holds VDDK from InitEx to Exit: once in a process, on its main thread, before there are other threads."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from vmkeep.model.diskaccess import CallTiming
from vmkeep.vddk import logs
from vmkeep.vddk.codes import make_error
from vmkeep.vddk.config import open_config
from vmkeep.vddk.diskaddress import DiskAddress, VmAddress
from vmkeep.vddk.folder import LibraryFile, find_library
from vmkeep.vddk.library import Library
from vmkeep.vddk.opendisk import VddkSource, VddkTarget, open_source, open_target
from vmkeep.vddk.ownerthread import OwnerThread
from vmkeep.vddk.preparing import end_access, prepare_access
from vmkeep.vddk.timeouts import Patience

_log = logging.getLogger(__name__)
_ASKED_VERSION: Final = (6, 5)
"""The API version that this binding asks for. Every later library accepts it, and loses no ability by it."""


class Vddk:
    """An initialised library, and the one thread that opens and closes its disks."""

    def __init__(self, library: Library, opener: OwnerThread) -> None:
        self.library = library
        self._opener = opener

    @property
    def file(self) -> LibraryFile:
        """The library's file and version."""
        return self.library.file

    @property
    def lost(self) -> bool:
        """A call never returned, so that the process has to end without waiting for the library."""
        return self.library.lost

    def open_source(self, address: DiskAddress, *, patience: float | None = None) -> AbstractContextManager[VddkSource]:
        """Open a disk for reading.

        :param patience: seconds for each step; ``None``: the usual time-out of each step.
        """
        return open_source(self.library, self._opener, address, patience=_patience(patience))

    def open_target(self, address: DiskAddress, *, patience: float | None = None) -> AbstractContextManager[VddkTarget]:
        """Open a disk for writing, in the way of :meth:`open_source`."""
        return open_target(self.library, self._opener, address, patience=_patience(patience))

    def prepare_access(self, address: VmAddress, *, patience: float | None = None) -> None:
        """Take an access hold on a VM. It lasts until :meth:`end_access` with this identity, in any process."""
        prepare_access(self.library, self._opener, address, patience=_patience(patience).access)

    def end_access(self, address: VmAddress, *, patience: float | None = None) -> None:
        """End an access hold on a VM."""
        end_access(self.library, self._opener, address, patience=_patience(patience).access)

    def transports(self) -> tuple[str, ...]:
        """Return the transport modes of this machine and library; empty: the library cannot tell."""
        if not self.library.has("ListTransportModes"):
            return ()
        text: bytes | None = self.library.call("ListTransportModes")
        return tuple(filter(None, (text or b"").decode().split(":")))

    def timings(self) -> tuple[CallTiming, ...]:
        """Return the times of all calls so far."""
        return self.library.timings.rows()


@contextmanager
def open_vddk(folder: str | Path) -> Iterator[Vddk]:
    """Load and initialise VDDK from its distribution folder.

    LD_LIBRARY_PATH must have begun with the folder's ``lib64`` when the process started.

    :raises UsageError: the folder holds no usable library.
    :raises VddkError: InitEx failed.
    """
    library = Library(find_library(folder))
    with open_config() as config:
        _init(library, config)
        _log.debug("VDDK %s from %s", library.file.version, library.file.folder)
        opener = OwnerThread("vddk opens and closes")  # after InitEx, because VMware demands that for all threads
        try:
            yield Vddk(library, opener)
        finally:
            if not library.lost:
                opener.close(patience=Patience().closing)
                library.call("Exit")


def _patience(seconds: float | None) -> Patience:
    return Patience() if seconds is None else Patience.within(seconds)


def _init(library: Library, config: Path) -> None:
    file = library.file
    error = 0
    for major, minor in (_ASKED_VERSION, (file.major, 0)):
        error = library.call("InitEx", major, minor, logs.LOG, logs.WARN, logs.PANIC, bytes(file.folder), bytes(config))
        if not error:
            return
    raise make_error(error, library.error_text(error), doing=f"initialising VDDK {file.version} at {file.folder}")

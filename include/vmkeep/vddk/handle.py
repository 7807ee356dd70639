"""Opens one disk on a connection of its own, and makes all calls on it. They run on one thread and count in sectors.

Closing does every step, even if one fails: Close, Disconnect, Cleanup. A failed step is only a warning, because by then
the data has been read or flushed.
"""

from __future__ import annotations

import ctypes
import logging
from array import array
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from vmkeep.errors import VddkError, VmKeepError
from vmkeep.model.transport import TransportMode
from vmkeep.vddk.codes import METADATA_KEY_NOT_FOUND, UNKNOWN
from vmkeep.vddk.connectparams import forget_vm, open_params
from vmkeep.vddk.diskaddress import DiskAddress, second_try
from vmkeep.vddk.library import Library
from vmkeep.vddk.pendingcalls import COMPLETION, PendingCall
from vmkeep.vddk.structures import ASYNC_ACCEPTED, OPEN_READ_ONLY, SECTOR, Info

_log = logging.getLogger(__name__)


class Handle:
    """An open disk."""

    def __init__(self, library: Library, pointer: ctypes.c_void_p, address: DiskAddress) -> None:
        self.library = library
        self.address = address
        self._disk = pointer
        # None: not known before the first try, because a library may have the function and refuse to use it.
        self.can_read_async: bool | None = None if library.has("ReadAsync") else False
        self.can_write_async: bool | None = None if library.has("WriteAsync") else False
        self.sectors = self._read_capacity()
        self.transport = self._read_transport()

    def read(self, start: int, count: int, memory: int) -> None:
        """Read sectors synchronously into memory at an address."""
        doing = f"reading {self.where(start, count)}"
        self.library.check("Read", self._disk, start, count, memory, doing=doing, size=count * SECTOR)

    def write(self, start: int, count: int, memory: int) -> None:
        """Write sectors synchronously from memory at an address."""
        doing = f"writing {self.where(start, count)}"
        self.library.check("Write", self._disk, start, count, memory, doing=doing, size=count * SECTOR)

    def read_async(self, start: int, count: int, memory: int, request: PendingCall) -> int:
        """Begin a read. Return 0 if the library accepted it, else the error. The callback finishes ``request``."""
        return self._begin("ReadAsync", start, count, memory, request)

    def write_async(self, start: int, count: int, memory: int, request: PendingCall) -> int:
        """Begin a write, in the way of :meth:`read_async`."""
        return self._begin("WriteAsync", start, count, memory, request)

    def _begin(self, name: str, start: int, count: int, memory: int, request: PendingCall) -> int:
        size = count * SECTOR if name == "WriteAsync" else 0  # reads are counted when they are done
        error: int = self.library.call(name, self._disk, start, count, memory, COMPLETION, request.number, size=size)
        if error == ASYNC_ACCEPTED:
            return 0
        request.refuse()
        # 0 is no success of an asynchronous call, because nobody can tell whether the callback will come.
        return error or 1

    def wait(self) -> None:
        """Return once every asynchronous call on the handle has completed."""
        if self.library.has("Wait"):
            self.library.check("Wait", self._disk, doing=f"waiting for requests on {self.address.title}")

    def flush(self) -> None:
        """Return once all writes are durable."""
        self.library.check("Flush", self._disk, doing=f"flushing {self.address.title}")

    def query_allocated(self, start: int, count: int, chunk: int) -> array[int]:
        """Return the allocated areas as a flat array of (start, count), in sectors."""
        out = ctypes.c_void_p()
        doing = f"asking for the allocated blocks of {self.where(start, count)}"
        self.library.check("QueryAllocatedBlocks", self._disk, start, count, chunk, ctypes.byref(out), doing=doing)
        runs: array[int] = array("Q")
        if out.value:
            # u32 numBlocks, 4 bytes of padding, then pairs of u64.
            blocks = ctypes.c_uint32.from_address(out.value).value
            runs.frombytes(ctypes.string_at(out.value + 8, blocks * 16))
            if self.library.has("FreeBlockList"):
                self.library.call("FreeBlockList", out)
        return runs

    def metadata(self) -> dict[str, str]:
        """Return the disk's metadata (``ddb`` keys); empty: the library cannot tell."""
        if not (self.library.has("GetMetadataKeys") and self.library.has("ReadMetadata")):
            return {}
        doing = f"reading the metadata of {self.address.title}"
        text = self._sized("GetMetadataKeys", doing=doing)
        found: dict[str, str] = {}
        for key in filter(None, text.split(b"\0")):
            value = self._sized("ReadMetadata", key, doing=doing, absent=METADATA_KEY_NOT_FOUND)
            found[key.decode("utf-8", "replace")] = value.rstrip(b"\0").decode("utf-8", "replace")
        return found

    def write_metadata(self, key: str, value: str) -> None:
        """Set one key of the disk's metadata."""
        doing = f"setting metadata {key} of {self.address.title}"
        self.library.check("WriteMetadata", self._disk, key.encode(), value.encode(), doing=doing)

    def where(self, start: int, count: int) -> str:
        """Return the words for a range in messages, in bytes."""
        return f"{count * SECTOR} bytes at byte {start * SECTOR} of {self.address.title}"

    def _sized(self, name: str, *arguments: bytes, doing: str, absent: int = -1) -> bytes:
        """Call a function twice: first for the size of its answer, ignoring the error, and then for the answer."""
        size = ctypes.c_size_t(0)
        error = self.library.call(name, self._disk, *arguments, None, 0, ctypes.byref(size))
        if size.value == 0 or error & 0xFFFF == absent:
            return b""
        buffer = ctypes.create_string_buffer(size.value)
        self.library.check(name, self._disk, *arguments, buffer, size.value, ctypes.byref(size), doing=doing)
        return buffer.raw

    def _read_capacity(self) -> int:
        out = ctypes.POINTER(Info)()
        doing = f"asking for the size of {self.address.title}"
        self.library.check("GetInfo", self._disk, ctypes.byref(out), doing=doing)
        capacity = int(out.contents.capacity)
        self.library.call("FreeInfo", out)
        return capacity

    def _read_transport(self) -> str:
        if not self.library.has("GetTransportMode"):
            return "unknown"
        name: bytes | None = self.library.call("GetTransportMode", self._disk)
        return name.decode() if name else "unknown"


@contextmanager
def open_handle(library: Library, address: DiskAddress, *, read_only: bool) -> Iterator[Handle]:
    """Connect and open a disk. On leaving, close it in VDDK's order. Enter and leave on the opener's thread."""
    with ExitStack() as steps:
        try:
            handle = steps.enter_context(_open_once(library, address, read_only=read_only))
        except VddkError as error:
            other = second_try(address) if error.code == UNKNOWN else None
            if other is None:
                raise
            handle = steps.enter_context(_open_again(library, other, error, read_only=read_only))
        yield handle


@contextmanager
def _open_again(library: Library, address: DiskAddress, first: VddkError, *, read_only: bool) -> Iterator[Handle]:
    """Try once more with the SHA-256 thumbprint. If that fails too, raise the first error."""
    with ExitStack() as steps:
        try:
            handle = steps.enter_context(_open_once(library, address, read_only=read_only))
        except VmKeepError as error:
            _log.debug("with the certificate's SHA-256: %s", error)
            raise first from error
        _log.info("%s: VDDK takes the certificate's SHA-256, and not its SHA-1", address.title)
        yield handle


@contextmanager
def _open_once(library: Library, address: DiskAddress, *, read_only: bool) -> Iterator[Handle]:
    with ExitStack() as steps:
        params = steps.enter_context(open_params(library, address))
        if address.vcenter is not None and TransportMode.HOTADD in address.transports:
            steps.callback(_cleanup, library, address, params)
        connection = ctypes.c_void_p()
        library.check(
            "ConnectEx",
            params,
            read_only,
            address.snapshot.encode() if address.snapshot else None,
            ":".join(address.transports).encode() or None,
            ctypes.byref(connection),
            doing=f"connecting to {address.vcenter.host if address.vcenter else 'the local disk'} for {address.title}",
            if_unknown="a wrong thumbprint ends like this",
        )
        steps.callback(_attempt, library, "Disconnect", address, connection)
        disk = ctypes.c_void_p()
        library.check(
            "Open",
            connection,
            address.path.encode(),
            OPEN_READ_ONLY if read_only else 0,
            ctypes.byref(disk),
            doing=f"opening {address.title} for {'reading' if read_only else 'writing'}",
            if_unknown="a wrong thumbprint, or the base disk of a running VM without a snapshot, ends like this",
        )
        steps.callback(_attempt, library, "Close", address, disk)
        yield Handle(library, disk, address)


def _cleanup(library: Library, address: DiskAddress, params: Any) -> None:
    """Detach disks that HotAdd left on this proxy, from this copy or from a dead one."""
    if library.has("Cleanup"):
        forget_vm(params)
        _attempt(library, "Cleanup", address, params, None, None)


def _attempt(library: Library, name: str, address: DiskAddress, *arguments: Any) -> None:
    if library.lost:
        return  # the garbage collector closes an abandoned disk, and the call would hang on its thread
    try:
        library.check(name, *arguments, doing=f"{name} after {address.title}")
    except VmKeepError as error:
        _log.warning("%s", error)

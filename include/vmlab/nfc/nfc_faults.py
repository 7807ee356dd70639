"""Faults that a test plants in the NFC service, and the count of their uses."""

import threading
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class NfcFault:
    """An error or a pause that opens and requests will meet."""

    code: int = 0
    """The code that the call returns. 0 with ``hang_seconds`` only delays the call."""
    on: Literal["connect", "prepare", "end", "open", "query", "read", "write", "io"] = "io"
    after_bytes: int = 0
    """The first requests of a handle pass, up to this many bytes since the fault was planted."""
    after_requests: int = 0
    """The number of requests of a handle that pass first."""
    count: int | None = 1
    """The number of calls that fail, over all handles. ``None``: until the fault is cleared."""
    hang_seconds: float = 0.0
    disk: str = ""
    """A part of the datastore path of the disks that meet it; of the vmxSpec for calls that name only a VM."""

    @property
    def is_of_io(self) -> bool:
        """Whether requests on open disks meet it, and not calls that connect, prepare or open."""
        return self.on in {"query", "read", "write", "io"}


class FaultBoard:
    """The planted faults. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cleared = threading.Condition(self._lock)
        self._faults: dict[int, NfcFault] = {}
        self._fired: dict[int, int] = {}
        self._next = 1

    def add(self, fault: NfcFault) -> int:
        """Plant a fault; returns its number."""
        with self._lock:
            number, self._next = self._next, self._next + 1
            self._faults[number] = fault
            return number

    def clear(self) -> None:
        """Take all faults away. Calls that hang go on."""
        with self._cleared:
            self._faults.clear()
            self._cleared.notify_all()

    def matching(self, ds_path: str) -> dict[int, NfcFault]:
        """Return the faults that I/O on a disk may meet, by number."""
        with self._lock:
            return {n: fault for n, fault in self._faults.items() if fault.is_of_io and fault.disk in ds_path}

    def at_call(self, call: str, what: str) -> int:
        """Return the code that a call other than I/O gives, or 0. Pauses as the fault says."""
        with self._lock:
            numbers = [n for n, fault in self._faults.items() if fault.on == call and fault.disk in what]
        return next((code for number in numbers if (code := self.fire(number)[0])), 0)

    def fire(self, number: int) -> tuple[int, bool]:
        """Use a fault once. Returns the code to give (0 if it is used up or cleared) and whether it is over."""
        with self._cleared:
            fault = self._faults.get(number)
            if fault is None:
                return 0, True
            used = self._fired[number] = self._fired.get(number, 0) + 1
            over = fault.count is not None and used >= fault.count
            if over:
                del self._faults[number]
            if fault.hang_seconds:
                self._cleared.wait(timeout=fault.hang_seconds)
            return fault.code, over

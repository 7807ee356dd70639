"""Faults a test plants in the NFC service, and who has used them up."""

import threading
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class NfcFault:
    """An error, or a pause, that opens and requests will meet."""

    code: int = 0
    """What the call gives; 0 with ``hang_seconds`` only delays it."""
    on: Literal["connect", "prepare", "end", "open", "query", "read", "write", "io"] = "io"
    after_bytes: int = 0
    """Requests that stay within this many bytes of their handle, counted from the injection, pass."""
    after_requests: int = 0
    """This many requests of a handle pass first."""
    count: int | None = 1
    """How many calls fail, over all handles; ``None`` means until cleared."""
    hang_seconds: float = 0.0
    disk: str = ""
    """Only disks whose datastore path contains this; for calls that name a VM only, its vmxSpec."""

    @property
    def is_of_io(self) -> bool:
        """Whether requests on open disks meet it, and not a call that connects, prepares or opens."""
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
        """Take all faults away; whoever hangs goes on."""
        with self._cleared:
            self._faults.clear()
            self._cleared.notify_all()

    def matching(self, ds_path: str) -> dict[int, NfcFault]:
        """Return the faults that I/O on a disk may meet, by number."""
        with self._lock:
            return {n: fault for n, fault in self._faults.items() if fault.is_of_io and fault.disk in ds_path}

    def at_call(self, call: str, what: str) -> int:
        """Return the code that a call gives which is no I/O, 0 for none; pauses as the fault says."""
        with self._lock:
            numbers = [n for n, fault in self._faults.items() if fault.on == call and fault.disk in what]
        return next((code for number in numbers if (code := self.fire(number)[0])), 0)

    def fire(self, number: int) -> tuple[int, bool]:
        """Use a fault once: the code to give (0 when it is used up or cleared), and whether it is over."""
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

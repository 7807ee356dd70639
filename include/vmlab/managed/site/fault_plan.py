"""Planned faults: the calls that are to fail, wait, be cut off, or be answered 503, and how often.

A control call fills the plan, and the dispatcher asks it once per call. Refuses to know what a method does.
"""

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from vmlab.api import fault_named


@dataclass(slots=True, kw_only=True)
class Injection:
    """Instruction for the next `count` calls of `method` (`*`: any): first wait `delay` seconds, then do the rest."""

    method: str
    fault: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    """The fields of the fault by name: plain values, ids of managed objects, JSON objects for data objects."""
    message: str = ""
    count: int = 1
    delay: float = 0.0
    drop: bool = False
    after: bool = False
    """Do the work first, then fail: only the answer is lost."""
    status: int | None = None
    restart: bool = False
    """Restart the vCenter first: sessions end and tasks are forgotten, but their work goes on."""
    effect: str | None = None

    def make_fault(self) -> Any:
        """Return the fault to raise. Raises ValueError if no fault has that name or a field does not fit."""
        text = self.message or f"{self.fault} injected into {self.method}"
        return fault_named(self.fault or "SystemError", text, self.fields)


class FaultPlan:
    """Pending injections and the count of calls by method."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._pending: list[Injection] = []
        self._cleared = threading.Event()
        self.calls: Counter[str] = Counter()

    def add(self, injection: Injection) -> None:
        """Plan an injection. Raises ValueError at once for a fault that cannot be made."""
        if injection.fields and injection.fault is None:
            raise ValueError("fields belong to a fault: name the fault, too")
        if injection.fault is not None:
            injection.make_fault()
        with self._guard:
            self._pending.append(injection)

    def take(self, method: str) -> Injection | None:
        """Count the call, and use up and return the injection that meets it."""
        with self._guard:
            self.calls[method] += 1
            for injection in self._pending:
                if injection.method in (method, "*") and injection.effect is None:
                    return self._use(injection)
        return None

    def take_effect(self, effect: str) -> bool:
        """Return whether a behaviour has to go wrong in a way of its own. Each time uses up one of the count."""
        with self._guard:
            for injection in self._pending:
                if injection.effect == effect:
                    self._use(injection)
                    return True
        return False

    def wait(self, injection: Injection) -> None:
        """Wait as long as an injection says, but not beyond the next `clear`."""
        with self._guard:
            cleared = self._cleared
        if injection.delay:
            cleared.wait(injection.delay)

    def clear(self) -> None:
        """Forget all pending injections, and end the waiting of those that were used up."""
        with self._guard:
            self._pending.clear()
            self._cleared.set()
            self._cleared = threading.Event()

    def _use(self, injection: Injection) -> Injection:
        injection.count -= 1
        if injection.count <= 0:
            self._pending.remove(injection)
        return injection

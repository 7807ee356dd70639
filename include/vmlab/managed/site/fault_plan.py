"""Faults on demand: which calls are to fail, wait, be cut off, or be answered 503, and how often.

The control call fills the plan; the dispatcher asks it once per call. Refuses to know what a method does.
"""

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from vmlab.api import fault_named


@dataclass(slots=True, kw_only=True)
class Injection:
    """What to do to the next `count` calls of `method` (`*`: any): wait `delay` seconds, then one of the others."""

    method: str
    fault: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    """Of the fault, by name: plain values, ids of managed objects, JSON objects for data objects."""
    message: str = ""
    count: int = 1
    delay: float = 0.0
    drop: bool = False
    after: bool = False
    """Do the work first, then fail: the reply is lost, not the deed."""
    status: int | None = None
    restart: bool = False
    """The vCenter is restarted first: sessions end, tasks are forgotten, and what they do goes on."""
    effect: str | None = None

    def make_fault(self) -> Any:
        """The fault to raise. Raises ValueError for a name that is none, and for a field that does not fit."""
        text = self.message or f"{self.fault} injected into {self.method}"
        return fault_named(self.fault or "SystemError", text, self.fields)


class FaultPlan:
    """Pending injections and the count of calls by method."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._pending: list[Injection] = []
        self.calls: Counter[str] = Counter()

    def add(self, injection: Injection) -> None:
        """Plan an injection; a fault that cannot be is refused now. Raises ValueError."""
        if injection.fields and injection.fault is None:
            raise ValueError("fields are those of a fault: name it, too")
        if injection.fault is not None:
            injection.make_fault()
        with self._guard:
            self._pending.append(injection)

    def take(self, method: str) -> Injection | None:
        """Count the call; the injection that meets it, used up by one."""
        with self._guard:
            self.calls[method] += 1
            for injection in self._pending:
                if injection.method in (method, "*") and injection.effect is None:
                    return self._use(injection)
        return None

    def take_effect(self, effect: str) -> bool:
        """Whether a behaviour is asked to go wrong in its own special way, once per count."""
        with self._guard:
            for injection in self._pending:
                if injection.effect == effect:
                    self._use(injection)
                    return True
        return False

    def clear(self) -> None:
        """Forget all pending injections."""
        with self._guard:
            self._pending.clear()

    def _use(self, injection: Injection) -> Injection:
        injection.count -= 1
        if injection.count <= 0:
            self._pending.remove(injection)
        return injection

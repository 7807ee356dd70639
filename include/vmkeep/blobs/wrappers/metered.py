"""Counts the calls to a store, with their bytes, seconds and errors, by verb, for reports and log lines."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

from vmkeep.blobs.store import BlobInfo, BlobStore, Bytes
from vmkeep.blobs.wrappers.wrapping import WrappingStore
from vmkeep.errors import BlobNotFoundError, ConflictError
from vmkeep.lateclass import dataclass

T = TypeVar("T")

_ANSWERS = (BlobNotFoundError, ConflictError)
"""Errors that are a regular answer of the store and no failure."""
_MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class VerbMeter:
    """The counts of one verb, which is a method of the store."""

    verb: str
    calls: int = 0
    bytes_moved: int = 0
    seconds: float = 0.0
    """The sum of all calls' times. Calls may overlap, so it can exceed the time that has passed."""
    errors: int = 0
    """Number of calls that failed. An answer that a blob is missing, or has other content, is no failure."""

    def __str__(self) -> str:
        """Return the counts as text, e.g. ``put 12 (700.1 MiB, 3.2 s)``."""
        moved = f"{self.bytes_moved / _MIB:.1f} MiB, " if self.bytes_moved else ""
        failed = f", {self.errors} failed" if self.errors else ""
        return f"{self.verb} {self.calls} ({moved}{self.seconds:.1f} s{failed})"


class Meter:
    """The counts of one store. Thread-safe. It adds one or two microseconds to each call."""

    def __init__(self) -> None:
        self._verbs: dict[str, VerbMeter] = {}
        self._lock = threading.Lock()

    def report(self) -> tuple[VerbMeter, ...]:
        """Return the counts of every verb that was used, in the order of their first use."""
        with self._lock:
            return tuple(self._verbs.values())

    def __str__(self) -> str:
        """Return all counts in one line; empty: there were no calls."""
        return ", ".join(map(str, self.report()))

    def count(
        self, verb: str, *, bytes_moved: int = 0, seconds: float = 0.0, failed: bool = False, calls: int = 1
    ) -> None:
        """Add to a verb's counts."""
        with self._lock:
            old = self._verbs.get(verb) or VerbMeter(verb=verb)
            self._verbs[verb] = replace(
                old,
                calls=old.calls + calls,
                bytes_moved=old.bytes_moved + bytes_moved,
                seconds=old.seconds + seconds,
                errors=old.errors + failed,
            )


class MeteredStore(WrappingStore):
    """Passes every call on to ``inner`` and counts it."""

    def __init__(self, inner: BlobStore, meter: Meter) -> None:
        super().__init__(inner)
        self._meter = meter

    def put(self, key: str, data: Bytes) -> bool:
        """Create a blob."""
        return self._counted("put", lambda: self.inner.put(key, data), lambda _: len(data))

    def replace(self, key: str, data: Bytes) -> None:
        """Create or overwrite a blob."""
        self._counted("replace", lambda: self.inner.replace(key, data), lambda _: len(data))

    def get(self, key: str) -> bytes:
        """Return a blob's bytes."""
        return self._counted("get", lambda: self.inner.get(key), len)

    def get_into(self, key: str, start: int, buffer: memoryview) -> int:
        """Fill ``buffer`` from byte ``start`` on; return the number of bytes."""
        return self._counted("get_into", lambda: self.inner.get_into(key, start, buffer), lambda count: count)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to ``length`` bytes from byte ``start`` on."""
        return self._counted("get_range", lambda: self.inner.get_range(key, start, length), len)

    def size(self, key: str) -> int:
        """Return a blob's size in bytes."""
        return self._counted("size", lambda: self.inner.size(key))

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Yield the blobs below ``prefix``. Count the time until each of them comes, without the caller's time."""
        seconds, began, waiting = 0.0, time.monotonic(), True
        try:
            for blob in self.inner.list(prefix):
                seconds, waiting = seconds + time.monotonic() - began, False
                yield blob
                began, waiting = time.monotonic(), True
            seconds, waiting = seconds + time.monotonic() - began, False
        finally:
            if waiting:  # the store has failed
                seconds += time.monotonic() - began
            self._meter.count("list", seconds=seconds, failed=waiting)

    def delete(self, key: str) -> None:
        """Remove a blob."""
        self._counted("delete", lambda: self.inner.delete(key))

    def check_writable(self) -> None:
        """Return if a ``put`` could succeed now; else raise."""
        self._counted("check_writable", self.inner.check_writable)

    def _counted(self, verb: str, call: Callable[[], T], size: Callable[[T], int] = lambda _: 0) -> T:
        began = time.monotonic()
        moved, failed = 0, True
        try:
            result = call()
            moved, failed = size(result), False
            return result
        except _ANSWERS:
            failed = False
            raise
        finally:
            self._meter.count(verb, bytes_moved=moved, seconds=time.monotonic() - began, failed=failed)

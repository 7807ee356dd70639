"""A blob store that fails on demand, to test code against the faults of a store.

>>> store = FaultyStore(MemoryStore())
>>> store.fail("put", after=2, with_=StoreError("connection reset"))

lets two puts pass and fails the third. With ``reply_lost``, the call does its work and then fails: the store has the
bytes, and the caller has an error.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from vmkeep.blobs import BlobInfo, BlobStore, Bytes
from vmkeep.blobs.wrappers import WrappingStore


@dataclass(slots=True, kw_only=True)
class _Fault:
    call: str
    after: int
    error: BaseException | type[BaseException]
    times: int
    prefix: str
    reply_lost: bool


class FaultyStore(WrappingStore):
    """Passes every call on to ``inner``, except those that :meth:`fail` names."""

    def __init__(self, inner: BlobStore) -> None:
        super().__init__(inner)
        self.calls: list[tuple[str, str]] = []
        """Every call made so far: its name and key."""
        self._faults: list[_Fault] = []
        self._lock = threading.Lock()

    def fail(
        self,
        call: str,
        *,
        with_: BaseException | type[BaseException],
        after: int = 0,
        times: int = 1,
        prefix: str = "",
        reply_lost: bool = False,
    ) -> None:
        """Let ``after`` matching calls pass, then fail ``times`` of them.

        :param call: name of a method of :class:`BlobStore`; ``write`` stands for put, replace and delete.
        :param with_: the error to raise.
        :param prefix: only calls whose key begins with it match.
        :param reply_lost: whether the call does its work before it fails.
        """
        self._faults.append(
            _Fault(call=call, after=after, error=with_, times=times, prefix=prefix, reply_lost=reply_lost)
        )

    def _meet(self, call: str, key: str) -> _Fault | None:
        with self._lock:
            self.calls.append((call, key))
            for fault in self._faults:
                names = ("put", "replace", "delete") if fault.call == "write" else (fault.call,)
                if call not in names or not key.startswith(fault.prefix) or not fault.times:
                    continue
                if fault.after:
                    fault.after -= 1
                    continue
                fault.times -= 1
                return fault
        return None

    def _before(self, call: str, key: str) -> _Fault | None:
        fault = self._meet(call, key)
        if fault is not None and not fault.reply_lost:
            raise fault.error
        return fault

    def put(self, key: str, data: Bytes) -> bool:
        """Pass the call on, or fail."""
        fault = self._before("put", key)
        created = self.inner.put(key, data)
        if fault is not None:
            raise fault.error
        return created

    def replace(self, key: str, data: Bytes) -> None:
        """Pass the call on, or fail."""
        fault = self._before("replace", key)
        self.inner.replace(key, data)
        if fault is not None:
            raise fault.error

    def delete(self, key: str) -> None:
        """Pass the call on, or fail."""
        fault = self._before("delete", key)
        self.inner.delete(key)
        if fault is not None:
            raise fault.error

    def get(self, key: str) -> bytes:
        """Pass the call on, or fail."""
        self._before("get", key)
        return self.inner.get(key)

    def get_into(self, key: str, start: int, buffer: memoryview) -> int:
        """Pass the call on, or fail."""
        self._before("get_into", key)
        return self.inner.get_into(key, start, buffer)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Pass the call on, or fail."""
        self._before("get_range", key)
        return self.inner.get_range(key, start, length)

    def size(self, key: str) -> int:
        """Pass the call on, or fail."""
        self._before("size", key)
        return self.inner.size(key)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Pass the call on, or fail."""
        self._before("list", prefix)
        return self.inner.list(prefix)

    def check_writable(self) -> None:
        """Pass the call on, or fail."""
        self._before("check_writable", "")
        self.inner.check_writable()

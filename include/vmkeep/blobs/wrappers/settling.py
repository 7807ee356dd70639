"""Finds out whether a failed create-if-absent succeeded after all, by reading the blob back.

A server may have stored the blob although the call failed. Every blob holds an id that was drawn for this one write (a
pack's id, a manifest's write id). So if the stored bytes are equal, this call has created the blob.
"""

from __future__ import annotations

from vmkeep.blobs.store import Bytes
from vmkeep.blobs.wrappers.wrapping import WrappingStore
from vmkeep.errors import BlobNotFoundError, StoreError, StoreFullError, StoreReadOnlyError, UnlockedError

_COMPARED = 1 << 20
"""Bytes that are compared at each end of a blob."""


class SettlingStore(WrappingStore):
    """Passes every call on to ``inner``, and reads back after a failed ``put``."""

    def put(self, key: str, data: Bytes) -> bool:
        """Create a blob. Raise an error only if these bytes are not there afterwards."""
        try:
            return self.inner.put(key, data)
        except (StoreFullError, StoreReadOnlyError, UnlockedError):
            raise
        except StoreError:
            if self._landed(key, memoryview(data)):
                return True
            raise

    def _landed(self, key: str, data: memoryview) -> bool:
        """Return whether a blob has these bytes. Its size and both ends show this, because no blob is there in part."""
        try:
            if self.inner.size(key) != len(data):
                return False
            head = self.inner.get_range(key, 0, _COMPARED)
            tail_at = max(0, len(data) - _COMPARED)
            tail = self.inner.get_range(key, tail_at, _COMPARED)
        except BlobNotFoundError:
            return False
        return head == bytes(data[:_COMPARED]) and tail == bytes(data[tail_at:])

"""Settles a create-if-absent whose reply was lost: read back, compare, and only then believe the error.

A server may have stored the blob although the call failed. Every blob carries an id that was drawn for this one
write (a pack's id, a manifest's write id), so equal bytes mean that it was ours.
"""

from __future__ import annotations

from vmkeep.blobs.store import Bytes
from vmkeep.blobs.wrappers.wrapping import WrappingStore
from vmkeep.errors import BlobNotFoundError, StoreError, StoreFullError, UnlockedError

_COMPARED = 1 << 20


class SettlingStore(WrappingStore):
    """Passes every call on to ``inner``; a failed ``put`` is settled by reading back."""

    def put(self, key: str, data: Bytes) -> bool:
        """Create a blob; an error counts only if our bytes are not there afterwards."""
        try:
            return self.inner.put(key, data)
        except (StoreFullError, UnlockedError):
            raise
        except StoreError:
            if self._landed(key, memoryview(data)):
                return True
            raise

    def _landed(self, key: str, data: memoryview) -> bool:
        """Compare size, beginning and end: a store shows a blob whole or not at all."""
        try:
            if self.inner.size(key) != len(data):
                return False
            head = self.inner.get_range(key, 0, _COMPARED)
            tail_at = max(0, len(data) - _COMPARED)
            tail = self.inner.get_range(key, tail_at, _COMPARED)
        except BlobNotFoundError:
            return False
        return head == bytes(data[:_COMPARED]) and tail == bytes(data[tail_at:])

"""A store in memory that counts its calls by verb and folder."""

from __future__ import annotations

from collections import Counter

from vmkeep.blobs.wrappers import WrappingStore


class CountedStore(WrappingStore):
    """Counts each call under its verb and the folder of its key, for example ``get marks``."""

    def __init__(self, inner):
        super().__init__(inner)
        self.calls: Counter[str] = Counter()

    def _count(self, verb, key):
        self.calls[f"{verb} {key.partition('/')[0]}"] += 1

    def put(self, key, data):
        self._count("put", key)
        return self.inner.put(key, data)

    def replace(self, key, data):
        self._count("put", key)
        return self.inner.replace(key, data)

    def get(self, key):
        self._count("get", key)
        return self.inner.get(key)

    def get_into(self, key, start, buffer):
        self._count("get", key)
        return self.inner.get_into(key, start, buffer)

    def get_range(self, key, start, length):
        self._count("get", key)
        return self.inner.get_range(key, start, length)

    def size(self, key):
        self._count("size", key)
        return self.inner.size(key)

    def list(self, prefix):
        self._count("list", prefix)
        return self.inner.list(prefix)

    def delete(self, key):
        self._count("delete", key)
        return self.inner.delete(key)


def calls_of(vault, step):
    """Return the calls of a step with a repository that was opened for it."""
    store = CountedStore(vault.store)
    repository = vault.open(store)
    store.calls.clear()
    step(repository)
    return store.calls

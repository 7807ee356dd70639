"""Many calls to a store, a bounded number of them at a time: what counts is the store's latency."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from vmkeep.blobs.store import BlobStore, is_remote

T = TypeVar("T")
R = TypeVar("R")

_REMOTE = 16


def width_of(store: BlobStore) -> int:
    """Return how many calls to a store should be under way at once."""
    return _REMOTE if is_remote(store) else os.cpu_count() or 1


def abreast(store: BlobStore, call: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield what ``call`` returns for each item, in the order of the items.

    No more results are held than calls may be under way, however many items there are. An error of a call is raised
    in its turn, and no further call begins then.
    """
    width = width_of(store)
    with ThreadPoolExecutor(width) as threads:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(threads.submit(call, item))
                if len(waiting) == width:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

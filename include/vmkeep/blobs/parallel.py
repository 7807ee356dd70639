"""Many calls to a store, a bounded number of them at a time: what counts is the store's latency."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

from vmkeep.blobs.store import BlobStore, is_remote

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 16


def abreast(store: BlobStore, call: Callable[[T], R], items: Iterable[T], *, computes: bool = False) -> Iterator[R]:
    """Yield what ``call`` returns for each item, in the order of the items.

    No more results are held than calls may be under way, however many items there are. An error of a call is raised
    in its turn, and no further call begins then.

    :param computes: a call does far more than wait for the store: in a local folder more of them than there are cores
        would only be in each other's way.
    """
    left = iter(items)
    first = list(islice(left, 2))
    if len(first) < 2:
        yield from map(call, first)  # on this thread, because nothing would run beside another one
        return
    width = (os.cpu_count() or 1) if computes and not is_remote(store) else AT_ONCE
    with ThreadPoolExecutor(width) as threads:
        waiting: deque[Future[R]] = deque()
        try:
            for item in chain(first, left):
                waiting.append(threads.submit(call, item))
                if len(waiting) == width:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

"""Makes many calls to a store, a bounded number of them at a time, because the store's latency limits them."""

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
"""Number of calls that are made at the same time."""
SMALL_AT_ONCE = 64
"""Number of calls that are made at the same time to a remote store if each moves little, because they mostly wait."""
_AHEAD = 4
"""Number of computing calls for each thread that may have begun or ended, while an earlier one is still at work."""


def abreast(
    store: BlobStore, call: Callable[[T], R], items: Iterable[T], *, computes: bool = False, small: bool = False
) -> Iterator[R]:
    """Yield the result of ``call`` for each item, in the order of the items.

    The number of results in memory is bounded, however many items there are. An error of a call is raised at the place
    of its result. No further call begins after it.

    :param computes: whether a call mainly computes instead of waiting. In a local folder, no more such calls run at the
        same time than the machine has cores. A long one keeps no core waiting, because others overtake it.
    :param small: whether a call moves a few KiB, and there may be many thousands of them.
    """
    left = iter(items)
    first = list(islice(left, 2))
    if len(first) < 2:
        yield from map(call, first)  # on this thread, because a single call gains nothing from another
        return
    width = _width(store, computes=computes, small=small)
    most = _AHEAD * width if computes else width
    with ThreadPoolExecutor(width) as threads:
        waiting: deque[Future[R]] = deque()
        try:
            for item in chain(first, left):
                waiting.append(threads.submit(call, item))
                if len(waiting) == most:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _width(store: BlobStore, *, computes: bool, small: bool) -> int:
    """Return the number of calls to make at the same time."""
    if is_remote(store):
        return SMALL_AT_ONCE if small else AT_ONCE
    return (os.cpu_count() or 1) if computes else AT_ONCE


def together(store: BlobStore, first: Callable[[], T], second: Callable[[], R]) -> tuple[T, R]:
    """Make two calls that do not need each other, at the same time if the store is remote, and return their results.

    Both have ended when this returns or raises. If both fail, the error of the first is raised.
    """
    if not is_remote(store):
        return first(), second()
    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(second)
        found = first()
        return found, other.result()

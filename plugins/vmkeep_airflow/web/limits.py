"""Bounds the time that a call may take of a repository, a vCenter or a catalog, and the number of such calls at once.

Airflow's API server answers all calls of a kind from forty threads. A store that answers no more would hold one for
each click, until Airflow itself stood still.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import BoundedSemaphore, Thread
from typing import Any, Final, TypeVar

from vmkeep.errors import UnreachableError

T = TypeVar("T")

SECONDS: Final = 30.0
"""Seconds for one look at a repository or a vCenter. A browser's user has given up by then."""
_AT_ONCE: Final = 8
_slots = BoundedSemaphore(_AT_ONCE)
_CATALOGS_AT_ONCE: Final = 16
_catalog_slots = BoundedSemaphore(_CATALOGS_AT_ONCE)
_MOMENT: Final = 2.0
"""Seconds for which a call waits until another one has read the catalogs, which takes well below a second."""


def within(work: Callable[[], T], what: str, *, seconds: float = SECONDS) -> T:
    """Return the result of work that others may let hang.

    Work that is not ready in time is left behind, because nothing can end a thread. It keeps its slot until it ends.

    :param what: the work in a few words, as in ``reading repository X``.
    :raises UnreachableError: the work is not ready in time, or too much of it hangs already.
    """
    if not _slots.acquire(blocking=False):
        raise UnreachableError(
            f"{what}: {_AT_ONCE} looks at repositories and vCenters are under way already: try again in a minute; "
            "if they hang, 'vmkeep doctor --airflow' names the place that gives no answer"
        )
    return _bounded(work, what, seconds, _slots)


def from_catalogs(read: Callable[[], T], *, seconds: float = SECONDS) -> T:
    """Return the result of work that reads catalogs only.

    :raises UnreachableError: it is not ready in time, or too many calls wait for catalogs already.
    """
    if not _catalog_slots.acquire(timeout=_MOMENT):
        raise UnreachableError(
            f"{_CATALOGS_AT_ONCE} pages wait for the catalog already: try again in a minute; if its database hangs, "
            "'vmkeep doctor --airflow' tells more"
        )
    return _bounded(read, "reading the catalog", seconds, _catalog_slots)


def _bounded(work: Callable[[], T], what: str, seconds: float, slots: BoundedSemaphore) -> T:
    """Return the result of work that has taken a slot. The slot is given back when the work ends."""
    outcome: list[tuple[Any, BaseException | None]] = []

    def run() -> None:
        try:
            outcome.append((work(), None))
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
            outcome.append((None, error))
        finally:
            slots.release()

    thread = Thread(target=run, name=f"web: {what}", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise UnreachableError(f"{what}: no answer within {seconds:.0f} s: 'vmkeep doctor --airflow' tells more")
    result, error = outcome[0]
    if error is not None:
        raise error
    return result  # type: ignore[no-any-return]

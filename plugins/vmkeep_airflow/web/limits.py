"""Bounds the time that a call may take of a repository or a vCenter, and the number of such calls at once.

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
    outcome: list[tuple[Any, BaseException | None]] = []

    def run() -> None:
        try:
            outcome.append((work(), None))
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
            outcome.append((None, error))
        finally:
            _slots.release()

    thread = Thread(target=run, name=f"web: {what}", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise UnreachableError(f"{what}: no answer within {seconds:.0f} s: 'vmkeep doctor --airflow' tells more")
    result, error = outcome[0]
    if error is not None:
        raise error
    return result  # type: ignore[no-any-return]

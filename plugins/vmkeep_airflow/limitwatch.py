"""Shows in Airflow who uses the limits of a repository, and who waits: as a window's XCom ``limits``, and in its log.

Airflow lets no task write the note of a run that has begun, so a window shows it as the XCom of a task that runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from vmkeep.errors import VmKeepError
from vmkeep.model.limits import Usage
from vmkeep.model.wording import counted

KEY: Final = "limits"
_EVERY: Final = timedelta(minutes=1)
"""Time between two looks, each of which lists the notes of all limits in the repository."""
_SHOWN: Final = 20
"""Holders and waiting parties that are named for each limit."""


class LimitWatch:
    """Looks at the limits once a minute, and shows what has changed.

    :param usages: returns the use of all limits.
    :param push: takes the use of all limits as plain data.
    :param log: takes a line for each limit for which work waits.
    """

    def __init__(
        self,
        usages: Callable[[], Iterable[Usage]],
        *,
        push: Callable[[dict[str, Any]], None],
        log: Callable[[str], None],
        begun: datetime,
    ) -> None:
        self._usages = usages
        self._push = push
        self._log = log
        self._last = begun
        self._shown: dict[str, Any] | None = None

    def look(self, moment: datetime) -> None:
        """Look if a minute is over. A repository that does not answer is no trouble of the window's."""
        if moment - self._last < _EVERY:
            return
        self._last = moment
        try:
            usages = tuple(self._usages())
        except VmKeepError as error:
            self._log(f"who uses the limits is not known now: {error}")
            return
        shown = {usage.limit.name: _plain(usage) for usage in usages}
        if shown == self._shown:
            return
        self._shown = shown
        self._push(shown)
        for line in waiting_lines(usages):
            self._log(line)


def waiting_lines(usages: Iterable[Usage]) -> Iterator[str]:
    """Yield a line for each limit for which work waits: its use, the work that holds it, and the work that waits."""
    for usage in usages:
        if usage.waiting:
            queue = counted(len(usage.waiting), "backup or copy", "backups or copies")
            used = f"{len(usage.holders)} of {usage.limit.most} in use"
            held = f"held by {_named(usage.holders)}; first in the queue: {_named(usage.waiting)}"
            yield f"{queue} waiting for: {usage.limit.name}, {used}, {held}"


def _plain(usage: Usage) -> dict[str, Any]:
    return {
        "most": usage.limit.most,
        "used": len(usage.holders),
        "queue": len(usage.waiting),
        "in use by": _named(usage.holders),
        "waiting": _named(usage.waiting),
    }


def _named(works: Sequence[str]) -> str:
    more = f" and {len(works) - _SHOWN} more" if len(works) > _SHOWN else ""
    return f"{', '.join(works[:_SHOWN])}{more}" or "nobody"

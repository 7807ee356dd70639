"""Keeps the position of a disk copy in Airflow, from one try of a task to the next."""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Any, Self

from airflow.sdk import Context
from airflow.sdk.api.client import ServerResponseError
from airflow.sdk.exceptions import AirflowRuntimeError

from vmkeep.model.job import Cursor, Progress, from_plain, to_plain

_KEY = "cursor"
_LAST_WAIT = 5.0
"""Seconds that the end of a copy waits until its last cursor is stored."""
_log = logging.getLogger(__name__)


class TaskCursor:
    """Stores the cursors that a transfer reports, and gives the last one to the next try. Use it as a context manager.

    A thread stores them, because Airflow's API may not answer for minutes, and the transfer must not wait for it. If a
    cursor cannot be stored, the next one replaces it.

    :param snapshot: the snapshot that is copied now. A cursor of another snapshot is never returned.
    """

    def __init__(self, context: Context, *, snapshot: str | None) -> None:
        self._store = context["task_state_store"]
        self._snapshot = snapshot
        self._changed = threading.Condition()
        self._waiting: Cursor | None = None
        self._ended = False
        self._failing = False
        self._keeper = threading.Thread(target=self._keep, name="cursor-keeper", daemon=True)

    def load(self) -> Cursor | None:
        """Return the cursor of the last try; ``None``: there is none for this snapshot."""
        plain = self._store.get(_KEY)
        if plain is None:
            return None
        try:
            cursor = from_plain(Cursor, plain)
        except ValueError:
            _log.warning("the stored cursor is of another version of vmkeep: the disk is copied from its beginning")
            return None
        return cursor if cursor.snapshot == self._snapshot else None

    def __enter__(self) -> Self:
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._keeper.join(_LAST_WAIT)

    def __call__(self, progress: Progress) -> None:
        """Pass the event's cursor to the thread, if it has one. Never waits."""
        if progress.cursor is not None:
            with self._changed:
                self._waiting = progress.cursor
                self._changed.notify()

    def _keep(self) -> None:
        while (cursor := self._next()) is not None:
            self._try_to_store(to_plain(cursor))

    def _next(self) -> Cursor | None:
        """Wait for a cursor; ``None``: no more will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or self._ended)
            cursor, self._waiting = self._waiting, None
            return cursor

    def _try_to_store(self, plain: Any) -> None:
        try:
            self._store.set(_KEY, plain)
        except (AirflowRuntimeError, ServerResponseError, OSError, EOFError) as error:
            if not self._failing:
                _log.warning("the copy goes on, but its position cannot be stored, so a retry would go back: %s", error)
            self._failing = True
        else:
            if self._failing:
                _log.info("the copy's position is stored again")
            self._failing = False

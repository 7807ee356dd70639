"""Where a copy stands, kept by Airflow between the tries of one task."""

from __future__ import annotations

import logging

from airflow.sdk import Context

from vmkeep.model.job import Cursor, Progress, from_plain, to_plain

_KEY = "cursor"
_log = logging.getLogger(__name__)


class TaskCursor:
    """Store every cursor that a transfer reports; give the last one to the next try.

    :param snapshot: the snapshot that is copied now. A cursor of another one is worthless and never returned.
    """

    def __init__(self, context: Context, *, snapshot: str | None) -> None:
        self._store = context["task_state_store"]
        self._snapshot = snapshot

    def load(self) -> Cursor | None:
        """Return where the last try stood, or ``None``."""
        plain = self._store.get(_KEY)
        if plain is None:
            return None
        try:
            cursor = from_plain(Cursor, plain)
        except ValueError:
            _log.warning("the stored cursor is of another version of vmkeep: the disk is copied from its beginning")
            return None
        return cursor if cursor.snapshot == self._snapshot else None

    def __call__(self, progress: Progress) -> None:
        """Keep the event's cursor, if it has one."""
        if progress.cursor is not None:
            self._store.set(_KEY, to_plain(progress.cursor))

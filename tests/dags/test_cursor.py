"""A copy's cursor between the tries of a task."""

from __future__ import annotations

import json

from vmkeep.model.job import Cursor, Progress
from vmkeep_airflow.cursor import TaskCursor


class Store:
    """What Airflow's task state store promises: JSON in, the same JSON out."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def get(self, key: str, default: object = None) -> object:
        return json.loads(self._values[key]) if key in self._values else default

    def set(self, key: str, value: object) -> None:
        assert value is not None
        self._values[key] = json.dumps(value)


def progress(cursor: Cursor | None) -> Progress:
    return Progress(phase="backup", bytes_done=1, bytes_total=2, cursor=cursor)


def test_the_next_try_goes_on_where_the_last_one_stood():
    context = {"task_state_store": Store()}
    cursor = Cursor(snapshot="snapshot-7", offset=3 << 30, root="ab" * 32, bytes_read=5, bytes_stored=4)
    first = TaskCursor(context, snapshot="snapshot-7")
    assert first.load() is None
    first(progress(cursor))
    first(progress(None))
    assert TaskCursor(context, snapshot="snapshot-7").load() == cursor


def test_a_cursor_of_another_snapshot_is_worthless():
    context = {"task_state_store": Store()}
    TaskCursor(context, snapshot="snapshot-7")(progress(Cursor(snapshot="snapshot-7", offset=1 << 20, root="ab" * 32)))
    assert TaskCursor(context, snapshot="snapshot-8").load() is None


def test_a_cursor_that_does_not_parse_means_from_the_beginning():
    store = Store()
    store.set("cursor", {"offset": "?"})
    assert TaskCursor({"task_state_store": store}, snapshot="snapshot-7").load() is None

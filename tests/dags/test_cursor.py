"""A copy's cursor between the tries of a task."""

from __future__ import annotations

import json
import threading

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse

from tests.patience import HANG
from vmkeep.model.job import Cursor, Progress
from vmkeep_airflow.cursor import TaskCursor


class Store:
    """Promise of Airflow's task state store: JSON in, the same JSON out."""

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
    with first:
        first(progress(cursor))
        first(progress(None))
    assert TaskCursor(context, snapshot="snapshot-7").load() == cursor


def test_a_cursor_of_another_snapshot_is_worthless():
    context = {"task_state_store": Store()}
    with TaskCursor(context, snapshot="snapshot-7") as first:
        first(progress(Cursor(snapshot="snapshot-7", offset=1 << 20, root="ab" * 32)))
    assert TaskCursor(context, snapshot="snapshot-8").load() is None


def test_a_cursor_that_does_not_parse_means_from_the_beginning():
    store = Store()
    store.set("cursor", {"offset": "?"})
    assert TaskCursor({"task_state_store": store}, snapshot="snapshot-7").load() is None


class SilentStore(Store):
    """Airflow's API, which does not answer before it is told to, and then fails as often as it is told to."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors = list(errors)
        self.asked = threading.Event()
        self.answer = threading.Event()

    def set(self, key: str, value: object) -> None:
        self.asked.set()
        self.answer.wait(HANG)
        if self.errors:
            raise self.errors.pop(0)
        super().set(key, value)


def at(offset: int) -> Cursor:
    return Cursor(snapshot="snapshot-7", offset=offset, root="ab" * 32)


@pytest.mark.parametrize(
    "error",
    [
        AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"message": "Connection refused"})),
        BrokenPipeError(),
        EOFError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_position_that_cannot_be_stored_ends_no_copy_and_the_next_one_is_stored(error):
    store = SilentStore(error)
    store.answer.set()
    context = {"task_state_store": store}
    with TaskCursor(context, snapshot="snapshot-7") as cursor:
        cursor(progress(at(1)))
        while store.errors:
            store.asked.wait(HANG)
        cursor(progress(at(2)))
    assert cursor.load() == at(2)


def test_a_copy_never_waits_for_an_api_that_does_not_answer():
    store = SilentStore()
    with TaskCursor({"task_state_store": store}, snapshot="snapshot-7") as cursor:
        for offset in range(1, 100):
            cursor(progress(at(offset)))
        assert store.asked.wait(HANG)
        assert cursor.load() is None, "the first is still on its way"
        store.answer.set()
    assert cursor.load() == at(99), "the newest is what counts"

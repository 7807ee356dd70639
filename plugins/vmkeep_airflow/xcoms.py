"""Parses the values that one task leaves for another by XCom. A task that was marked by hand has left none."""

from __future__ import annotations

from typing import Any, TypeVar

from airflow.sdk.exceptions import AirflowFailException

from vmkeep.model.job import from_plain

T = TypeVar("T")


def handed(plain: Any, kind: type[T], *, by: str) -> T:
    """Return the value that an earlier task left.

    :param by: the task that leaves it.
    :raises AirflowFailException: the task left no value, or one that this version of vmkeep cannot read.
    """
    if plain is None:
        raise AirflowFailException(f"task {by} left no result (was it marked by hand?): trigger a new run")
    try:
        return from_plain(kind, plain)
    except ValueError as error:
        raise AirflowFailException(
            f"the result of task {by} is not as this version of vmkeep leaves it: trigger a new run ({error})"
        ) from error

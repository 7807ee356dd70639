"""Parses the values that one task leaves for another by XCom. A task that was marked by hand has left none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from airflow.sdk.exceptions import AirflowFailException

from vmkeep.model.job import from_plain

T = TypeVar("T")

_DEPTH = 4
"""Values within values that are looked into: a ``HeldStill`` holds a ``Preflight``, which holds the VM."""


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


def mappings_in(value: Any, depth: int = _DEPTH) -> Iterator[Mapping[str, Any]]:
    """Yield a mapping and those within it. A list is not looked into, because each part of it may be a request."""
    if isinstance(value, Mapping) and depth:
        yield value
        for inner in value.values():
            yield from mappings_in(inner, depth - 1)

"""Gives each line of a task's log the VM, the disk, the restore point and the run key as fields, beside its text.

Airflow writes the logs of tasks as JSON, and gives each line the DAG, the run and the task in the same way. A line that
another thread writes lacks our fields, as it lacks those of Airflow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from structlog.contextvars import bound_contextvars

from vmkeep_airflow.xcoms import mappings_in

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator


def with_fields(operator: BaseOperator) -> AbstractContextManager[None]:
    """Give the fields to all lines of the body.

    :param operator: its templated fields tell the VM and the rest.
    """
    return bound_contextvars(**fields_of(operator))


def fields_of(operator: BaseOperator) -> dict[str, str]:
    """Return the fields that are known before the task's work begins: ``vm``, ``disk``, ``point``, ``run_key``."""
    own = {"vm": getattr(operator, "vm", None)}
    values = (getattr(operator, name, None) for name in operator.template_fields)
    found: dict[str, str] = {}
    for each in (own, *(each for value in values for each in mappings_in(value))):
        for name, text in _told_by(each):
            if isinstance(text, str) and text:
                found.setdefault(name, text)
    return found


def _told_by(value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    vm, disk = value.get("vm"), value.get("disk")
    yield "vm", vm.get("name") if isinstance(vm, Mapping) else vm
    yield "disk", disk.get("label") if isinstance(disk, Mapping) else None
    yield "point", value.get("point")
    yield "run_key", value.get("run")

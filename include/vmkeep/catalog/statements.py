"""The most that one SQL statement may have, and the conditions that several statements set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement

from vmkeep.model.hostconfig import HOST_KEYS

T = TypeVar("T")
AT_ONCE: Final = 1000
"""Rows that one statement inserts, and keys that one statement names, at most."""


def parted(items: Iterable[T], most: int = AT_ONCE) -> Iterator[list[T]]:
    """Yield items in parts that one statement may have.

    :param most: the items of a part, at most.
    """
    left = iter(items)
    while some := list(islice(left, most)):
        yield some


def is_of_vm(vm_key: Any) -> ColumnElement[bool]:
    """Return the condition that a point is of a VM, and no configuration of an ESXi host.

    :param vm_key: the column with the keys.
    """
    condition: ColumnElement[bool] = vm_key.not_like(f"{HOST_KEYS}%")
    return condition

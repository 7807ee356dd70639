"""Changed areas in sixteen bytes each, while the answer about them is being parsed.

One answer may tell millions of areas. pyVmomi makes an object of each, which takes fifteen times as much, and keeps all
of them until the answer is whole. The answer here has a list of another kind: it takes the two numbers out of each
object, and lets the object go.
"""

from __future__ import annotations

import copy
from array import array
from collections.abc import Iterable
from typing import Any

from vmkeep.vsphere.api import vim


class PackedAreas(list[Any]):
    """Changed areas as numbers. Only pyVmomi's parser appends to it; as a list it stays empty."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = array("q")

    def append(self, area: Any) -> None:
        """Take the offset and the length of one area, in bytes."""
        self._numbers.append(area.start)
        self._numbers.append(area.length)

    def pairs(self) -> Iterable[tuple[int, int]]:
        """Return offset and length of each area, in bytes."""
        numbers = iter(self._numbers)
        return zip(numbers, numbers, strict=True)


class _PackedAnswer(vim.VirtualMachine.DiskChangeInfo):  # type: ignore[misc]  # pyVmomi makes the class at run time
    """The answer, whose areas are packed as they come."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "changedArea", PackedAreas())


def query_changed_areas(machine: Any, snapshot: Any, device_key: int, start: int, change_id: str) -> Any:
    """Call ``QueryChangedDiskAreas`` of a VM, and return its answer.

    :param snapshot: the managed object of the snapshot.
    :param start: offset from which on changes are asked for, in bytes.
    """
    call = vim.VirtualMachine.QueryChangedDiskAreas
    method = copy.copy(call.info)
    method.result = _PackedAnswer
    return type(call)(method)(machine, snapshot, device_key, start, change_id)


def areas_of(answer: Any) -> Iterable[tuple[int, int]]:
    """Return offset and length of each area of an answer, in bytes.

    An answer that names its own type, as SOAP allows, has pyVmomi's objects.
    """
    areas = answer.changedArea
    return areas.pairs() if isinstance(areas, PackedAreas) else ((area.start, area.length) for area in areas or ())

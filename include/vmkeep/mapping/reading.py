"""Reads a mapping, and tells every fault of it with line and column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vmkeep.documents import Document, Fault, faults_by, read_document
from vmkeep.errors import MappingError
from vmkeep.mapping.schema import MAPPING
from vmkeep.mapping.values import CardLine, DiskLine, PlacedMapping, RestoreMapping

_SHOWN = 5
"""Number of faults that a message tells."""


def read_mapping(text: str) -> PlacedMapping:
    """Return the mapping that a text is.

    :raises MappingError: it has faults. The message tells the first of them with line and column.
    """
    document = read_document(text, any_names=True)
    faults = sorted({*document.faults, *(() if document.faults else _refused(document))})
    if faults:
        told = "; ".join(f"line {one.place.line}, column {one.place.column}: {one.message}" for one in faults[:_SHOWN])
        more = f"; and {len(faults) - _SHOWN} more faults" if len(faults) > _SHOWN else ""
        raise MappingError(f"mapping, {told}{more}")
    return PlacedMapping(mapping=_mapping(document.data or {}), places=dict(document.values))


def _refused(document: Document) -> Iterator[Fault]:
    """Yield everything that the schema refuses, and each part that stands in the file twice."""
    if document.data is None:
        return  # an empty file maps nothing
    found = list(faults_by(MAPPING, document))
    yield from (fault for _, fault in found)
    if found:
        return
    for group, key in (("disks", "disk"), ("networks", "card")):
        seen: dict[str, int] = {}
        for index, line in enumerate(document.data.get(group) or ()):
            first = seen.setdefault(line[key], index)
            if first != index:
                where = document.place((group, first, key)).line
                yield Fault(
                    place=document.place((group, index, key)),
                    message=f"'{line[key]}' stands twice, first in line {where}: leave one of them out",
                )


def _mapping(data: Mapping[str, Any]) -> RestoreMapping:
    parts = {**data, "disks": data.get("disks") or (), "networks": data.get("networks") or ()}
    return RestoreMapping(
        **{
            **parts,
            "disks": tuple(DiskLine(**line) for line in parts["disks"]),
            "networks": tuple(CardLine(**line) for line in parts["networks"]),
        }
    )

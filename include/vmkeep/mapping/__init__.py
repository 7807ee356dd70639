"""Mappings: files that say where a restore makes a new VM, and how each of its parts comes back.

A mapping is written from a restore point with the saved values (``writing``), edited by a person, and read again
(``reading``). Its fields, their meanings and the words of its comments stand in the published JSON schema (``schema``)
alone. Every field may be left out or be null: the restore then does as it would without the file.

The rules: a field that is not known is refused, with the nearest one. All faults are told, each with line and column.
Nothing here asks a server, and nothing here knows whether a place exists.
"""

from vmkeep.mapping.reading import read_mapping
from vmkeep.mapping.schema import schema_text
from vmkeep.mapping.values import OF_THE_VM, CardLine, DiskLine, PlacedMapping, RestoreMapping
from vmkeep.mapping.writing import write_mapping

__all__ = [
    "OF_THE_VM",
    "CardLine",
    "DiskLine",
    "PlacedMapping",
    "RestoreMapping",
    "read_mapping",
    "schema_text",
    "write_mapping",
]

"""The published JSON schema of a mapping. ``vmkeep restore schema`` prints it."""

from __future__ import annotations

from vmkeep.documents import Schema

MAPPING = Schema(__package__, "mapping.schema.json", kind="a mapping", example="name: web01-copy")


def schema_text() -> str:
    """Return the schema as it is published."""
    return MAPPING.text

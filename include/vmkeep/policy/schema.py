"""The published JSON schema of a policy file. ``vmkeep policy schema`` prints it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vmkeep.documents import Path, Schema
from vmkeep.errors import UsageError

POLICY = Schema(__package__, "policy.schema.json", kind="a policy", example="name: nightly")


def schema_text() -> str:
    """Return the schema as it is published."""
    return POLICY.text


def field_of(path: Path) -> Mapping[str, Any]:
    """Return the part of the schema that describes a field."""
    return POLICY.field_of(path)


def require_name(name: str) -> str:
    """Return the name of a policy.

    :raises UsageError: no policy may be called so.
    """
    field = field_of(("name",))
    if not re.fullmatch(field["pattern"], name):
        raise UsageError(f"'{name}' is no name of a policy: small letters, digits, _ and -, at most 60 of them")
    return name

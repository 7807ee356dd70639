"""Converts names between the spelling that a person types and the one that vSphere's inventory stores.

Names are compared in the typed spelling, character by character. Names that differ in a blank, in case or in an escape
that somebody typed are different names.
"""

from __future__ import annotations

import unicodedata

from vmkeep.errors import UsageError
from vmkeep.model.selector import decode_name, same_path

__all__ = ["decode_name", "encode_name", "require_usable_name", "same_path"]

_LONGEST = 80
"""Greatest number of characters that vSphere allows in a VM's name."""


def encode_name(name: str) -> str:
    """Return a name as vSphere stores it. Unencoded, a percent sign might be taken for the start of an escape."""
    return name.replace("%", "%25").replace("/", "%2f").replace("\\", "%5c")


def require_usable_name(name: str) -> None:
    """Return if a new VM can have this name. Its folder on the datastore gets the same name.

    :raises UsageError: vSphere takes no such name, or the VM's files would lie among those of other VMs.
    """
    shown = ascii(name) if not name.isprintable() else f"'{name}'"
    if len(name) > _LONGEST:
        raise UsageError(f"new name {shown}: has {len(name)} characters; vSphere takes {_LONGEST}")
    if name in (".", ".."):
        raise UsageError(f"new name {shown}: no folder of a datastore can have that name; choose another one")
    if any(unicodedata.category(each) == "Cc" for each in name):
        raise UsageError(f"new name {shown}: has a line break or another control character; choose another one")

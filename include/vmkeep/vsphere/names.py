"""Names as a person types them, and as vSphere's inventory keeps them.

Both spellings are compared in the typed one, character by character: two names that differ in a blank, in case, or in
an escape that somebody typed are two names.
"""

from __future__ import annotations

import unicodedata

from vmkeep.errors import UsageError
from vmkeep.model.selector import decode_name, same_path

__all__ = ["decode_name", "encode_name", "require_usable_name", "same_path"]

_LONGEST = 80
"""Characters of a VM's name, by vSphere's rule."""


def encode_name(name: str) -> str:
    """Return a name as vSphere stores it. Sent unencoded, a percent sign might be taken for the start of an escape."""
    return name.replace("%", "%25").replace("/", "%2f").replace("\\", "%5c")


def require_usable_name(name: str) -> None:
    """Return if a new VM can have this name, which also becomes that of its folder on the datastore.

    :raises UsageError: it cannot, or its files would lie among those of others.
    """
    shown = ascii(name) if not name.isprintable() else f"'{name}'"
    if len(name) > _LONGEST:
        raise UsageError(f"new name {shown}: has {len(name)} characters; vSphere takes {_LONGEST}")
    if name in (".", ".."):
        raise UsageError(f"new name {shown}: no folder of a datastore can have that name; choose another one")
    if any(unicodedata.category(each) == "Cc" for each in name):
        raise UsageError(f"new name {shown}: has a line break or another control character; choose another one")

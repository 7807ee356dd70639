"""Names as a person types them, and as vSphere's inventory keeps them.

Both spellings are compared in the typed one, character by character: two names that differ in a blank, in case, or in
an escape that somebody typed are two names.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

from vmkeep.errors import UsageError

_LONGEST = 80
"""Characters of a VM's name, by vSphere's rule."""


def decode_name(name: str) -> str:
    """Return a name as a person typed it; vSphere stores slash, backslash and percent as ``%2f``, ``%5c``, ``%25``."""
    return re.sub(r"%(2f|5c|25)", lambda found: unquote(found[0]), name, flags=re.IGNORECASE)


def same_path(typed: str, found: str) -> bool:
    """Whether a typed inventory path is the path of the object that vSphere found for it.

    Between slashes, a path is written as vSphere stores it (a slash in a name is ``%2f``), or with a lone percent sign
    or backslash as typed. How forgiving a server's own look-up is, is not known; so its answer is compared.
    """
    return [decode_name(part) for part in typed.split("/")] == [decode_name(part) for part in found.split("/")]


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

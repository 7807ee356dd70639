"""Names as a person types them, and as vSphere's inventory keeps them."""

from __future__ import annotations

import re
from urllib.parse import unquote


def decode_name(name: str) -> str:
    """Return a name as a person typed it; vSphere stores slash, backslash and percent as ``%2f``, ``%5c``, ``%25``."""
    return re.sub(r"%(2f|5c|25)", lambda found: unquote(found[0]), name, flags=re.IGNORECASE)


def encode_name(name: str) -> str:
    """Return a name as vSphere stores it. Sent unencoded, a percent sign might be taken for the start of an escape."""
    return name.replace("%", "%25").replace("/", "%2f").replace("\\", "%5c")

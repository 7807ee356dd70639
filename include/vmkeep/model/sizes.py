"""The units of sizes, and the one reader of sizes that people write."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

UNITS: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "PiB": 1 << 50}
"""Bytes of each unit, the smallest first."""
_SIZE: Final = re.compile(rf"(\d+)(?:\s*B)?|(\d+(?:\.\d+)?)\s*({'|'.join([*UNITS][1:])})", re.ASCII)


def parse_size(text: str) -> int | None:
    """Return the bytes of a size such as ``10MiB`` or ``1.5 TiB``; a number alone is bytes.

    :returns: ``None``: the text is no size.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        return None
    return int(found[1]) if found[1] else int(Decimal(found[2]) * UNITS[found[3]])

"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: ``1 disk``, ``3 disks``.

    :param many: the plural, where it is not the singular with an *s*.
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"

"""Judges the free space of a place where files grow."""

from __future__ import annotations

from typing import Final

from vmkeep.flows.doctor.values import Answer, fault, ok, warning
from vmkeep.model.wording import size

_SHARE: Final = 0.05
_MARGIN: Final = 10
"""Below so many times the least, people are told."""


def judge(free: int, capacity: int | None, what: str, *, least: int) -> Answer:
    """Return whether a place has room. Pure.

    :param free: bytes.
    :param capacity: bytes of the whole place; ``None``: not known.
    :param least: bytes without which work fails.
    """
    of = f" of {size(capacity)}" if capacity else ""
    told = f"{what} has {size(free)}{of} free"
    remedy = "make room, or move it to a larger disk"
    if free < least:
        return fault(told, remedy)
    if free < least * _MARGIN or (capacity and free < capacity * _SHARE):
        return warning(told, remedy)
    return ok(told)

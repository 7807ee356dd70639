"""How long a test waits for what has to happen. It fails by the event, or by a hang, never by a busy machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

HANG: Final = 600.0
"""Seconds after which something that has to happen never will, on a machine that has twenty other things to do."""


def eventually(condition: Callable[[], T], what: str = "it") -> T:
    """Return the first true value of a condition."""
    end = time.monotonic() + HANG
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} never happened"
        time.sleep(0.02)
    return value

"""The ways in which VDDK can reach a VM's disks."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from vmkeep.errors import UsageError


class TransportMode(StrEnum):
    """The modes by the names that VDDK knows; it takes the first of those given that works."""

    SAN = "san"
    HOTADD = "hotadd"
    NBDSSL = "nbdssl"
    NBD = "nbd"


def require_modes(names: Sequence[str]) -> None:
    """Refuse names that VDDK would only stumble over once the VM has a snapshot.

    :raises UsageError: there is none, or one is no mode.
    """
    known = ", ".join(TransportMode)
    if not names:
        raise UsageError(f"no transport mode is given: choose from {known}")
    for name in names:
        if name not in tuple(TransportMode):
            raise UsageError(f"'{name}' is no transport mode: choose from {known}")

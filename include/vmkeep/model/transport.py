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


_UNDER_A_SNAPSHOT = (TransportMode.SAN, TransportMode.HOTADD)
"""VDDK opens a disk for writing by these only where its VM has a snapshot."""


def modes_for_writing(names: Sequence[str]) -> tuple[str, ...]:
    """Return the modes of a list by which a restore can write: it writes the disks of a VM without a snapshot.

    :raises UsageError: there is none.
    """
    left = tuple(name for name in names if name not in _UNDER_A_SNAPSHOT)
    if not left:
        raise UsageError(
            f"a restore cannot write by {' or '.join(names)}, because VDDK wants a snapshot of the VM for it, and a "
            f"restore finds none: choose nbdssl or nbd, or add one: {':'.join([*names, TransportMode.NBDSSL])}"
        )
    return left

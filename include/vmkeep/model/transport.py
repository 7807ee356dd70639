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


_KNOWN = ", ".join(TransportMode)
DEFAULT_MODES = (TransportMode.NBDSSL, TransportMode.NBD)
"""The modes of a request that names none: every proxy has them, because they need a network and no more."""


def parse_modes(text: str) -> tuple[TransportMode, ...]:
    """Return the modes of a text such as ``hotadd:nbdssl``, the preferred one first.

    A wrong name is refused here, because VDDK would only stumble over it once the VM has a snapshot.

    :raises UsageError: there is none, or one is no mode.
    """
    names = text.split(":") if text else []
    for name in names:
        if name not in tuple(TransportMode):
            raise UsageError(f"'{name}' is no transport mode: choose from {_KNOWN}")
    modes = tuple(map(TransportMode, names))
    require_some(modes)
    return modes


def require_some(modes: Sequence[TransportMode]) -> None:
    """Refuse a request that names no mode.

    :raises UsageError: it names none.
    """
    if not modes:
        raise UsageError(f"no transport mode is given: choose from {_KNOWN}")


_UNDER_A_SNAPSHOT = (TransportMode.SAN, TransportMode.HOTADD)
"""VDDK opens a disk for writing by these only where its VM has a snapshot."""


def modes_for_writing(modes: Sequence[TransportMode]) -> tuple[TransportMode, ...]:
    """Return the modes of a list by which a restore can write: it writes the disks of a VM without a snapshot.

    :raises UsageError: there is none.
    """
    require_some(modes)
    left = tuple(mode for mode in modes if mode not in _UNDER_A_SNAPSHOT)
    if not left:
        raise UsageError(
            f"a restore cannot write by {' or '.join(modes)}, because VDDK wants a snapshot of the VM for it, and a "
            f"restore finds none: choose nbdssl or nbd, or add one: {':'.join([*modes, TransportMode.NBDSSL])}"
        )
    return left

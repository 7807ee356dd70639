"""The ways in which VDDK can reach a VM's disks."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from vmkeep.errors import UsageError
from vmkeep.lateclass import dataclass


class TransportMode(StrEnum):
    """The transport modes under VDDK's names. VDDK takes the first mode of a list that works."""

    SAN = "san"
    HOTADD = "hotadd"
    NBDSSL = "nbdssl"
    NBD = "nbd"


_KNOWN = ", ".join(TransportMode)
DEFAULT_MODES = (TransportMode.NBDSSL, TransportMode.NBD)
"""The modes for a request that names none. Every proxy can use them, because they need only a network."""


def parse_modes(text: str) -> tuple[TransportMode, ...]:
    """Return the modes that a text such as ``hotadd:nbdssl`` names, the preferred one first.

    A wrong name is refused here, because VDDK would refuse it only after the VM got a snapshot.

    :raises UsageError: the text names no mode, or one that does not exist.
    """
    names = text.split(":") if text else []
    for name in names:
        if name not in tuple(TransportMode):
            raise UsageError(f"'{name}' is no transport mode: choose from {_KNOWN}")
    modes = tuple(map(TransportMode, names))
    require_some(modes)
    return modes


def require_some(modes: Sequence[TransportMode]) -> None:
    """Return if a request names a mode.

    :raises UsageError: it names none.
    """
    if not modes:
        raise UsageError(f"no transport mode is given: choose from {_KNOWN}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessUsed:
    """The way by which a disk was read or written, with the reasons for it."""

    driver: str
    """Name of the disk driver."""
    library: str
    """The driver's library and its version, e.g. ``VDDK 8.0.3``."""
    why: str
    """The reason for this driver, with the reasons against the others."""
    transport: str = ""
    """The transport mode that the driver really used."""
    why_transport: str = ""
    """The reason why it is not the mode that the request prefers; empty: it is that one."""


def why_another(used: str, modes: Sequence[str]) -> str:
    """Return the reason why a driver used another mode than the first one it was given; empty: it used that one.

    A driver with modes of its own, such as ``file``, had no choice.
    """
    if used not in modes:
        return ""
    passed = modes[: modes.index(used)]
    return f"the driver could not open the disk by {' or '.join(passed)}" if passed else ""


BY_NETWORK = (TransportMode.NBDSSL, TransportMode.NBD)
"""Modes in which VDDK opens a disk for writing also if its VM has no snapshot."""


def modes_without_snapshot(modes: Sequence[TransportMode]) -> tuple[TransportMode, ...]:
    """Return those modes in which the disks of a VM that has no snapshot can be written.

    :raises UsageError: the list has no such mode.
    """
    require_some(modes)
    left = tuple(mode for mode in modes if mode in BY_NETWORK)
    if not left:
        raise UsageError(
            f"the disks cannot be written by {' or '.join(modes)}, because VDDK needs a snapshot of the VM for that, "
            f"and the VM has none: choose nbdssl or nbd, or add one of them: {':'.join([*modes, TransportMode.NBDSSL])}"
        )
    return left
